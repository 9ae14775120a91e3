#include "data/labels.h"

#include <gmock/gmock.h>

#include "base/log.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Names = std::vector<std::string>;

// One row a label, on lines 2, 3, ... of data.csv.
Dataset labelled(const Names& labels) {
  std::vector<Example> examples;
  for (const std::string& label : labels) {
    Example e;
    e.text = "t";
    e.labels = {label};
    e.line = static_cast<int64_t>(examples.size()) + 2;
    examples.push_back(e);
  }
  return Dataset(examples, "data.csv");
}

Dataset listed(const std::vector<Names>& rows) {
  std::vector<Example> examples;
  for (const Names& labels : rows) {
    Example e;
    e.labels = labels;
    e.no_label_applies = labels.empty();
    e.line = static_cast<int64_t>(examples.size()) + 1;
    examples.push_back(e);
  }
  return Dataset(examples, "data.jsonl");
}

std::vector<int> ids(const LabelMap& map, const Dataset& data) {
  std::vector<int> out;
  for (const Example& e : data.examples()) out.push_back(map.id(e, data));
  return out;
}

std::string logged(const std::function<void()>& f) {
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  f();
  set_log_sink(before);
  return said;
}

TEST(LabelMap, NewNamesAreSorted) {
  const Dataset data = labelled({"pos", "neg", "neutral", "pos", "Zed", "ähnlich"});
  const LabelMap map = LabelMap::for_training(data);
  EXPECT_THAT(map.names(), ElementsAre("Zed", "neg", "neutral", "pos", "ähnlich"));
  EXPECT_THAT(ids(map, data), ElementsAre(3, 1, 2, 3, 0, 4));
  EXPECT_EQ(map.problem_type(), "single_label_classification");
}

TEST(LabelMap, NewIntegersAreIds) {
  const Dataset data = labelled({"2", "0", "1", "10", "9", "3", "4", "5", "6", "7", "8"});
  const LabelMap map = LabelMap::for_training(data);
  EXPECT_EQ(map.num_labels(), 11);
  EXPECT_EQ(map.names()[10], "LABEL_10");
  EXPECT_THAT(ids(map, data), ElementsAre(2, 0, 1, 10, 9, 3, 4, 5, 6, 7, 8));
}

TEST(LabelMap, IntegersWithAGapAreRefused) {
  EXPECT_THAT(
      error_of([] {
        LabelMap::for_training(labelled({"1", "2", "3"}));
      }),
      AllOf(
          HasSubstr("data.csv: line 2: integer labels are ids and must be 0..2: 0 does not occur but 1 does"),
          HasSubstr("subtract 1")));
  EXPECT_THAT(
      error_of([] {
        LabelMap::for_training(labelled({"0", "1", "3"}));
      }),
      AllOf(HasSubstr("line 4"), HasSubstr("2 does not occur but 3 does"), HasSubstr("without a gap")));
  EXPECT_THAT(error_of([] {
                LabelMap::for_training(labelled({"-1", "1"}));
              }),
              AllOf(HasSubstr("-1 does"), HasSubstr("-1 often marks rows without a label")));
}

TEST(LabelMap, IntegersWithAGapAreIdsOfANamedCheckpoint) {
  const Dataset data = labelled({"0", "2"});
  const LabelMap map = LabelMap::for_training(data, {{"a", "b", "c"}, true, ""});
  EXPECT_THAT(ids(map, data), ElementsAre(0, 2));
  const LabelMap stars = LabelMap::for_training(labelled({"1", "3"}), {{"1", "2", "3"}, true, ""});
  EXPECT_THAT(ids(stars, labelled({"1", "3"})), ElementsAre(0, 2));
}

TEST(LabelMap, OneLabelOrNoneIsRefused) {
  EXPECT_THAT(error_of([] {
                LabelMap::for_training(labelled({"a", "a"}));
              }),
              HasSubstr("every row has the same label 'a'"));
  EXPECT_THAT(error_of([] { LabelMap::for_training(Dataset({Example{}}, "data.csv")); }),
              HasSubstr("data.csv: no labels to train on"));
}

TEST(LabelMap, NamesOfAHeadKeepTheirOrder) {
  const Dataset data = labelled({"negative", "positive"});
  const CheckpointLabels checkpoint{{"positive", "negative", "neutral"}, true, ""};
  const std::string said = logged([&] {
    const LabelMap map = LabelMap::for_training(data, checkpoint);
    EXPECT_THAT(ids(map, data), ElementsAre(1, 0));
    EXPECT_EQ(map.names(), checkpoint.names);
  });
  EXPECT_THAT(
      said, HasSubstr("label ids follow the checkpoint's id2label: 0 = positive, 1 = negative, 2 = neutral"));
}

