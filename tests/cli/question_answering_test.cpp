// graft train, evaluate and predict with questions on contexts, and with choices.
#include <cmath>

#include "cli/graft_program.h"

namespace graft::test {
namespace {
using testing::AllOf;
using testing::HasSubstr;

// A BERT of random weights that learns from few words.
class AnswersProgram : public testing::Test {
 protected:
  AnswersProgram() {
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n?\n.\n";
    for (const char* word :
         {"who", "where", "ann", "bob", "eve", "rome", "oslo", "lima", "sat", "in", "and", "zoë"})
      vocabulary += std::string(word) + "\n";
    dir_.write("tokenizer/vocab.txt", vocabulary);
    dir_.write("tokenizer/tokenizer_config.json",
               R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": false})");
    write_json(dir_ / "config.json", {{"model_type", "bert"},
                                      {"vocab_size", 19},
                                      {"max_position_embeddings", 40},
                                      {"hidden_size", 32},
                                      {"num_hidden_layers", 2},
                                      {"num_attention_heads", 4},
                                      {"intermediate_size", 64},
                                      {"initializer_range", 0.1},
                                      {"hidden_dropout_prob", 0.0},
                                      {"attention_probs_dropout_prob", 0.0}});
  }

  std::vector<std::string> train_args(const std::string& task, const std::string& file,
                                      const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"train",
                                     "--task",
                                     task,
                                     "--config_name",
                                     dir_ / "config.json",
                                     "--tokenizer_name",
                                     dir_ / "tokenizer",
                                     "--train_file",
                                     file,
                                     "--validation_file",
                                     file,
                                     "--output_dir",
                                     dir_ / "out",
                                     "--learning_rate",
                                     "3e-3",
                                     "--num_train_epochs",
                                     "12",
                                     "--bf16",
                                     "false",
                                     "--save_strategy",
                                     "no"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  // Somebody sat somewhere; every fourth question has no answer where `with_none`.
  std::string questions(const std::string& name, bool with_none) const {
    const std::vector<std::string> people = {"Ann", "Bob", "Eve", "Zoë"}, places = {"Rome", "Oslo", "Lima"};
    Json paragraphs = Json::array();
    for (size_t i = 0; i < 60; ++i) {
      const std::string &person = people[i * 7 % 4], &place = places[i * 5 % 3];
      const bool none = with_none && i % 4 == 3, who = none || i / 12 % 2;
      const std::string context =
          "In " + place + " sat" + (none ? "" : " " + person) + " and " + (i % 3 ? "sat ." : "in .");
      const std::string answer = who ? person : place;
      Json qa = {
          {"id", std::to_string(i)}, {"question", who ? "Who?" : "Where?"}, {"answers", Json::array()}};
      if (with_none) qa["is_impossible"] = none;
      if (!none)
        qa["answers"].push_back({{"text", answer}, {"answer_start", who ? 3 + place.size() + 5 : size_t{3}}});
      paragraphs.push_back({{"context", context}, {"qas", Json::array({qa})}});
    }
    const Json article = {{"title", "T"}, {"paragraphs", paragraphs}};
    return dir_.write(name, Json({{"version", "1"}, {"data", Json::array({article})}}).dump()).string();
  }

  TempDir dir_;
};

const std::vector<std::string> kWindows = {"--max_seq_length", "9", "--doc_stride", "3"};

TEST_F(AnswersProgram, TrainsEvaluatesAndAnswersQuestions) {
  const std::string file = questions("train.json", false);
  const Json trained = Json::parse(
      graft_output(train_args("qa", file, {"--max_seq_length", "9", "--doc_stride", "3", "--json"})));
  EXPECT_GT(trained.at("eval_exact_match").get<double>(), 95);
  EXPECT_EQ(trained.at("eval_total"), 60);
  // As in training, whatever the batch.
  for (const char* size : {"1", "32"}) {
    const Json scores = Json::parse(graft_output({"evaluate", "--model", dir_ / "out", "--test_file", file,
                                                  "--json", "--per_device_eval_batch_size", size}));
    for (const char* name : {"eval_loss", "eval_exact_match", "eval_f1"})
      EXPECT_EQ(scores.at(name), trained.at(name)) << name;
  }
  const std::string input = R"({"id": "a", "question": "Who?", "context": "In Oslo sat Zoë and sat ."})"
                            "\n"
                            R"({"question": "Where?", "context": "In Oslo sat Zoë and sat ."})"
                            "\n";
  const auto answers = json_lines(graft_output({"predict", "--model", dir_ / "out", "--top_k", "3"}, input));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].at("id"), "a");
  EXPECT_EQ(answers[0].at("answer"), "Zoë");
  EXPECT_EQ(answers[0].at("start"), 12);  // code points
  EXPECT_EQ(answers[0].at("end"), 15);
  EXPECT_EQ(answers[0].at("n_best").size(), 3u);
  EXPECT_EQ(answers[0].at("n_best")[0].at("score"), answers[0].at("score"));
  EXPECT_EQ(answers[1].at("answer"), "Oslo");
  EXPECT_FALSE(answers[1].contains("id"));
  // The same from the nested file, in any batch.
  const std::string one = graft_output(
      {"predict", "--model", dir_ / "out", "--input", file, "--per_device_eval_batch_size", "1"});
  EXPECT_EQ(one, graft_output({"predict", "--model", dir_ / "out", "--input", file}));
  EXPECT_EQ(json_lines(one).size(), 60u);
}

TEST_F(AnswersProgram, LearnsThatThereIsNoAnswer) {
  const std::string file = questions("v2.json", true);
  const Json trained = Json::parse(graft_output(train_args(
      "question-answering", file,
      {"--max_seq_length", "16", "--doc_stride", "3", "--json", "--version_2_with_negative", "true"})));
  EXPECT_GT(trained.at("eval_f1").get<double>(), 95);
  EXPECT_GE(trained.at("eval_best_f1").get<double>(), trained.at("eval_f1").get<double>());
  EXPECT_EQ(trained.at("eval_NoAns_total"), 15);
  const std::string input = R"({"question": "Who?", "context": "In Rome sat and in ."})"
                            "\n";
  const auto of = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"predict", "--model", dir_ / "out"});
    return json_lines(graft_output(more, input)).at(0);
  };
  EXPECT_EQ(of({}).at("answer"), "");
  EXPECT_EQ(of({}).at("end"), 0);
  EXPECT_NE(of({"--null_score_diff_threshold", "1000"}).at("answer"), "");
  EXPECT_NE(of({"--version_2_with_negative", "false"}).at("answer"), "");
}

