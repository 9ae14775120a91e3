// graft train, evaluate and predict on labelled data, end to end.
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

double accuracy(const std::vector<Json>& predictions, const std::vector<std::string>& labels) {
  EXPECT_EQ(predictions.size(), labels.size());
  double right = 0;
  for (size_t i = 0; i < labels.size(); ++i) right += predictions[i]["label"] == labels[i];
  return right / static_cast<double>(labels.size());
}

std::vector<std::string> labels_of(const std::string& jsonl) {
  std::vector<std::string> out;
  for (const Json& row : json_lines(read_file(jsonl))) out.push_back(row["label"].get<std::string>());
  return out;
}

TEST(Classify, TrainWritesAFolderAndPrintsATable) {
  World world;
  const Result r = run_graft(
      world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1), "--validation_file",
                               world.rows("dev.csv", 32, 2), "--test_file", world.rows("test.csv", 32, 3)}));
  ASSERT_EQ(r.code, 0) << r.err;
  const std::vector<std::string> expected = {
      "all_results.json",      "config.json",        "model.safetensors",  "tokenizer.json",
      "tokenizer_config.json", "trainer_state.json", "training_args.json", "vocab.txt"};
  EXPECT_EQ(files_in(world / "out"), expected);
  // stdout: the table alone; stderr: what was loaded, precision, threads and why, where the model is.
  for (const char* name : {"train_loss", "eval_accuracy", "eval_loss", "test_accuracy"})
    EXPECT_THAT(r.out, HasSubstr(name));
  EXPECT_THAT(r.err, AllOf(HasSubstr("bert for sequence-classification"),
                           testing::AnyOf(HasSubstr("fp32"), HasSubstr("bf16")), HasSubstr("thread"),
                           HasSubstr("done; the model is in")));
  EXPECT_THAT(r.out, testing::Not(HasSubstr("loaded")));
  const Json config = read_json(world / "out/config.json");
  EXPECT_EQ(config["architectures"], Json::array({"BertForSequenceClassification"}));
  EXPECT_EQ(config["id2label"], Json({{"0", "neg"}, {"1", "pos"}}));
  const Json results = read_json(world / "out/all_results.json");
  EXPECT_GT(results["eval_accuracy"].get<double>(), 0.9);
  EXPECT_GT(results["test_accuracy"].get<double>(), 0.9);
}

TEST(Classify, TheFirstLineSaysThePrecisionAndWhy) {
  World world;
  const std::string file = world.rows("train.csv", 32, 1);
  const auto trained = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--train_file", file, "--max_steps", "1", "--overwrite_output_dir"});
    const Result r = run_graft(world.train_args("out", more));
    EXPECT_EQ(r.code, 0) << r.err;
    return r.err;
  };
  EXPECT_THAT(trained({"--bf16", "true"}), HasSubstr("bf16 (--bf16 true)"));
  EXPECT_EQ(read_json(world / "out/training_args.json")["bf16"], true);
  const std::vector<std::string> evaluate = {"evaluate", "--model", world / "out", "--test_file", file};
  EXPECT_THAT(run_graft(evaluate).err, HasSubstr("bf16 (as in training)"));
  EXPECT_THAT(trained({"--bf16", "false"}), HasSubstr("fp32 (--bf16 false)"));
  EXPECT_THAT(run_graft(evaluate).err, HasSubstr("fp32 (as in training)"));
  EXPECT_THAT(trained({}),
              testing::AnyOf(HasSubstr("bf16 (default on this CPU"), HasSubstr("fp32 (default on this CPU")));
  std::filesystem::remove(world / "out/training_args.json");
  EXPECT_THAT(run_graft(evaluate).err, HasSubstr("fp32 (default: this folder was not trained by graft)"));
}