TEST(LabelMap, LabelsThatAHeadDoesNotKnowAreRefused) {
  EXPECT_THAT(
      error_of([] {
        LabelMap::for_training(labelled({"positive", "negativ"}), {{"positive", "negative"}, true, ""});
      }),
      AllOf(HasSubstr("data.csv: line 3: label 'negativ' is not a label of the model (positive, negative)"),
            HasSubstr("did you mean 'negative'?"), HasSubstr("--ignore_mismatched_sizes")));
  EXPECT_THAT(error_of([] {
                LabelMap::for_training(labelled({"0", "1", "2"}), {{"a", "b"}, true, ""});
              }),
              HasSubstr("data.csv: line 4: label 2 is out of range: the model has 2 labels (a, b)"));
}

TEST(LabelMap, NamesWithoutAHeadAreKeptWhereTheyFit) {
  const CheckpointLabels checkpoint{{"pos", "neg"}, false, ""};
  EXPECT_EQ(LabelMap::for_training(labelled({"neg", "pos"}), checkpoint).names(), checkpoint.names);
  EXPECT_EQ(LabelMap::for_training(labelled({"0", "1"}), checkpoint).names(), checkpoint.names);
  const std::string said = logged([&] {
    EXPECT_THAT(LabelMap::for_training(labelled({"x", "y", "pos"}), checkpoint).names(),
                ElementsAre("pos", "x", "y"));
  });
  EXPECT_THAT(
      said, HasSubstr("label names (pos, neg) do not fit the labels of data.csv and are replaced: 0 = pos"));
  EXPECT_EQ(LabelMap::for_training(labelled({"0", "1", "2"}), checkpoint).num_labels(), 3);
}

TEST(LabelMap, HeadWithDefaultNames) {
  const CheckpointLabels checkpoint{default_label_names(3), true, ""};
  EXPECT_THAT(ids(LabelMap::for_training(labelled({"0", "2"}), checkpoint), labelled({"0", "2"})),
              ElementsAre(0, 2));
  const Dataset named = labelled({"LABEL_2", "LABEL_0"});
  EXPECT_THAT(ids(LabelMap::for_training(named, checkpoint), named), ElementsAre(2, 0));
  const std::string said = logged([&] {
    EXPECT_THAT(LabelMap::for_training(labelled({"c", "a", "b"}), checkpoint).names(),
                ElementsAre("a", "b", "c"));
  });
  EXPECT_THAT(
      said,
      HasSubstr(
          "does not name its labels; their ids follow the sorted names of data.csv: 0 = a, 1 = b, 2 = c"));
  EXPECT_THAT(error_of([&] {
                LabelMap::for_training(labelled({"a", "b"}), checkpoint);
              }),
              AllOf(HasSubstr("data.csv: 2 labels (a, b) but the checkpoint's head has 3"),
                    HasSubstr("--ignore_mismatched_sizes true")));
  EXPECT_THAT(error_of([&] {
                LabelMap::for_training(labelled({"0", "3"}), checkpoint);
              }),
              HasSubstr("line 3: label 3 is out of range"));
}

TEST(LabelMap, EvaluationRefusesWhatTheModelDoesNotKnow) {
  const LabelMap map = LabelMap::from_checkpoint({{"neg", "pos"}, true, ""});
  const Dataset good = labelled({"pos", "neg"});
  map.check(good);
  EXPECT_THAT(ids(map, good), ElementsAre(1, 0));
  map.check(labelled({"0", "1", "1"}));
  EXPECT_THAT(error_of([&] {
                map.check(labelled({"pos", "mixed"}));
              }),
              HasSubstr("data.csv: line 3: label 'mixed' is not a label of the model (neg, pos)"));
  // Integers among names are no ids.
  EXPECT_THAT(error_of([&] {
                map.check(labelled({"pos", "1"}));
              }),
              HasSubstr("line 3: label '1' is not a label"));
  const LabelMap unnamed = LabelMap::from_checkpoint({default_label_names(2), true, ""});
  EXPECT_THAT(error_of([&] {
                unnamed.check(labelled({"neg", "pos"}));
              }),
              AllOf(HasSubstr("label 'neg' is not a label of the model"), HasSubstr("write the ids 0..1")));
  // Names that are integers are names: 0 is no id here.
  const LabelMap stars = LabelMap::from_checkpoint({{"1", "2", "3"}, true, ""});
  EXPECT_THAT(error_of([&] {
                stars.check(labelled({"1", "0"}));
              }),
              HasSubstr("line 3: label '0' is not a label"));
}

