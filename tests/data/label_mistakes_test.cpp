// Labels that mean something else than they say: each mistake is refused or named, never trained on in
// silence.
#include <gmock/gmock.h>

#include "base/log.h"
#include "data/label_lists.h"
#include "data/labels.h"
#include "data/similar_names.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class LabelMistakes : public testing::Test {
 protected:
  // One row a label, each written as json.
  Dataset jsonl(const std::vector<std::string>& labels) {
    std::string rows;
    for (const std::string& label : labels) rows += R"({"text": "t", "label": )" + label + "}\n";
    return Dataset::from_file(dir_.write("d.jsonl", rows));
  }
  Dataset csv(const std::vector<std::string>& labels, const std::string& name = "d.csv") {
    std::string rows = "text,label\n";
    for (const std::string& label : labels) rows += "t," + label + "\n";
    return Dataset::from_file(dir_.write(name, rows));
  }
  // What loading and deciding says.
  std::string said(const std::function<Dataset()>& load, const CheckpointLabels& checkpoint = {}) {
    std::string said;
    const LogSink before = set_log_sink([&](LogLevel level, const std::string& text) {
      said += (level == LogLevel::warning ? "warning: " : "") + text + "\n";
    });
    LabelMap::for_training(load(), checkpoint);
    set_log_sink(before);
    return said;
  }
  test::TempDir dir_;
};

TEST_F(LabelMistakes, VectorsOfZerosAndOnesAreRefused) {
  // As ids both rows have both labels.
  EXPECT_THAT(
      error_of([&] {
        jsonl({"[1,0]", "[0,1]"});
      }),
      AllOf(HasSubstr("d.jsonl: line 1: column 'label': the label [1, 0] is a vector of zeros and ones"),
            HasSubstr("as ids they would give every row both labels"), HasSubstr("[0] instead of [1, 0]")));
  EXPECT_THAT(error_of([&] { jsonl({"[0, 1]"}); }), HasSubstr("[1] instead of [0, 1]"));
  EXPECT_THAT(error_of([&] { jsonl({"[1, 0, 1]"}); }),
              AllOf(HasSubstr("line 1"), HasSubstr("a vector of zeros and ones"),
                    HasSubstr("[0, 2] instead of [1, 0, 1]")));
  EXPECT_THAT(error_of([&] {
                jsonl({"[2]", "[0,0]"});
              }),
              HasSubstr("line 2: column 'label': the label [0, 0] is a"));
  for (const char* vector : {"[1.0, 0.0]", "[0.0, 1.0, 0.0]", "[\"1\", \"0\", \"0\"]", "[true, false]",
                             "[false, false]", "[\"0\", \"1\"]", "[0,0,0,0,0,0,0,0,1,0,0]"}) {
    EXPECT_THAT(error_of([&] { jsonl({vector}); }), HasSubstr("is a vector of zeros and ones")) << vector;
  }
}

TEST_F(LabelMistakes, ListsOfIdsThatHoldZeroAndOneAreRead) {
  EXPECT_EQ(jsonl({"[1,0]", "[0]"}).label_kind(), LabelKind::lists);
  EXPECT_EQ(jsonl({"[1,0]", "[]"}).label_kind(), LabelKind::lists);
  EXPECT_EQ(jsonl({"[0]", "[1]", "[0]"}).label_kind(), LabelKind::lists);
  EXPECT_EQ(jsonl({"[0,1]", "[1,2]"}).label_kind(), LabelKind::lists);
  EXPECT_EQ(jsonl({"[\"a\",\"b\"]", "[\"b\",\"a\"]"}).label_item_kind(), LabelKind::strings);
}