TEST(Classify, ProfileShowsWhereTheTimeGoes) {
  World world;
  const std::string file = world.rows("train.csv", 64, 1);
  const Json trained =
      json_lines(graft_output(world.train_args("out", {"--train_file", file, "--profile", "--json"})))
          .front();
  const Json& operations = trained["profile"]["operations"];
  double inside = 0;
  std::vector<std::string> names;
  for (const Json& o : operations) {
    names.push_back(o["operation"].get<std::string>());
    inside += o["seconds"].get<double>();
    EXPECT_GT(o["calls"].get<int>(), 0) << names.back();
    EXPECT_GT(o["bytes"].get<double>(), 0) << names.back();
    if (names.back() == "linear") {
      EXPECT_GT(o["flops"].get<double>(), 0);
    }
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"linear", "linear_backward", "attention", "update"}));
  EXPECT_LE(inside, trained["profile"]["seconds"].get<double>());
  const std::string table =
      graft_output({"evaluate", "--model", world / "out", "--test_file", file, "--profile"});
  EXPECT_THAT(table, AllOf(HasSubstr("eval_accuracy"), HasSubstr("GFLOP/s"), HasSubstr("linear"),
                           HasSubstr("outside of operations")));
  EXPECT_THAT(table, testing::Not(HasSubstr("update")));
  RunOptions options;
  options.input = "a good film\n";
  const Result predicted = run_graft({"predict", "--model", world / "out", "--profile"}, options);
  EXPECT_EQ(json_lines(predicted.out).size(), 1u);
  EXPECT_THAT(predicted.err, HasSubstr("GFLOP/s"));
  EXPECT_FALSE(json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", file, "--json"}))
                   .front()
                   .contains("profile"));
}

TEST(Classify, JsonIsOneObjectOnStdout) {
  World world;
  const std::string out =
      graft_output(world.train_args("out", {"--train_file", world.rows("train.csv", 32, 1),
                                            "--validation_file", world.rows("dev.csv", 16, 2), "--json"}));
  const std::vector<Json> lines = json_lines(out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["global_step"], 16);
  EXPECT_EQ(lines[0]["eval_samples"], 16);
  EXPECT_TRUE(lines[0]["train_loss"].is_number());
}

TEST(Classify, PredictAgreesWithEvaluateInEveryFormat) {
  World world;
  const std::string model = world.model(), reference = world.rows("test.jsonl", 40, 5);
  const std::vector<std::string> labels = labels_of(reference);
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", model, "--test_file", reference, "--json"})).front();
  EXPECT_GT(scores["eval_accuracy"].get<double>(), 0.9);
  const std::string answers = graft_output({"predict", "--model", model, "--input", reference});
  EXPECT_DOUBLE_EQ(accuracy(json_lines(answers), labels), scores["eval_accuracy"].get<double>());
  for (const char* name : {"test.csv", "test.tsv", "test.csv.gz", "test.jsonl.gz"}) {
    const std::string file = world.rows(name, 40, 5);
    EXPECT_EQ(graft_output({"predict", "--model", model, "--input", file}), answers) << name;
    const Json again =
        json_lines(graft_output({"evaluate", "--model", model, "--test_file", file, "--json"})).front();
    EXPECT_EQ(again["eval_loss"], scores["eval_loss"]) << name;
    EXPECT_EQ(again["eval_accuracy"], scores["eval_accuracy"]) << name;
  }
  // The batch size is nobody's business but the machine's.
  EXPECT_EQ(
      graft_output({"predict", "--model", model, "--input", reference, "--per_device_eval_batch_size", "3"}),
      answers);
}

TEST(Classify, TheFolderIsACheckpointToGoOnFrom) {
  World world;
  const std::string model = world.model();
  const Result r =
      run_graft({"train", "--model", model, "--train_file", world.rows("train.csv", 32, 8), "--output_dir",
                 world / "again", "--learning_rate", "1e-4", "--max_steps", "2"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, testing::Not(HasSubstr("new, not in the checkpoint")));
}

TEST(Classify, MaxSamplesAndColumns) {
  World world;
  std::string rows = "id,body,class\n";
  for (int i = 0; i < 12; ++i) rows += std::to_string(i) + (i % 2 ? ",good film,pos\n" : ",bad film,neg\n");
  const std::string file = world.write("rows.csv", rows);
  const std::string out = graft_output(
      world.train_args("out", {"--train_file", file, "--validation_file", file, "--test_file", file,
                               "--text_column", "body", "--label_column", "class", "--max_train_samples", "8",
                               "--max_eval_samples", "6", "--max_predict_samples", "4", "--json"}));
  const Json result = json_lines(out).front();
  EXPECT_EQ(result["eval_samples"], 6);
  EXPECT_EQ(result["test_samples"], 4);
  EXPECT_EQ(read_json(world / "out/all_results.json")["train_samples"], 8);
  const Json five =
      json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", file, "--text_column",
                               "body", "--label_column", "class", "--max_eval_samples", "5", "--json"}))
          .front();
  EXPECT_EQ(five["eval_samples"], 5);
  EXPECT_EQ(json_lines(
                graft_output({"predict", "--model", world / "out", "--input", file, "--text_column", "body"}))
                .size(),
            12u);
}

