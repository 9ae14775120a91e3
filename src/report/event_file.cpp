#include "report/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>

#include "report/crc32c.h"

namespace graft::report {
namespace {

// The wire format of protocol buffers: a field is a key (number << 3 | wire type) and its value.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string out;
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(static_cast<uint8_t>(value >> (8 * i)));
  return out;
}

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(static_cast<uint8_t>(value | 0x80));
  return out + static_cast<char>(static_cast<uint8_t>(value));
}

std::string key(uint32_t field, WireType type) { return varint(field << 3 | type); }
std::string integer(uint32_t field, uint64_t value) { return key(field, kVarint) + varint(value); }
std::string bytes(uint32_t field, const std::string& value) {
  return key(field, kBytes) + varint(value.size()) + value;
}

// Fields of the messages.
constexpr uint32_t kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
                   kEventSessionLog = 7;
constexpr uint32_t kSummaryValue = 1;
constexpr uint32_t kValueTag = 1, kValueSimple = 2, kValueTensor = 8, kValueMetadata = 9;
constexpr uint32_t kMetadataPlugin = 1, kPluginName = 1;
constexpr uint32_t kTensorType = 1, kTensorShape = 2, kTensorString = 8, kShapeDim = 2, kDimSize = 1;
constexpr uint32_t kSessionStatus = 1;
constexpr uint64_t kTypeString = 7, kSessionStart = 1;

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// As SummaryWriter names it: seconds, host, process, number in the process.
std::string event_file_name() {
  static std::atomic<int> files = 0;
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("events.out.tfevents.{:010}.{}.{}.{}", static_cast<int64_t>(wall_time()), host,
                     ::getpid(), files++);
}

std::string record(const std::string& message) {
  const std::string length = little_endian(static_cast<uint64_t>(message.size()));
  return length + little_endian(masked_crc32c(length)) + message + little_endian(masked_crc32c(message));
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder, int64_t step) : file_(folder / event_file_name()) {
  add_event(0, bytes(kEventFileVersion, "brain.Event:2"));
  if (step > 0) add_event(step + 1, bytes(kEventSessionLog, integer(kSessionStatus, kSessionStart)));
}

void EventFile::add_event(int64_t step, const std::string& body) {
  std::string event = key(kEventWallTime, kFixed64) + little_endian(std::bit_cast<uint64_t>(wall_time()));
  if (step != 0) event += integer(kEventStep, static_cast<uint64_t>(step));
  file_.append(record(event + body));
}

void EventFile::add_scalars(int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>(number));
    summary +=
        bytes(kSummaryValue, bytes(kValueTag, tag) + key(kValueSimple, kFixed32) + little_endian(bits));
  }
  add_event(step, bytes(kEventSummary, summary));
}

void EventFile::add_text(const std::string& tag, const std::string& text) {
  const std::string metadata = bytes(kMetadataPlugin, bytes(kPluginName, "text"));
  const std::string shape = bytes(kShapeDim, integer(kDimSize, 1));
  const std::string tensor =
      integer(kTensorType, kTypeString) + bytes(kTensorShape, shape) + bytes(kTensorString, text);
  const std::string value =
      bytes(kValueTag, tag + "/text_summary") + bytes(kValueTensor, tensor) + bytes(kValueMetadata, metadata);
  add_event(0, bytes(kEventSummary, bytes(kSummaryValue, value)));
}

}  // namespace graft::report