TEST_F(LabelMistakes, ListsAsTextAreRefused) {
  EXPECT_THAT(error_of([&] {
                csv({"0 1", "1 0", "1 1"});
              }),
              AllOf(HasSubstr("d.csv: line 2: column 'label': the label '0 1' reads as a list"),
                    HasSubstr(".jsonl")));
  for (const char* label :
       {"\"[0, 1]\"", "[1 0 0]", "\"['a', 'b']\"", "\"0,1\"", "0;1", "0|1", "\"3,5\"", "[]", "\"(1, 2)\""}) {
    EXPECT_THAT(error_of([&] { csv({label}); }), HasSubstr("reads as a list")) << label;
  }
  EXPECT_THAT(error_of([&] {
                csv({"0", "1", "0 2"});
              }),
              HasSubstr("line 4: column 'label': the label '0 2' reads"));
  EXPECT_THAT(error_of([&] { jsonl({"\"0 1\"", "\"1 1\""}); }), HasSubstr("'0 1' reads as a list"));
  for (const char* label : {"[positive]", "a|b", "2-1", "10:30", "1st 2nd", "a b"})
    EXPECT_EQ(csv({label, "x"}).label_kind(), LabelKind::strings) << label;
  EXPECT_EQ(csv({"0 1", "x"}).label_kind(), LabelKind::strings);
}

TEST_F(LabelMistakes, NumbersInQuotesAreNamesAndItIsSaid) {
  EXPECT_THAT(
      said([&] {
        return jsonl({"\"1.4\"", "\"2.4\"", "\"6.4\""});
      }),
      HasSubstr(
          "labels are numbers in quotes (\"1.4\"): read as the names of 3 classes; for regression write "
          "numbers without quotes"));
  EXPECT_THAT(said([&] {
                return jsonl({"\"0\"", "\"1\""});
              }),
              HasSubstr("labels are numbers in quotes (\"0\")"));
  EXPECT_THAT(said([&] { return jsonl({"\"0\"", "\"x\""}); }), Not(HasSubstr("in quotes")));
  EXPECT_THAT(said([&] { return csv({"0", "1"}); }), Not(HasSubstr("in quotes")));
}

TEST_F(LabelMistakes, NumbersAreARegressionAndItIsSaid) {
  const std::string whole = said([&] { return csv({"1.0", "2.0", "0.0"}); });
  EXPECT_THAT(whole, HasSubstr("warning: "));
  EXPECT_THAT(whole, HasSubstr("labels are numbers: regression, one output; write integers for classes"));
  EXPECT_THAT(whole, HasSubstr("all of them are whole numbers"));
  const std::string mixed = said([&] { return csv({"1.4", "2", "0.5"}); });
  EXPECT_THAT(mixed, HasSubstr("labels are numbers: regression, one output; write integers for classes"));
  EXPECT_THAT(mixed, Not(HasSubstr("warning")));
  EXPECT_THAT(said([&] { return jsonl({"1.0", "2"}); }), HasSubstr("all of them are whole numbers"));
  EXPECT_THAT(said(
                  [&] {
                    return csv({"1", "2"});
                  },
                  {{}, false, "regression"}),
              HasSubstr("regression, one output: config.json has \"problem_type\": \"regression\""));
}

TEST_F(LabelMistakes, NamesThatLookAlikeAreWarnedOf) {
  const auto load = [&](const std::vector<std::string>& labels) {
    return [&, labels] { return csv(labels); };
  };
  const std::string cases = said(load({"True", "FALSE", "true", "False"}));
  EXPECT_THAT(
      cases,
      HasSubstr("'True' and 'true' (lines 2 and 4) differ only in case, outer spaces or Unicode form"));
  EXPECT_THAT(cases, HasSubstr("'FALSE' and 'False' (lines 3 and 5)"));
  EXPECT_THAT(said(load({"sci fi", "sci fi ", "x"})), HasSubstr("'sci fi' and 'sci fi ' (lines 2 and 3)"));
  EXPECT_THAT(said(load({"sci fi", "sci fi\u00A0"})), HasSubstr("'sci fi' and 'sci fi\\u00A0'"));
  EXPECT_THAT(said(load({"caf\u00E9", "cafe\u0301"})), HasSubstr("'caf\\u00E9' and 'cafe\\u0301'"));
  EXPECT_THAT(said(load({"pos", "p\u200Bos"})), HasSubstr("'pos' and 'p\\u200Bos'"));
  EXPECT_THAT(said(load({"a", "b", "ab", "a b"})), Not(HasSubstr("differ only")));
  std::vector<std::string> many;
  for (int i = 0; i < 9; ++i)
    many.push_back("n" + std::to_string(i)), many.push_back("N" + std::to_string(i));
  EXPECT_THAT(said(load(many)), HasSubstr("4 more pairs"));
}