TEST_F(AnswersProgram, SaysWhatIsWrongWithTheData) {
  const auto complaint = [&](const std::string& content, const std::vector<std::string>& more) {
    const Result r =
        run_graft(train_args("question-answering", dir_.write("bad.jsonl", content).string(), more));
    EXPECT_EQ(r.code, 1);
    return r.err;
  };
  EXPECT_THAT(
      complaint(
          R"({"id": "x", "question": "Who?", "context": "Zoë sat", "answers": {"text": ["sat"], "answer_start": [5]}})",
          kWindows),
      AllOf(HasSubstr("bad.jsonl: line 1: question 1 (id x)"), HasSubstr("1 of 1 answers"),
            HasSubstr("--drop_bad_answers")));
  EXPECT_THAT(complaint(R"({"question": "Who?", "context": "Ann sat", "answers": []})", kWindows),
              HasSubstr("--version_2_with_negative"));
  EXPECT_THAT(
      complaint(
          R"({"question": "who who who who who who who", "context": "Ann sat in Rome", "answers": {"text": ["Ann"], "answer_start": [0]}})",
          kWindows),
      AllOf(HasSubstr("line 1: question 1"), HasSubstr("--max_seq_length")));
  const Result stride = run_graft(
      train_args("qa", questions("train.json", false), {"--max_seq_length", "9", "--doc_stride", "10"}));
  EXPECT_EQ(stride.code, 2);
  EXPECT_THAT(stride.err, HasSubstr("--doc_stride 10 must be smaller than --max_seq_length 9"));
  const Result language = run_graft(train_args("qa", questions("train.json", false), {"--language", "fr"}));
  EXPECT_THAT(language.err,
              AllOf(HasSubstr("--language fr"), HasSubstr("en, de, es, ar, hi, vi, zh, other")));
  const Result other = run_graft(train_args("multiple-choice", "x.csv", {"--doc_stride", "3"}));
  EXPECT_THAT(other.err, HasSubstr("--doc_stride is refused for --task multiple-choice"));
}

