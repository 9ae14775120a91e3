// A folder that a Trainer saved, through Pipeline and a Trainer that only evaluates: both say what evaluation
// in training said.
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "graft/pipeline.h"
#include "models/model_case.h"
#include "train/saved_arguments.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kColours = {"blue", "green", "red"};

std::vector<std::string> texts_of(const Dataset& data) {
  std::vector<std::string> out;
  for (const Example& e : data.examples()) out.push_back(e.text);
  return out;
}

class SavedModel : public testing::Test {
 protected:
  // Trains a little and saves to "out".
  TrainResult train(const Dataset& data, const std::vector<std::string>& labels, int64_t steps = 30) {
    TrainingArguments a = run_.arguments();
    a.max_steps = steps;
    a.do_eval = true;
    return Trainer(run_.model("sequence-classification", labels), a, {data, data, run_.tokenizer()}).train();
  }
  TinyRun run_;
};

TEST_F(SavedModel, PipelineAndEvaluationAgree) {
  const Dataset data = Dataset::from_file(run_.single_csv("train.csv", 48, 1));
  const TrainResult result = train(data, kColours);
  const Pipeline pipeline(run_ / "out");
  EXPECT_THAT(pipeline.labels(), ElementsAre("blue", "green", "red"));
  const std::vector<Prediction> predictions = pipeline.predict(texts_of(data));
  ASSERT_EQ(predictions.size(), 48u);
  int right = 0;
  double loss = 0;
  for (size_t i = 0; i < 48; ++i) {
    const Prediction& p = predictions[i];
    right += p.label == data[i].labels[0];
    ASSERT_EQ(p.scores.size(), 3u);
    EXPECT_NEAR(p.scores[0].score + p.scores[1].score + p.scores[2].score, 1, 1e-12);
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_EQ(p.scores[c].label, kColours[c]);
      EXPECT_LE(p.scores[c].score, p.score);
      if (kColours[c] == data[i].labels[0]) loss -= std::log(p.scores[c].score) / 48;
    }
  }
  EXPECT_NEAR(right / 48.0, value_of(result.metrics, "eval_accuracy"), 1e-12);
  EXPECT_NEAR(loss, value_of(result.metrics, "eval_loss"), 1e-6);
  EXPECT_GT(right, 20);

  TaskData tested{{}, {}, run_.tokenizer(), data};
  TrainingArguments arguments = saved_arguments(run_ / "out");
  arguments.per_device_eval_batch_size = 7;
  const LogEntry again = Trainer(load_model(run_ / "out"), arguments, std::move(tested)).evaluate_test();
  EXPECT_EQ(value_of(again, "test_accuracy"), value_of(result.metrics, "eval_accuracy"));
  EXPECT_NEAR(value_of(again, "test_loss"), value_of(result.metrics, "eval_loss"), 1e-6);
}

// The output folder of an earlier run: its weights in shards and its other tokenizer go, its checkpoints and
// what is somebody else's stay.
TEST_F(SavedModel, FilesOfAnEarlierRunDoNotStayBeside) {
  const std::filesystem::path out = run_ / "out";
  std::filesystem::create_directories(out / "checkpoint-999");
  for (const char* name : {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "merges.txt",
                           "sentencepiece.bpe.model", "notes.txt", "checkpoint-999/config.json"})
    write_file(out / name, "{}");
  train(Dataset::from_file(run_.single_csv("train.csv", 16, 1)), kColours, 1);
  for (const char* name : {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "merges.txt",
                           "sentencepiece.bpe.model", ".graft-saving"})
    EXPECT_FALSE(std::filesystem::exists(out / name)) << name;
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "training_args.json", "trainer_state.json",
        "all_results.json", "notes.txt", "checkpoint-999/config.json"})
    EXPECT_TRUE(std::filesystem::exists(out / name)) << name;
  EXPECT_EQ(Pipeline(out).labels().size(), 3u);
}

TEST_F(SavedModel, MultiLabelScoresAreProbabilitiesOfTheirOwn) {
  const Dataset data = Dataset::from_file(run_.multi_jsonl("train.jsonl", 48, 1));
  const TrainResult result = train(data, kColours, 60);
  const std::vector<Prediction> predictions = Pipeline(run_ / "out").predict(texts_of(data));
  int exact = 0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    bool same = true;
    for (const LabelScore& s : predictions[i].scores) {
      EXPECT_GT(s.score, 0);
      EXPECT_LT(s.score, 1);
      const auto& labels = data[i].labels;
      same &= (s.score > 0.5) == (std::find(labels.begin(), labels.end(), s.label) != labels.end());
    }
    exact += same;
  }
  EXPECT_NEAR(exact / 48.0, value_of(result.metrics, "eval_accuracy"), 1e-12);
}

TEST_F(SavedModel, RegressionGivesTheNumber) {
  const Dataset data = Dataset::from_file(run_.score_csv("train.csv", 48, 1));
  const TrainResult result = train(data, {"LABEL_0"});
  const std::vector<Prediction> predictions = Pipeline(run_ / "out").predict(texts_of(data));
  double squares = 0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    ASSERT_EQ(predictions[i].scores.size(), 1u);
    squares += std::pow(predictions[i].score - std::stod(data[i].labels[0]), 2) / 48;
  }
  EXPECT_NEAR(squares, value_of(result.metrics, "eval_mse"), 1e-6);
}

TEST_F(SavedModel, TextsAreCutAsInTraining) {
  const Dataset data = Dataset::from_file(run_.single_csv("train.csv", 12, 1));
  TrainingArguments a = run_.arguments();
  a.max_steps = 1;
  a.max_seq_length = 6;
  Trainer(run_.model("sequence-classification", kColours), a, {data, {}, run_.tokenizer()}).train();
  const double four = Pipeline(run_ / "out")("ba be bi bo").scores[0].score;
  EXPECT_EQ(Pipeline(run_ / "out")("ba be bi bo bu red").scores[0].score, four);
  PipelineOptions longer;
  longer.max_seq_length = 20;
  EXPECT_NE(Pipeline(run_ / "out", longer)("ba be bi bo bu red").scores[0].score, four);
  longer.max_seq_length = 41;
  std::string text = "ba";
  for (int i = 0; i < 60; ++i) text += " be";
  EXPECT_THAT(error_of([&] { Pipeline(run_ / "out", longer)(text); }), HasSubstr("40 positions"));
}

TEST_F(SavedModel, WhatCannotAnswerIsRefused) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  EXPECT_THAT(error_of([&] { Pipeline{folder}; }),
              AllOf(HasSubstr("not a sequence-classification model"), HasSubstr("graft train")));
  const Dataset data = Dataset::from_file(run_.single_csv("train.csv", 12, 1));
  train(data, kColours, 1);
  PipelineOptions options;
  options.batch_size = 0;
  EXPECT_THAT(error_of([&] { Pipeline(run_ / "out", options); }), HasSubstr("batch_size"));

  copy_folder(run_ / "tokenizer", run_ / "headless");
  copy_with_names(run_ / "out", run_ / "headless",
                  [](const std::string& n) { return n.starts_with("classifier.") ? "" : n; });
  EXPECT_THAT(error_of([&] { Pipeline(run_ / "headless"); }),
              AllOf(HasSubstr("no trained head"), HasSubstr("classifier")));
}

}  // namespace
}  // namespace graft::train
