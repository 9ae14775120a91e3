// Model::with_task: the backbone under another head, and another size of the vocabulary.
#include <gmock/gmock.h>

#include "base/file.h"
#include "models/model_case.h"

namespace graft::test {
namespace {
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

ModelOptions three_labels() {
  ModelOptions options;
  options.labels = {"a", "b", "c"};
  options.seed = 7;
  return options;
}

std::vector<float> parameter_values(const Model& model, const std::string& name) {
  for (const engine::Parameter& p : model.state().parameters.parameters()) {
    if (p.name != name) continue;
    const engine::HostRead values = model.state().parameters.read_value(p);
    return {values.begin(), values.end()};
  }
  ADD_FAILURE() << name << " is no parameter";
  return {};
}

TEST(WithTask, EqualsSavingAndLoadingWithTheOtherHead) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* fixture : {"bert/mlm", "roberta/mlm", "distilbert/mlm", "gpt2/causal_lm"}) {
    const Model model = load_model(golden / fixture);
    TempDir dir;
    model.save_pretrained(dir / "saved");
    const Model loaded = Model::from_pretrained(dir / "saved", three_labels());
    const Model moved = model.with_task(three_labels());
    EXPECT_EQ(moved.task(), "sequence-classification") << fixture;
    EXPECT_THAT(moved.labels(), ElementsAre("a", "b", "c")) << fixture;
    EXPECT_EQ(moved.load_report().missing, loaded.load_report().missing) << fixture;
    EXPECT_TRUE(same_bits(all_values(moved), all_values(loaded))) << fixture;
    moved.save_pretrained(dir / "moved");
    loaded.save_pretrained(dir / "again");
    EXPECT_EQ(read_file(dir / "moved" / "config.json"), read_file(dir / "again" / "config.json")) << fixture;
  }
}

TEST(WithTask, TheFirstModelStaysAsItWas) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "bert/mlm");
  const std::vector<float> before = all_values(model);
  const Model moved = model.with_task(three_labels());
  for (const engine::Parameter& p : moved.state().parameters.parameters()) {
    const engine::HostWrite out = moved.state().parameters.write_value(p);
    std::fill_n(out.data(), p.size, 1.0f);
  }
  EXPECT_TRUE(same_bits(all_values(model), before));
}

TEST(WithTask, NewWordsAreTheMeanOfTheOldOnes) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "bert/mlm");
  ModelOptions options;
  options.task = "masked-lm";
  const std::string name = "bert.embeddings.word_embeddings.weight";
  const std::vector<float> old = parameter_values(model, name);
  const size_t cols = 32, rows = old.size() / cols;

  const Model grown = model.with_task(options, static_cast<int64_t>(rows) + 5);
  const std::vector<float> words = parameter_values(grown, name),
                           bias = parameter_values(grown, "cls.predictions.bias");
  ASSERT_EQ(words.size(), (rows + 5) * cols);
  EXPECT_EQ(bias.size(), rows + 5);
  EXPECT_TRUE(std::equal(old.begin(), old.end(), words.begin()));
  for (size_t c = 0; c < cols; ++c) {
    double sum = 0;
    for (size_t r = 0; r < rows; ++r) sum += old[r * cols + c];
    for (size_t r = rows; r < rows + 5; ++r)
      EXPECT_NEAR(words[r * cols + c], sum / static_cast<double>(rows), 1e-7);
  }

  TempDir dir;  // the saved folder has the new size
  grown.save_pretrained(dir / "grown");
  EXPECT_TRUE(same_bits(all_values(load_model(dir / "grown")), all_values(grown)));

  const Model shrunk = grown.with_task(options, static_cast<int64_t>(rows) - 3);
  const std::vector<float> fewer = parameter_values(shrunk, name);
  ASSERT_EQ(fewer.size(), (rows - 3) * cols);
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), old.begin()));
}

TEST(WithTask, KeepsAHeadThatFits) {
  GRAFT_SHARED_PATH(folder, "golden/roberta/seqcls_single");
  const Model model = load_model(folder);
  const Model same = model.with_task({});
  EXPECT_TRUE(same_bits(all_values(model), all_values(same)));
  EXPECT_THAT(same.load_report().missing, IsEmpty());
}

TEST(WithTask, ANewHeadDoesNotTakeTheProblemTypeOfTheOldOne) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_regression");
  const Model model = load_model(folder);
  ASSERT_EQ(model.problem_type(), "regression");
  EXPECT_EQ(model.with_task({}).problem_type(), "regression");
  ModelOptions options;
  options.labels = {"score"};
  EXPECT_EQ(model.with_task(options).problem_type(), "regression");  // renamed, the same head
  options = three_labels();
  options.ignore_mismatched_sizes = true;
  EXPECT_EQ(model.with_task(options).problem_type(), "");
  options.problem_type = "multi_label_classification";
  EXPECT_EQ(model.with_task(options).problem_type(), "multi_label_classification");
  // By way of another task: its head is another one.
  ModelOptions words;
  words.task = "masked-lm";
  EXPECT_EQ(model.with_task(words).problem_type(), "");
  EXPECT_EQ(model.with_task(words).with_task({}).problem_type(), "");
}

TEST(WithTask, BadRequestsAreNamed) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "bert/seqcls_single");
  ModelOptions options = three_labels();
  options.labels.emplace_back("d");
  EXPECT_THAT(error_of([&] { model.with_task(options); }), HasSubstr("classifier.weight"));
  options.ignore_mismatched_sizes = true;
  EXPECT_THAT(model.with_task(options).load_report().mismatched, Contains(StartsWith("classifier.weight")));
  EXPECT_THAT(error_of([&] { model.with_task(options, -1); }), HasSubstr("vocab_size"));
  options.task = "causal-lm";
  EXPECT_THAT(error_of([&] { model.with_task(options); }), HasSubstr("causal-lm"));
}

// The reference makes as many outputs as there are labels: the labels of a classifier must not stay.
TEST(WithTask, SpansHaveTwoOutputsWhateverTheLabels) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const Model classifier = load_model(folder).with_task(three_labels());
  ModelOptions options;
  options.task = "qa";
  const Model spans = classifier.with_task(options);
  EXPECT_EQ(spans.task(), "question-answering");
  EXPECT_THAT(spans.labels(), IsEmpty());
  EXPECT_THAT(spans.load_report().missing, ElementsAre("qa_outputs.weight", "qa_outputs.bias"));
  TempDir dir;
  spans.save_pretrained(dir / "qa");
  const Json config = read_json(dir / "qa" / "config.json");
  EXPECT_EQ(config.at("architectures"), Json::array({"BertForQuestionAnswering"}));
  for (const char* key : {"id2label", "label2id", "num_labels"}) EXPECT_FALSE(config.contains(key)) << key;
  EXPECT_EQ(spans.with_task(three_labels()).labels().size(), 3u);
}

// A masked-LM checkpoint has no pooler.
TEST(WithTask, ChoicesHaveANewPoolerWhereTheCheckpointHasNone) {
  GRAFT_SHARED_PATH(folder, "golden/roberta/mlm");
  ModelOptions options;
  options.task = "multiple-choice";
  const Model model = load_model(folder).with_task(options);
  EXPECT_THAT(model.load_report().missing,
              ElementsAre("roberta.pooler.dense.weight", "roberta.pooler.dense.bias", "classifier.weight",
                          "classifier.bias"));
}

}  // namespace
}  // namespace graft::test