TEST(Classify, Pairs) {
  World world;
  const std::string train = world.pairs("train.csv", 128, 1), test = world.pairs("test.csv", 32, 2);
  graft_output(world.train_args("out", {"--train_file", train, "--num_train_epochs", "8"}));
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", test, "--json"})).front();
  EXPECT_GT(scores["eval_accuracy"].get<double>(), 0.85);
  std::vector<std::string> labels;
  const std::string csv = read_file(test);
  for (size_t i = csv.find('\n') + 1; i < csv.size(); i = csv.find('\n', i) + 1)
    labels.emplace_back(1, csv[csv.find('\n', i) - 1]);
  const std::vector<Json> answers =
      json_lines(graft_output({"predict", "--model", world / "out", "--input", test}));
  // Integer labels: the names are those of the reference, LABEL_0 and LABEL_1.
  std::vector<std::string> names;
  const Json id2label = read_json(world / "out/config.json")["id2label"];
  for (const std::string& l : labels) names.push_back(id2label[l].get<std::string>());
  EXPECT_DOUBLE_EQ(accuracy(answers, names), scores["eval_accuracy"].get<double>());
}

TEST(Classify, Regression) {
  World world;
  const std::string test = world.scores("test.csv", 40, 2);
  graft_output(world.train_args(
      "out", {"--train_file", world.scores("train.csv", 160, 1), "--num_train_epochs", "8"}));
  EXPECT_EQ(read_json(world / "out/config.json")["problem_type"], "regression");
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", test, "--json"})).front();
  EXPECT_GT(scores["eval_pearson"].get<double>(), 0.8);
  // mse from predict's numbers.
  const std::vector<Json> answers =
      json_lines(graft_output({"predict", "--model", world / "out", "--input", test}));
  const std::string csv = read_file(test);
  double sum = 0;
  size_t n = 0;
  for (size_t i = csv.find('\n') + 1; i < csv.size(); ++n) {
    const size_t end = csv.find('\n', i), comma = csv.rfind(',', end);
    const double error =
        answers.at(n)["score"].get<double>() - std::stod(csv.substr(comma + 1, end - comma - 1));
    sum += error * error;
    i = end + 1;
  }
  EXPECT_EQ(n, answers.size());
  EXPECT_NEAR(sum / static_cast<double>(n), scores["eval_mse"].get<double>(), 1e-6);
}

TEST(Classify, MultiLabel) {
  World world;
  const std::string test = world.multi_labels("test.jsonl", 40, 2);
  graft_output(world.train_args("out", {"--train_file", world.multi_labels("train.jsonl", 160, 1),
                                        "--num_train_epochs", "12", "--seed", "3"}));
  EXPECT_EQ(read_json(world / "out/config.json")["problem_type"], "multi_label_classification");
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", test, "--json"})).front();
  EXPECT_GT(scores["eval_accuracy"].get<double>(), 0.8);
  const std::vector<Json> answers =
      json_lines(graft_output({"predict", "--model", world / "out", "--input", test, "--return_all_scores"}));
  const std::vector<Json> rows = json_lines(read_file(test));
  double right = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    bool all = true;
    for (const char* label : {"good", "bad"}) {
      const Json& truth = rows[i]["label"];
      all = all && (answers.at(i)["scores"][label].get<double>() > 0.5) ==
                       (std::find(truth.begin(), truth.end(), label) != truth.end());
    }
    right += all;
  }
  EXPECT_DOUBLE_EQ(right / static_cast<double>(rows.size()), scores["eval_accuracy"].get<double>());
}

