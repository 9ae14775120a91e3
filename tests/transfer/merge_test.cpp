#include "transfer/merge.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "models/model_case.h"
#include "transfer/scoring.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using test::all_values;
using test::error_of;
using test::same_bits;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

// Two classifiers of one architecture with a tokenizer: a fixture before and after its training.
class MergeTest : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path from = test::fixture_folder("bert/seqcls_single");
    const fs::path tokenizer = test::fixture_path("data/tokenizers/small-bert-uncased");
    if (!fs::exists(from) || !fs::exists(tokenizer)) GTEST_SKIP() << "needs bert/seqcls_single";
    for (const char* name : {"a", "b"}) {
      fs::create_directories(dir_ / name);
      for (const char* file : {"tokenizer.json", "tokenizer_config.json", "vocab.txt"})
        fs::copy_file(tokenizer / file, dir_ / name / file);
      fs::copy_file(from / "config.json", dir_ / name / "config.json");
    }
    fs::copy_file(from / "model.safetensors", dir_ / "a" / "model.safetensors");
    fs::copy_file(from / "after5.safetensors", dir_ / "b" / "model.safetensors");
    options_.models = {dir_ / "a", dir_ / "b"};
  }
  std::vector<float> values_of(const char* name) const { return all_values(test::load_model(dir_ / name)); }
  std::vector<float> merged() const { return all_values(Merger(options_).model()); }
  void edit_config(const char* name, const std::function<void(Json&)>& edit) const {
    Json json = read_json(dir_ / name / "config.json");
    edit(json);
    write_json(dir_ / name / "config.json", json);
  }

  TempDir dir_;
  MergeOptions options_;
};

TEST_F(MergeTest, TheEndsHaveTheBitsOfTheirModels) {
  ASSERT_FALSE(same_bits(values_of("a"), values_of("b")));
  options_.method = "linear";
  options_.weights = {1, 0};
  EXPECT_TRUE(same_bits(merged(), values_of("a")));
  options_.weights = {0, 1};
  EXPECT_TRUE(same_bits(merged(), values_of("b")));
  options_.weights = {};
  options_.method = "task_arithmetic";
  options_.models = {dir_ / "b"};
  options_.base = dir_ / "a";
  options_.scale = {0};
  EXPECT_TRUE(same_bits(merged(), values_of("a")));
  options_.scale = {1};
  EXPECT_TRUE(same_bits(merged(), values_of("b")));
}

TEST_F(MergeTest, BetweenThemEachWeightIsItsFormula) {
  const std::vector<float> a = values_of("a"), b = values_of("b");
  const auto expect = [&](double x, double y) {
    const std::vector<float> c = merged();
    for (size_t i = 0; i < c.size(); ++i)
      ASSERT_EQ(c[i], static_cast<float>(x * double{a[i]} + y * double{b[i]})) << i;
  };
  expect(0.5, 0.5);
  options_.method = "linear";
  options_.weights = {0.25, 0.75};
  expect(0.25, 0.75);
  options_.weights = {};
  options_.method = "task_arithmetic";
  options_.models = {dir_ / "b"};
  options_.base = dir_ / "a";
  options_.scale = {-0.5};
  const std::vector<float> away = merged();
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(away[i], a[i] - 0.5 * (double{b[i]} - double{a[i]}), 1e-6) << i;
}

TEST_F(MergeTest, TheAverageOfOneModelTwiceIsItself) {
  options_.models = {dir_ / "b", dir_ / "b", dir_ / "b"};
  const std::vector<float> b = values_of("b"), c = merged();
  for (size_t i = 0; i < b.size(); ++i) ASSERT_FLOAT_EQ(b[i], c[i]);
}