TEST_F(LabelMistakes, NamesJoinedFromOtherLabelsAreWarnedOf) {
  const auto load = [&](const std::vector<std::string>& labels) {
    return [&, labels] { return csv(labels); };
  };
  EXPECT_THAT(
      said(load({"comedy", "drama", "comedy|drama"})),
      HasSubstr("line 4: column 'label': 'comedy|drama' is read as one more label, but its parts are labels "
                "too; several labels a row need a .jsonl with lists"));
  EXPECT_THAT(said(load({"a; b", "a", "b"})), HasSubstr("'a; b' is read as one more label"));
  EXPECT_THAT(said(load({"\"a,b\"", "a", "b"})), HasSubstr("'a,b' is read as one more label"));
  for (const std::vector<std::string>& fine :
       {std::vector<std::string>{"sci-fi/fantasy", "fantasy"}, {"a/b", "c/d"}, {"a|", "a"}, {"c++", "c"}})
    EXPECT_THAT(said(load(fine)), Not(HasSubstr("its parts"))) << fine[0];
}

TEST_F(LabelMistakes, IntegersForAModelWithNamesAreIdsAndItIsSaid) {
  const LabelMap map = LabelMap::from_checkpoint({{"neg", "pos"}, true, ""});
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  map.check(csv({"0", "1"}));
  map.check(csv({"neg", "pos"}));
  LabelMap::from_checkpoint({{"LABEL_0", "LABEL_1"}, true, ""}).check(csv({"0", "1"}));
  LabelMap::from_checkpoint({{"1", "0"}, true, ""}).check(csv({"0", "1"}));
  set_log_sink(before);
  EXPECT_THAT(said, AllOf(HasSubstr("d.csv: integer labels are ids: 0 = neg, 1 = pos\n"),
                          testing::ResultOf(
                              [](const std::string& s) { return std::count(s.begin(), s.end(), '\n'); }, 1)));
}

TEST_F(LabelMistakes, ANameThatDiffersALittleFromTheModelsIsNamed) {
  const LabelMap map = LabelMap::from_checkpoint({{"positive", "caf\u00E9"}, true, ""});
  EXPECT_THAT(
      error_of([&] {
        map.check(csv({"positive", "Positive"}));
      }),
      HasSubstr(
          "d.csv: line 3: column 'label': the model has no such label: 'Positive' and 'positive' differ "
          "in case, outer spaces or Unicode form"));
  EXPECT_THAT(error_of([&] { map.check(csv({"positive ", "x"})); }), HasSubstr("'positive ' and 'positive'"));
  EXPECT_THAT(error_of([&] {
                map.check(csv({"cafe\u0301", "x"}));
              }),
              HasSubstr("'cafe\\u0301' and 'caf\\u00E9'"));
}

TEST_F(LabelMistakes, OneLabelARowUnderAMultiLabelHeadIsSaid) {
  const CheckpointLabels checkpoint{default_label_names(3), true, "multi_label_classification"};
  const std::string log = said([&] { return csv({"0", "2", "1"}); }, checkpoint);
  EXPECT_THAT(
      log,
      HasSubstr("each row has one label, but several labels a row are trained (a sigmoid for each), because "
                "config.json has \"problem_type\": \"multi_label_classification\""));
  EXPECT_THAT(log, HasSubstr("write \"single_label_classification\" there"));
  EXPECT_THAT(said([&] { return jsonl({"[0]", "[1,2]"}); }, checkpoint), Not(HasSubstr("sigmoid")));
}

// load_for_training resolves the labels, and the Trainer takes what it chose.
TEST_F(LabelMistakes, ChosenLabelsAreCheckedAndNotResolvedAgain) {
  const Dataset train = csv({"0", "2", "1"});
  std::string log;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { log += text; });
  const LabelMap map = LabelMap::chosen(train, {"a", "b", "c"}, "multi_label_classification");
  set_log_sink(before);
  EXPECT_THAT(log, IsEmpty());
  EXPECT_EQ(map.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(map.problem_type(), "multi_label_classification");
  EXPECT_EQ(LabelMap::chosen(train, {"a", "b", "c"}, "").problem_type(), "single_label_classification");
  EXPECT_THAT(error_of([&] {
                LabelMap::chosen(train, {"a", "b"}, "").check(train);
              }),
              AllOf(HasSubstr("d.csv: line 3: column 'label': label 2 is out of range"),
                    HasSubstr("must occur in the training data")));
  EXPECT_THAT(error_of([] { LabelMap::chosen(Dataset(std::vector<Example>(1)), {"a"}, ""); }),
              HasSubstr("no labels to train on"));
}