TEST(Classify, CheckpointsAlongTheWay) {
  World world;
  graft_output(world.train_args("out", {"--train_file", world.rows("train.csv", 32, 1), "--validation_file",
                                        world.rows("dev.csv", 16, 2), "--save_strategy", "steps",
                                        "--save_steps", "4", "--eval_strategy", "steps", "--eval_steps", "8",
                                        "--logging_steps", "2", "--save_total_limit", "2"}));
  EXPECT_FALSE(fs::exists(world / "out/checkpoint-8"));
  EXPECT_TRUE(fs::exists(world / "out/checkpoint-12/model.safetensors"));
  EXPECT_TRUE(fs::exists(world / "out/checkpoint-16/model.safetensors"));  // the last step
  const Json state = read_json(world / "out/trainer_state.json");
  EXPECT_EQ(state["global_step"], 16);
  EXPECT_EQ(state["log_history"].size(), 8u + 2u);
  EXPECT_EQ(graft_output({"predict", "--model", world / "out/checkpoint-12"}, "good film\n").substr(0, 9),
            "{\"label\":");
}

TEST(Classify, TheSameSeedTheSameBits) {
  World world;
  const std::string train = world.rows("train.csv", 32, 1);
  for (const char* out : {"a", "b"}) graft_output(world.train_args(out, {"--train_file", train}));
  graft_output(world.train_args("c", {"--train_file", train, "--seed", "43"}));
  EXPECT_EQ(read_file(world / "a/model.safetensors"), read_file(world / "b/model.safetensors"));
  EXPECT_NE(read_file(world / "a/model.safetensors"), read_file(world / "c/model.safetensors"));
}

TEST(Classify, InfoOfAModelWithoutALimitOfPositions) {
  GRAFT_SHARED_PATH(golden, "golden/t5");
  for (const char* head : {"seqcls_single", "seq2seq"}) {
    const std::string model = (golden / head).string();
    EXPECT_TRUE(
        json_lines(graft_output({"info", "--model", model, "--json"})).front()["max_positions"].is_null());
    EXPECT_THAT(graft_output({"info", "--model", model}), HasSubstr("positions          no limit\n"));
  }
}

TEST(Classify, InfoOfAFineTunedModel) {
  World world;
  const std::string model = world.model();
  const Json info = json_lines(graft_output({"info", "--model", model, "--json"})).front();
  EXPECT_EQ(info["model_type"], "bert");
  EXPECT_EQ(info["task"], "sequence-classification");
  EXPECT_EQ(info["labels"], Json({"neg", "pos"}));
  EXPECT_EQ(info["max_positions"], 40);
  EXPECT_EQ(info["tokenizer"]["vocab_size"], 25);
  // embeddings (25 + 40 + 2) x 16 + norm, two layers, pooler, classifier
  const int layer = 4 * (16 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16) + 2 * 32;
  EXPECT_EQ(info["parameters"], 67 * 16 + 32 + 2 * layer + 16 * 16 + 16 + 2 * 16 + 2);
  EXPECT_GT(info["step_bytes_8x40"].get<int64_t>(), 0);
  EXPECT_THAT(graft_output({"info", "--model", model}),
              AllOf(HasSubstr("parameters"), HasSubstr("memory to train"), HasSubstr("tokenizer")));
}

TEST(Classify, InfoWarnsOfSentenceTransformersSettingsOfAnotherModel) {
  World world;
  const std::string model = world.model();
  write_file(model + "/modules.json", R"([
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  fs::create_directories(model + "/1_Pooling");
  write_file(model + "/1_Pooling/config.json", R"({"word_embedding_dimension": 16})");
  write_file(model + "/sentence_bert_config.json", R"({"max_seq_length": 40, "do_lower_case": true})");
  EXPECT_THAT(run_graft({"info", "--model", model}).err, Not(HasSubstr("warning: ")));
  write_file(model + "/1_Pooling/config.json", R"({"word_embedding_dimension": 384})");
  write_file(model + "/sentence_bert_config.json", R"({"max_seq_length": 256})");
  EXPECT_THAT(
      run_graft({"info", "--model", model}).err,
      AllOf(HasSubstr("warning: " + model + "/1_Pooling/config.json: the pooling is for tokens of 384"),
            HasSubstr("a hidden size of 16"), HasSubstr("\"max_seq_length\" is 256"),
            HasSubstr("has 40 positions")));
}

}  // namespace
}  // namespace graft::test