TEST_F(MergeTest, AHeadThatTheBaseLacksIsTheMeanOfTheModels) {
  edit_config("a", [](Json& json) {
    json["architectures"] = Json::array({"BertModel"});
    json.erase("id2label");
    json.erase("label2id");
  });
  // A base without a classifier.
  fs::create_directories(dir_ / "base");
  test::copy_with_names(dir_ / "a", dir_ / "base", [](const std::string& name) {
    return name.starts_with("classifier") ? std::string() : name;
  });
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "vocab.txt"})
    fs::copy_file(dir_ / "b" / file, dir_ / "base" / file);
  options_.method = "task_arithmetic";
  options_.models = {dir_ / "b"};
  options_.base = dir_ / "base";
  options_.scale = {0};
  const Merger merger(options_);
  const Model b = test::load_model(dir_ / "b");
  const auto classifier = [](const Model& m) {
    const auto read = m.state().parameters.read_value(*m.state().parameters.find("classifier.weight"));
    return std::vector<float>(read.begin(), read.end());
  };
  EXPECT_TRUE(same_bits(classifier(merger.model()), classifier(b)));
}

TEST_F(MergeTest, TheSavedFolderHoldsTheMergedModel) {
  const Merger merger(options_);
  merger.save(dir_ / "out");
  EXPECT_TRUE(same_bits(all_values(merger.model()), values_of("out")));
  EXPECT_EQ(read_file(dir_ / "out" / "vocab.txt"), read_file(dir_ / "a" / "vocab.txt"));
}

TEST_F(MergeTest, DifferencesAreNamed) {
  const auto complaint = [&] { return error_of([&] { merged(); }); };
  edit_config("b", [](Json& json) { json["id2label"] = {{"0", "no"}, {"1", "maybe"}, {"2", "yes"}}; });
  EXPECT_THAT(complaint(), AllOf(HasSubstr("labels"), HasSubstr("maybe")));
  fs::copy_file(dir_ / "a" / "config.json", dir_ / "b" / "config.json", fs::copy_options::overwrite_existing);
  std::string vocab = read_file(dir_ / "b" / "tokenizer.json");
  const size_t at = vocab.find("\"the\"");
  ASSERT_NE(at, std::string::npos);
  write_file(dir_ / "b" / "tokenizer.json", vocab.replace(at, 5, "\"xhe\""));
  EXPECT_THAT(complaint(), AllOf(HasSubstr("vocabularies differ"), HasSubstr("xhe")));
  fs::copy_file(dir_ / "a" / "tokenizer.json", dir_ / "b" / "tokenizer.json",
                fs::copy_options::overwrite_existing);
  test::OwnedTensors tensors(dir_ / "b" / "model.safetensors");
  tensors.find("classifier.weight")[3] = std::nanf("");
  hub::write_safetensors(dir_ / "b" / "model.safetensors", tensors.tensors);
  EXPECT_THAT(complaint(), AllOf(HasSubstr("classifier.weight"), HasSubstr("nan")));
}

TEST_F(MergeTest, OptionsThatContradictEachOther) {
  const auto complaint = [&] { return error_of([&] { merged(); }); };
  options_.method = "linear";
  EXPECT_THAT(complaint(), HasSubstr("--weights"));
  options_.weights = {0.5, 0.6};
  EXPECT_THAT(complaint(), HasSubstr("not 1"));
  options_.weights = {std::nan(""), 1};
  EXPECT_THAT(complaint(), HasSubstr("not 1"));
  options_.method = "avrage";
  EXPECT_THAT(complaint(), HasSubstr("task_arithmetic"));
  options_.method = "task_arithmetic";
  options_.weights = {};
  EXPECT_THAT(complaint(), HasSubstr("--base"));
  options_.method = "average";
  options_.models.pop_back();
  EXPECT_THAT(complaint(), HasSubstr("two models"));
}

TEST_F(MergeTest, ModelsOfOtherArchitecturesAreRefused) {
  edit_config("b", [](Json& json) { json["num_attention_heads"] = 2; });
  EXPECT_THAT(error_of([&] { merged(); }), HasSubstr("num_attention_heads"));
}

}  // namespace
}  // namespace graft::transfer
