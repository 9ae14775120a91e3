#include "transfer/stage.h"

#include "base/file.h"
#include "base/folder.h"
#include "graft/log.h"
#include "support/shared.h"
#include "train/manifest.h"

namespace graft::transfer {
namespace {

using test::TempDir;
namespace fs = std::filesystem;

Stage finished(const fs::path& root, const Json& key) {
  Stage stage = open_stage(root, "dapt", key);
  EXPECT_FALSE(stage.complete);
  write_file(stage.folder / "model.safetensors", "weights");
  make_folders(stage.folder / "checkpoint-5");
  complete_stage(stage);
  return stage;
}

TEST(Stage, IsReusedForTheSameKeyAlone) {
  TempDir dir;
  const Stage first = finished(dir.path(), {{"text", "abc"}});
  EXPECT_FALSE(path_exists(first.folder / "checkpoint-5"));
  const Stage again = open_stage(dir.path(), "dapt", {{"text", "abc"}});
  EXPECT_TRUE(again.complete);
  EXPECT_EQ(again.folder, first.folder);
  const Stage other = open_stage(dir.path(), "dapt", {{"text", "abd"}});
  EXPECT_FALSE(other.complete);
  EXPECT_NE(other.folder, first.folder);
}

TEST(Stage, ADamagedOneIsBegunAgainAndNamed) {
  TempDir dir;
  const Json key = {{"text", "abc"}};
  const Stage first = finished(dir.path(), key);
  for (const std::string content : {"weightS", "weight", ""}) {
    write_file(first.folder / "model.safetensors", content);
    testing::internal::CaptureStderr();
    std::string warning;
    set_log_sink([&](LogLevel level, const std::string& text) {
      if (level == LogLevel::warning) warning += text;
    });
    const Stage again = open_stage(dir.path(), "dapt", key);
    set_log_sink({});
    testing::internal::GetCapturedStderr();
    EXPECT_FALSE(again.complete);
    EXPECT_THAT(warning, testing::AllOf(testing::HasSubstr("is damaged and is computed again"),
                                        testing::HasSubstr("model.safetensors")));
    EXPECT_FALSE(path_exists(again.folder / "model.safetensors"));
    finished(dir.path(), key);
  }
  write_file(first.folder / "manifest.json", "{");
  EXPECT_FALSE(open_stage(dir.path(), "dapt", key).complete);
}

TEST(Stage, AnInterruptedOneKeepsItsCheckpoints) {
  TempDir dir;
  const Json key = {{"text", "abc"}};
  const Stage first = open_stage(dir.path(), "dapt", key);
  make_folders(first.folder / "checkpoint-5");
  const Stage again = open_stage(dir.path(), "dapt", key);
  EXPECT_FALSE(again.complete);
  EXPECT_TRUE(path_exists(again.folder / "checkpoint-5"));
  write_file(first.folder / "key.json", "{\"stage\"");  // whose checkpoints these are is unknown
  open_stage(dir.path(), "dapt", key);
  EXPECT_FALSE(path_exists(again.folder / "checkpoint-5"));
}

TEST(Stage, IsBegunAgainWhereItsOnlyCheckpointIsDamaged) {
  TempDir dir;
  const Stage stage = open_stage(dir.path(), "dapt", {{"text", "abc"}});
  EXPECT_EQ(resumption_of(stage), "");
  for (const char* name : {"checkpoint-5", "checkpoint-6"}) {
    make_folders(stage.folder / name);
    write_file(stage.folder / name / "model.safetensors", name);
    train::write_manifest(stage.folder / name, 5, Json::object());
  }
  write_file(stage.folder / "checkpoint-6/model.safetensors", "damaged");
  EXPECT_EQ(resumption_of(stage), "true");  // from the other one
  write_file(stage.folder / "checkpoint-5/model.safetensors", "damaged");
  EXPECT_EQ(resumption_of(stage), "");
  EXPECT_FALSE(path_exists(stage.folder / "checkpoint-5"));
  EXPECT_FALSE(path_exists(stage.folder / "checkpoint-6"));
}

TEST(Stage, FingerprintsAreOfBytes) {
  TempDir dir;
  make_folders(dir / "m/1_Pooling");
  write_file(dir / "m/config.json", "{}");
  write_file(dir / "m/1_Pooling/config.json", "{}");
  const Json before = model_fingerprint(dir / "m");
  EXPECT_EQ(before.size(), 2u);
  write_file(dir / "m/README.md", "notes");
  EXPECT_TRUE(model_fingerprint(dir / "m") == before);
  write_file(dir / "m/1_Pooling/config.json", "{ }");
  EXPECT_FALSE(model_fingerprint(dir / "m") == before);
  const auto a = dir.write("a.txt", "x"), b = dir.write("b.txt", "x"), c = dir.write("c.txt", "y");
  EXPECT_TRUE(files_fingerprint({a}) == files_fingerprint({b}));
  EXPECT_FALSE(files_fingerprint({a}) == files_fingerprint({c}));
}

}  // namespace
}  // namespace graft::transfer