TEST_F(AnswersProgram, TrainsEvaluatesAndChooses) {
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    Json choices = Json::array({"Rome .", "Oslo and", "Ann"});
    for (int k = 0; k < i % 3; ++k) choices = Json::array({choices[2], choices[0], choices[1]});
    if (i % 2) choices = Json::array({choices[0], choices[1]});
    const bool who = i % 5 < 2;
    int label = -1;
    for (int k = 0; k < static_cast<int>(choices.size()); ++k)
      if ((choices[k] == Json("Ann")) == who && label < 0) label = k;
    if (label < 0) continue;
    if (!who) choices = Json::array({"Ann", choices[label]}), label = 1;
    rows += Json({{"context", "Ann sat in Rome ."},
                  {"question", who ? "Who?" : "Where?"},
                  {"choices", choices},
                  {"label", label}})
                .dump() +
            "\n";
  }
  const std::string file = dir_.write("choices.jsonl", rows).string();
  const Json trained = Json::parse(graft_output(train_args("multiple-choice", file, {"--json"})));
  EXPECT_GT(trained.at("eval_accuracy").get<double>(), 0.95);
  const Json scores =
      Json::parse(graft_output({"evaluate", "--model", dir_ / "out", "--test_file", file, "--json"}));
  EXPECT_EQ(scores.at("eval_loss"), trained.at("eval_loss"));
  const auto chosen = json_lines(graft_output(
      {"predict", "--model", dir_ / "out"},
      R"({"context": "Ann sat in Rome .", "question": "Who?", "choices": ["Rome .", "Ann", "Oslo and"]})"
      "\n"));
  ASSERT_EQ(chosen.size(), 1u);
  EXPECT_EQ(chosen[0].at("choice"), 1);
  EXPECT_EQ(chosen[0].at("text"), "Ann");
  EXPECT_EQ(chosen[0].at("scores").size(), 3u);
  EXPECT_NEAR(chosen[0].at("scores")[0].get<double>() + chosen[0].at("scores")[1].get<double>() +
                  chosen[0].at("scores")[2].get<double>(),
              1, 1e-9);
  // The rows before a bad one are answered first.
  const Result bad = run_graft({"predict", "--model", dir_ / "out"},
                               {.input = R"({"question": "Who?", "choices": ["Ann", "Rome"]})"
                                         "\n"
                                         R"({"question": "Who?", "choices": ["Ann"]})"
                                         "\n"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, AllOf(HasSubstr("line 2"), HasSubstr("only one choice")));
}

// What only another task reads is refused.
TEST_F(AnswersProgram, RefusesOptionsOfOtherTasks) {
  World world;
  for (const char* verb : {"predict", "evaluate"}) {
    std::vector<std::string> args = {verb, "--model", world.model(), "--doc_stride", "3"};
    if (args[0] == "evaluate") args.insert(args.end(), {"--test_file", world.rows("t.csv", 5, 1)});
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 2);
    EXPECT_THAT(r.err, HasSubstr("--doc_stride is refused for a sequence-classification model"));
  }
}

}  // namespace
}  // namespace graft::test