TEST(LabelMap, Regression) {
  const Dataset data = labelled({"0.5", "3"});
  const LabelMap map = LabelMap::for_training(data);
  EXPECT_EQ(map.problem_type(), "regression");
  EXPECT_EQ(map.num_labels(), 1);
  EXPECT_EQ(map.score(data[0], data), 0.5f);
  EXPECT_EQ(map.score(data[1], data), 3.0f);
  const Dataset integers = labelled({"1", "5"});
  EXPECT_EQ(LabelMap::for_training(integers, {{}, false, "regression"}).problem_type(), "regression");
  EXPECT_EQ(LabelMap::from_checkpoint({{"LABEL_0"}, true, ""}).problem_type(), "regression");
  EXPECT_THAT(error_of([&] {
                map.check(labelled({"1", "good"}));
              }),
              HasSubstr("data.csv: line 3: label 'good' is not a number"));
  EXPECT_THAT(
      error_of([&] {
        LabelMap::for_training(data, {{"a", "b"}, true, ""});
      }),
      HasSubstr(
          "the labels are numbers (regression, one output) but the checkpoint's head has 2 labels (a, b)"));
  EXPECT_THAT(error_of([&] {
                LabelMap::for_training(labelled({"0", "1"}), {{"LABEL_0"}, true, ""});
              }),
              HasSubstr("2 labels (LABEL_0, LABEL_1) but the checkpoint's head has 1"));
  EXPECT_THAT(error_of([&] {
                LabelMap::from_checkpoint({{"a", "b"}, true, ""}).check(data);
              }),
              HasSubstr("the labels are numbers with a point (regression), but the model has 2 labels"));
}

TEST(LabelMap, MultiLabel) {
  const Dataset data = listed({{"b", "a"}, {}, {"c"}});
  const LabelMap map = LabelMap::for_training(data);
  EXPECT_EQ(map.problem_type(), "multi_label_classification");
  EXPECT_THAT(map.multi_hot(data[0], data), ElementsAre(1, 1, 0));
  EXPECT_THAT(map.multi_hot(data[1], data), ElementsAre(0, 0, 0));
  EXPECT_THAT(map.multi_hot(data[2], data), ElementsAre(0, 0, 1));
  const Dataset by_id = listed({{"0", "2"}, {"1"}});
  EXPECT_THAT(LabelMap::for_training(by_id).multi_hot(by_id[0], by_id), ElementsAre(1, 0, 1));
  EXPECT_THAT(error_of([&] {
                map.check(listed({{"a", "d"}, {}}));
              }),
              HasSubstr("data.jsonl: line 1: label 'd' is not a label of the model (a, b, c)"));
  EXPECT_THAT(error_of([&] {
                LabelMap::from_checkpoint({{"a", "b"}, true, "single_label_classification"}).check(data);
              }),
              HasSubstr("the labels are lists, but the model's problem_type is single_label_classification"));
  EXPECT_THAT(error_of([&] { map.id(data[0], data); }),
              HasSubstr("line 1: 2 labels where exactly one is needed"));
}

TEST(LabelMap, ProblemTypeAsTransformersInfersIt) {
  EXPECT_EQ(infer_problem_type(LabelKind::integers, 1), "regression");
  EXPECT_EQ(infer_problem_type(LabelKind::integers, 2), "single_label_classification");
  EXPECT_EQ(infer_problem_type(LabelKind::strings, 2), "single_label_classification");
  EXPECT_EQ(infer_problem_type(LabelKind::floats, 2), "multi_label_classification");
  EXPECT_EQ(infer_problem_type(LabelKind::lists, 2), "multi_label_classification");
  EXPECT_THAT(error_of([] {
                LabelMap::from_checkpoint({{"a", "b"}, true, "singel"});
              }),
              HasSubstr("unknown problem_type 'singel'"));
  EXPECT_THAT(error_of([] {
                LabelMap::from_checkpoint({{"a", "a"}, true, ""});
              }),
              HasSubstr("names 'a' twice"));
}

TEST(LabelMap, ALabelSeenOnlyInValidationNamesFileLineAndColumn) {
  const test::TempDir dir;
  DatasetOptions options;
  options.label_column = "topic";
  const Dataset train =
      Dataset::from_file(dir.write("train.csv", "text,topic\na,sports\nb,politics\n"), options);
  const Dataset dev =
      Dataset::from_file(dir.write("dev.csv", "text,topic\na,sports\n\"b\nb\",sport\n"), options);
  const LabelMap map = LabelMap::for_training(train);
  EXPECT_THAT(error_of([&] { map.check(dev); }),
              AllOf(HasSubstr("dev.csv: line 3: column 'topic': label 'sport' is not a label of the model "
                              "(politics, sports)"),
                    HasSubstr("did you mean 'sports'?"), HasSubstr("must occur in the training data")));
}

TEST(LabelMap, LabelsBeyondMaxSamplesCount) {
  const test::TempDir dir;
  DatasetOptions options;
  options.max_samples = 2;
  const Dataset data = Dataset::from_file(dir.write("d.csv", "text,label\na,x\nb,x\nc,y\n"), options);
  EXPECT_THAT(LabelMap::for_training(data).names(), ElementsAre("x", "y"));
}

}  // namespace
}  // namespace graft::data
