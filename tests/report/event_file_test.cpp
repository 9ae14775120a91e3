// Event files for TensorBoard. tests/interop/run.py reads one with tensorboard itself.
#include "report/event_file.h"

#include <bit>
#include <cstring>

#include "base/file.h"
#include "report/crc32c.h"
#include "support/shared.h"

namespace graft::report {
namespace {

template <class Number>
Number number_at(const std::string& file, size_t at) {
  Number n{};
  std::memcpy(&n, file.data() + at, sizeof n);
  return n;
}

// The messages of the records, whose checksums must hold.
std::vector<std::string> messages_of(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::vector<std::string> out;
  for (size_t at = 0; at < file.size();) {
    const auto length = number_at<uint64_t>(file, at);
    EXPECT_EQ(number_at<uint32_t>(file, at + 8), masked_crc32c(file.substr(at, 8)));
    out.push_back(file.substr(at + 12, length));
    EXPECT_EQ(number_at<uint32_t>(file, at + 12 + length), masked_crc32c(out.back()));
    at += 16 + length;
  }
  return out;
}

std::string after_time(const std::string& message) {
  EXPECT_EQ(message[0], 9);  // field 1, 64 bits
  return message.substr(9);
}

TEST(EventFile, HoldsScalarsOfSteps) {
  const test::TempDir dir;
  EventFile events(dir / "run", 0);
  EXPECT_THAT(events.path().filename().string(), testing::StartsWith("events.out.tfevents."));
  events.add_scalars(300, {{"train/loss", 0.5}});
  const std::vector<std::string> messages = messages_of(events.path());
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(after_time(messages[0]),
            "\x1a\x0d"
            "brain.Event:2");
  std::string expected = "\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15";
  const float half = 0.5f;
  expected.append(reinterpret_cast<const char*>(&half), 4);
  EXPECT_EQ(after_time(messages[1]), expected);
}

TEST(EventFile, ARunThatContinuesDropsWhatFollowsItsStep) {
  const test::TempDir dir;
  EventFile first(dir.path(), 0), second(dir.path(), 7);
  EXPECT_NE(first.path(), second.path());
  const std::vector<std::string> messages = messages_of(second.path());
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(after_time(messages[1]), "\x10\x08\x3a\x02\x08\x01");  // step 8, SessionLog with status START
}

TEST(EventFile, HoldsTexts) {
  const test::TempDir dir;
  EventFile events(dir.path(), 0);
  events.add_text("args", "{}");
  const std::string message = messages_of(events.path()).back();
  EXPECT_THAT(message, testing::HasSubstr("args/text_summary"));
  EXPECT_THAT(message, testing::HasSubstr(std::string("\x08\x07\x12\x04\x12\x02\x08\x01\x42\x02{}", 12)));
}

}  // namespace
}  // namespace graft::report