// One number a row would be compared with several outputs.
TEST_F(LabelMistakes, ARegressionWithSeveralOutputsIsRefused) {
  const LabelMap map = LabelMap::from_checkpoint({{"x", "y"}, true, "regression"});
  EXPECT_THAT(
      error_of([&] {
        map.check(csv({"1.5", "0.25"}));
      }),
      AllOf(HasSubstr("d.csv: a row has one number, but the model is a regression with 2 outputs (x, y)"),
            HasSubstr("\"problem_type\" in config.json")));
}

TEST_F(LabelMistakes, WhereTheIdsComeFrom) {
  EXPECT_THAT(said([&] {
                return csv({"pos", "neg"});
              }),
              AllOf(HasSubstr("label ids follow the sorted names of"), HasSubstr("d.csv: 0 = neg, 1 = pos")));
  EXPECT_THAT(said([&] { return csv({"1", "0"}); }), HasSubstr("label ids are the integers of"));
  EXPECT_THAT(said(
                  [&] {
                    return csv({"pos", "neg"});
                  },
                  {{"pos", "neg"}, true, ""}),
              HasSubstr("label ids follow the checkpoint's id2label: 0 = pos, 1 = neg"));
  EXPECT_THAT(said(
                  [&] {
                    return csv({"pos", "neg"});
                  },
                  {{"LABEL_0", "LABEL_1"}, true, ""}),
              HasSubstr("does not name its labels; their ids follow the sorted names of"));
}

TEST_F(LabelMistakes, NumbersThatAreNoneAreRefused) {
  for (const char* label : {"nan", "NaN", "-nan", "inf", "-Infinity", "1.#QNAN"}) {
    EXPECT_THAT(error_of([&] {
                  csv({"0.5", label});
                }),
                HasSubstr(std::string("d.csv: line 3: column 'label': the label '") + label +
                          "' is not a finite number"));
    EXPECT_THAT(error_of([&] { csv({label, label}); }), HasSubstr("line 2")) << label;
  }
  EXPECT_THAT(error_of([&] {
                csv({"0.5", "1e999"});
              }),
              HasSubstr("line 3: column 'label': the label 1e999 is out of"));
  EXPECT_THAT(error_of([&] { jsonl({"0.5", "NaN"}); }), HasSubstr("NaN and Infinity are not JSON"));
  EXPECT_THAT(error_of([&] {
                LabelMap::for_training(csv({"0.5", "1e39"}));
              }),
              HasSubstr("line 3: column 'label': the label 1e39 is too large for a 32-bit float"));
}

TEST_F(LabelMistakes, IntegersOfAnySizeAreNoFloats) {
  for (const char* label : {"3000000000", "18446744073709551616", "-99999999999999999999"}) {
    EXPECT_EQ(csv({"0", label}).label_kind(), LabelKind::integers) << label;
    EXPECT_EQ(jsonl({"0", label}).label_kind(), LabelKind::integers) << label;
    EXPECT_THAT(error_of([&] { LabelMap::for_training(csv({"0", label})); }), HasSubstr(label));
    const LabelMap map = LabelMap::from_checkpoint({default_label_names(2), true, ""});
    EXPECT_THAT(error_of([&] {
                  map.check(csv({"0", label}));
                }),
                HasSubstr(std::string("line 3: column 'label': label ") + label + " is out of range"));
  }
}

TEST_F(LabelMistakes, MissingValuesAmongNamesAreSaid) {
  EXPECT_THAT(said([&] {
                return csv({"a", "None", "None"});
              }),
              HasSubstr("line 3: column 'label': 'None' is read as the name of a label, in 2 rows"));
  EXPECT_THAT(said([&] { return csv({"a", "nan"}); }), HasSubstr("'nan' is read as the name of a label"));
  EXPECT_THAT(said([&] { return jsonl({"\"a\"", "\"None\""}); }), Not(HasSubstr("is read as the name")));
}

