#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "graft/error.h"
#include "hub/state_dict.h"
#include "support/shared.h"

namespace graft::hub {
namespace {
namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<float> kValues = {1, 2, 3, 4, 5, 6, 7, 8};

std::vector<TensorToWrite> three_tensors() {
  return {{"c", {2, 2}, DType::f32, kValues.data()},
          {"a", {8}, DType::f32, kValues.data()},
          {"b", {3}, DType::f32, kValues.data() + 5}};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void expect_the_three_tensors(const fs::path& folder) {
  const StateDict dict = read_checkpoint(folder);
  EXPECT_EQ(dict.tensors().size(), 3u);
  for (const TensorToWrite& t : three_tensors()) {
    ASSERT_NE(dict.find(t.name), nullptr) << t.name;
    EXPECT_EQ(dict.find(t.name)->shape, t.shape);
    std::vector<float> out(static_cast<size_t>(dict.find(t.name)->num_elements()));
    copy_to_float(*dict.find(t.name), out.data());
    EXPECT_EQ(out, std::vector<float>(t.data, t.data + out.size())) << t.name;
  }
}

TEST(Checkpoint, OneFileRoundTrip) {
  const test::TempDir folder;
  EXPECT_THAT(write_checkpoint(folder.path(), three_tensors()), ElementsAre(folder / "model.safetensors"));
  expect_the_three_tensors(folder.path());
}

TEST(Checkpoint, ShardsFollowTheGivenOrderAndTheIndexIsTheReferences) {
  const test::TempDir folder;
  write_checkpoint(folder.path(), three_tensors(), 44);  // c 16 bytes, a 32, b 12
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
  EXPECT_EQ(read_file(folder / "model.safetensors.index.json"), R"({
  "metadata": {
    "total_size": 60
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors",
    "c": "model-00001-of-00002.safetensors"
  }
}
)");
  expect_the_three_tensors(folder.path());
}

TEST(Checkpoint, ATensorLargerThanAShardGetsItsOwn) {
  const test::TempDir folder;
  EXPECT_EQ(write_checkpoint(folder.path(), three_tensors(), 1).size(), 4u);
  expect_the_three_tensors(folder.path());
}

void save(const fs::path& folder, const std::vector<TensorToWrite>& tensors, uint64_t max_shard_bytes) {
  StagedFiles staged(folder);
  write_checkpoint(staged.path(), tensors, max_shard_bytes);
  staged.publish("config.json", is_written_weights);
}

TEST(Checkpoint, AnEarlierSaveLeavesNothingBehind) {
  const test::TempDir folder;
  folder.write("config.json", "{}");
  save(folder.path(), three_tensors(), 1);
  save(folder.path(), three_tensors(), 1000);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("config.json", "model.safetensors"));
  save(folder.path(), three_tensors(), 44);
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("config.json", "model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors", "model.safetensors.index.json"));
  expect_the_three_tensors(folder.path());
}

TEST(Checkpoint, AFailedSaveLeavesTheEarlierShards) {
  const test::TempDir folder;
  save(folder.path(), three_tensors(), 44);
  std::vector<TensorToWrite> other = three_tensors();
  for (TensorToWrite& t : other) t.data = kValues.data() + (t.name == "a" ? 0 : 1);
  other.push_back(other.back());  // the last shard would hold a tensor twice
  EXPECT_THROW(save(folder.path(), other, 44), Error);
  expect_the_three_tensors(folder.path());
}

TEST(Checkpoint, SaysWhichShardsAreMissing) {
  const test::TempDir folder;
  write_checkpoint(folder.path(), three_tensors(), 44);
  fs::remove(folder / "model-00002-of-00002.safetensors");
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder.path()); }),
              AllOf(HasSubstr("1 of 2 shards are missing: model-00002-of-00002.safetensors"),
                    HasSubstr("copy or download the missing files")));
}

TEST(Checkpoint, RefusesAnIndexThatDoesNotFitItsShards) {
  const test::TempDir folder;
  write_checkpoint(folder.path(), three_tensors(), 44);
  const fs::path index = folder / "model.safetensors.index.json";
  const Json json = read_json(index);
  const auto with = [&](const char* name, const char* file) {
    Json other = json;
    other["weight_map"][name] = file;
    write_json(index, other);
    return test::error_of([&] { read_checkpoint(folder.path()); });
  };
  EXPECT_THAT(with("d", "model-00001-of-00002.safetensors"),
              HasSubstr("tensor 'd' should be in model-00001-of-00002.safetensors and is not"));
  EXPECT_THAT(with("a", "../elsewhere.safetensors"), HasSubstr("not the name of a file beside it"));
  EXPECT_THAT(with("a", "/etc/passwd"), HasSubstr("not the name of a file beside it"));
  folder.write("model.safetensors.index.json", "{}");
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder.path()); }), HasSubstr("has no \"weight_map\""));
}

TEST(Checkpoint, NamesTheFolderAndWhatItHolds) {
  const test::TempDir folder;
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder / "absent"); }),
              HasSubstr("absent: no such folder"));
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder.path()); }), HasSubstr("the folder is empty"));
  fs::create_symlink("loop", folder / "loop");
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder / "loop"); }), HasSubstr("loop"));
  fs::remove(folder / "loop");
  folder.write("config.json", "{}");
  folder.write("tf_model.h5", "");
  EXPECT_THAT(test::error_of([&] { read_checkpoint(folder.path()); }),
              AllOf(HasSubstr(folder.path().string() + ": no weights"),
                    HasSubstr("holds config.json, tf_model.h5"), HasSubstr("TensorFlow or Flax weights")));
}

}  // namespace
}  // namespace graft::hub
