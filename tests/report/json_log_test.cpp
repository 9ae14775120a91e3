// The log of a run as json lines.
#include "report/json_log.h"

#include "base/file.h"
#include "support/shared.h"

namespace graft::report {
namespace {

TEST(JsonLog, HoldsALineForEachEntry) {
  const test::TempDir dir;
  const auto file = dir / "runs/log.jsonl";
  {
    JsonLog log(file, 0);
    log.add({{"loss", 0.5}, {"step", 1}});
    log.add({{"loss", 0.25}, {"step", 2}});
  }
  EXPECT_EQ(read_file(file), "{\"loss\":0.5,\"step\":1}\n{\"loss\":0.25,\"step\":2}\n");
  JsonLog again(file, 0);
  EXPECT_EQ(read_file(file), "");
}

TEST(JsonLog, ARunThatContinuesHasNoStepTwice) {
  const test::TempDir dir;
  const auto file = dir.write("log.jsonl", "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":");
  JsonLog log(file, 2);
  log.add({{"step", 3}});
  EXPECT_EQ(read_file(file), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST(JsonLog, AFileThatCannotBeWrittenIsNamed) {
  const test::TempDir dir;
  dir.write("runs", "a file");
  EXPECT_THAT(test::error_of([&] { JsonLog(dir / "runs/log.jsonl", 0); }), testing::HasSubstr("runs"));
}

}  // namespace
}  // namespace graft::report