TEST_F(LabelMistakes, AFileWithOneLabelIsSaid) {
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text; });
  csv({"x", "x", "x"});
  set_log_sink(before);
  EXPECT_THAT(said, HasSubstr("d.csv: column 'label': all 3 rows have the same label 'x'"));
  const std::string error = error_of([&] { LabelMap::for_training(csv({"x", "x"})); });
  EXPECT_THAT(error, HasSubstr("every row has the same label 'x'"));
  EXPECT_THAT(error, Not(HasSubstr("--problem_type")));
}

TEST_F(LabelMistakes, AlmostAsManyLabelsAsRowsAreSaid) {
  std::vector<std::string> labels;
  for (int i = 0; i < 30; ++i) labels.push_back("name" + std::to_string(i));
  EXPECT_THAT(said([&] { return csv(labels); }),
              HasSubstr("30 different labels in 30 rows: is this the column of the labels?"));
  for (int i = 0; i < 40; ++i) labels.push_back("name0");
  EXPECT_THAT(said([&] { return csv(labels); }), Not(HasSubstr("is this the column")));
  EXPECT_THAT(said([&] { return csv({"a", "b", "c"}); }), Not(HasSubstr("is this the column")));
}

TEST_F(LabelMistakes, OddLabelsAreRefusedWithTheirLine) {
  EXPECT_THAT(error_of([&] {
                jsonl({"\"a\"", "{\"b\": 1}"});
              }),
              HasSubstr("line 2: column 'label': the label is an object"));
  EXPECT_THAT(error_of([&] { jsonl({"[[1], [2]]"}); }), HasSubstr("a list of lists"));
  EXPECT_THAT(error_of([&] { jsonl({"[\"a\", null]"}); }), HasSubstr("a list with a null in it"));
  EXPECT_THAT(error_of([&] { jsonl({"[\"a\", \" \"]"}); }), HasSubstr("the list holds an empty label"));
  EXPECT_THAT(error_of([&] { jsonl({"true", "1"}); }), HasSubstr("line 2"));
  EXPECT_EQ(jsonl({"true", "false"}).label_kind(), LabelKind::strings);
  std::string list = "[0";
  for (int i = 1; i < 70000; ++i) list += "," + std::to_string(i);
  EXPECT_THAT(error_of([&] { jsonl({list + "]"}); }), HasSubstr("a list of over 65536 labels"));
}

TEST_F(LabelMistakes, HostileLabelsAreShortAndPrintable) {
  const LabelMap map = LabelMap::from_checkpoint({{"a", "b"}, true, ""});
  const std::string error = error_of([&] { map.check(csv({"a", "\x1B[2J" + std::string(4000, 'x')})); });
  EXPECT_THAT(error, HasSubstr("label '\\u001B[2Jxxx"));
  EXPECT_LT(error.size(), 600u);
  EXPECT_EQ(error.find('\x1B'), std::string::npos);
  const std::string text = error_of([&] { csv({"a", std::string(1 << 20, 'x')}); });
  EXPECT_THAT(text, AllOf(HasSubstr("line 3: column 'label': the label 'xxx"),
                          HasSubstr("... (1048576 bytes)'"), HasSubstr("--label_column")));
  EXPECT_LT(text.size(), 400u);
}

TEST(NumberLists, Reading) {
  EXPECT_EQ(number_list("3"), NumberList::one);
  EXPECT_EQ(number_list("0 1"), NumberList::several);
  EXPECT_EQ(number_list("0,  1"), NumberList::several);
  EXPECT_EQ(number_list("3,5"), NumberList::several);
  EXPECT_EQ(number_list("[]"), NumberList::list);
  EXPECT_EQ(number_list("['it', \"x\"]"), NumberList::list);
  for (const char* name : {"", "a", "[a]", "['a]", "1 a", "[", "1-2", " "})
    EXPECT_EQ(number_list(name), NumberList::no) << name;
}

TEST(SimilarNames, Folding) {
  EXPECT_EQ(folded(" Straße\t"), folded("STRASSE"));
  EXPECT_EQ(folded("\uFF21"), "a");
  EXPECT_NE(folded("a b"), folded("ab"));
  EXPECT_EQ(folded("\xFF"), "\xFF");
  EXPECT_EQ(look_alike("POS", {"neg", "pos"}), "pos");
  EXPECT_EQ(look_alike("pos", {"neg", "pos"}), "");
}

}  // namespace
}  // namespace graft::data
