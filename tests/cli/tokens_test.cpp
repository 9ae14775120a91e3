// A model of tokens from the command line: train, evaluate, predict, and their errors.
#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// "good" is B-POS, "bad" behind it I-POS, "bad" elsewhere B-NEG; other words are O.
std::string conll(int sentences) {
  const std::vector<std::string> texts = {"good bad the film was", "the bad film was good",
                                          "was the good film", "the film was bad", "good bad film the bad"};
  std::string out;
  for (int i = 0; i < sentences; ++i) {
    std::string before;
    std::string word;
    for (const char c : texts[static_cast<size_t>(i) % texts.size()] + " ") {
      if (c != ' ') {
        word += c;
        continue;
      }
      const std::string tag = word == "good"     ? "B-POS"
                              : word != "bad"    ? "O"
                              : before == "good" ? "I-POS"
                                                 : "B-NEG";
      out += word + "\t" + tag + "\n";
      before = word;
      word.clear();
    }
    out += "\n";
  }
  return out;
}

struct Tokens : testing::Test {
  World world;
  std::string train = world.write("train.conll", conll(100));
  std::string model() {
    if (!std::filesystem::exists(world / "tagger/config.json"))
      graft_output(
          world.train_args("tagger", {"--task", "ner", "--train_file", train, "--num_train_epochs", "8"}));
    return world / "tagger";
  }
  std::string error(std::vector<std::string> args, int code = 1) const {
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, code) << r.err;
    return r.err;
  }
};

TEST_F(Tokens, TrainEvaluatePredict) {
  const std::string folder = model();
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", folder, "--test_file", train, "--json"})).front();
  EXPECT_EQ(scores["eval_f1"], 1.0);
  EXPECT_EQ(scores["eval_POS_f1"], 1.0);
  EXPECT_EQ(scores["eval_accuracy"], 1.0);
  const std::string table = graft_output({"evaluate", "--model", folder, "--test_file", train});
  EXPECT_THAT(table, AllOf(HasSubstr("type  precision  recall      f1  number\n"),
                           HasSubstr("POS      1.0000  1.0000  1.0000      80\n"), Not(HasSubstr("POS_f1"))));
  const Json line =
      json_lines(graft_output({"predict", "--model", folder}, "good bad the film was\n")).front();
  ASSERT_EQ(line["entities"].size(), 1u);
  const Json& entity = line["entities"][0];
  EXPECT_EQ(entity["entity_group"], "POS");
  EXPECT_EQ(entity["word"], "good bad");
  EXPECT_EQ(entity["start"], 0);
  EXPECT_EQ(entity["end"], 8);
  EXPECT_GT(entity["score"].get<double>(), 0.5);
  const std::string words =
      world.write("words.jsonl", "{\"words\": [\"good\", \"bad\", \"film\"]}\n{\"words\": []}\n");
  const auto tagged = json_lines(graft_output({"predict", "--model", folder, "--input", words}));
  EXPECT_EQ(tagged[0]["tags"], Json::array({"B-POS", "I-POS", "O"}));
  EXPECT_EQ(tagged[0]["entities"][0]["end"], 8);
  EXPECT_EQ(tagged[1]["tags"].size(), 0u);
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", folder, "--input", train})).size(), 100u);
  const Json single =
      json_lines(
          graft_output({"predict", "--model", folder, "--aggregation_strategy", "none"}, "a good film\n"))
          .front();
  EXPECT_EQ(single["entities"][0]["entity"], "B-POS");
  EXPECT_EQ(single["entities"][0]["index"], 2);
}

// A text of 120 words, 40 positions: each window of a text, and the whole text, have the same answers.
TEST_F(Tokens, LongTextsAreReadInWindows) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += i % 4 == 1 ? "the good film " : "was the film ";
  const Result r = run_graft({"predict", "--model", model()}, {text + "\n"});
  EXPECT_THAT(r.err, HasSubstr("1 texts are longer than max_seq_length and were read in windows"));
  const Json line = json_lines(r.out).front();
  ASSERT_EQ(line["entities"].size(), 10u);
  for (const Json& e : line["entities"]) EXPECT_EQ(e["word"], "good");
  std::string tagged;
  for (int i = 0; i < 40; ++i)
    tagged += i % 4 == 1 ? "the\tO\ngood\tB-POS\nfilm\tO\n" : "was\tO\nthe\tO\nfilm\tO\n";
  const Result scored =
      run_graft({"evaluate", "--model", model(), "--test_file", world.write("long.conll", tagged), "--json"});
  EXPECT_EQ(json_lines(scored.out).front()["eval_POS_number"], 10.0);
  EXPECT_EQ(json_lines(scored.out).front()["eval_f1"], 1.0);
  EXPECT_THAT(scored.err,
              HasSubstr("1 of 1 texts are longer than 40 tokens and are read in windows that share 19"));
  EXPECT_THAT(error({"evaluate", "--model", model(), "--test_file", train, "--stride", "38"}, 2),
              HasSubstr("--stride 38 leaves no new token in windows of 38"));
}

TEST_F(Tokens, BadInputIsNamed) {
  const auto args = [&](const std::string& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = world.train_args("out", {"--task", "ner", "--train_file", file});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string broken = world.write("broken.conll", "good\tI-POS\nbad\tB-POS\nbad\tB-POS\nthe\tO\n");
  EXPECT_THAT(
      error(args(broken, {"--tag_scheme", "iob2"})),
      AllOf(HasSubstr("broken.conll: 1 of 4 tags in 1 sentences break the scheme IOB2 (the first on line 1: "
                      "'good' I-POS at the start of a sentence)"),
            HasSubstr("--repair_tags true")));
  EXPECT_THAT(error(args(broken, {"--tag_scheme", "iob3"}), 2),
              HasSubstr("there are: iob1, iob2, bioes, bilou"));
  EXPECT_THAT(error(args(world.write("x.jsonl", "{\"words\": [\"good\"], \"tags\": []}"))),
              HasSubstr("x.jsonl: line 1: 1 words but 0 tags"));
  EXPECT_THAT(error(args(world.write("o.conll", "good\tO\nbad\tO\n"))),
              HasSubstr("every row has the same label 'O'"));
  EXPECT_THAT(error(args(train, {"--text_pair_column", "x"}), 2), HasSubstr("--text_pair_column is refused"));
  EXPECT_THAT(
      error(world.train_args("out", {"--train_file", world.rows("r.csv", 8, 1), "--repair_tags", "true"}), 2),
      HasSubstr("--repair_tags is refused for --task sequence-classification"));
  EXPECT_THAT(error(world.train_args(
                        "out", {"--train_file", world.rows("r.csv", 8, 1), "--label_all_tokens", "true"}),
                    2),
              HasSubstr("it is for --task token-classification"));
  EXPECT_THAT(error({"predict", "--model", model(), "--aggregation_strategy", "last"}, 2),
              HasSubstr("there are: none, simple, first, average, max"));
  EXPECT_THAT(error({"predict", "--model", world.model(), "--aggregation_strategy", "max"}, 2),
              HasSubstr("it labels no words"));
  EXPECT_THAT(error({"evaluate", "--model", model(), "--test_file", world.write("y.conll", "good\tB-ORG\n")}),
              HasSubstr("y.conll: line 1: label 'B-ORG' is not a label of the model"));
}

}  // namespace
}  // namespace graft::test
