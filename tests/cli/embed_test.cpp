// graft embed, and the training of embeddings from the command line.
#include <cstring>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Npy {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
};

// As numpy.lib.format describes the file.
Npy read_npy(const std::string& file) {
  const std::string bytes = read_file(file);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const auto size =
      static_cast<size_t>(static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]));
  const std::string header = bytes.substr(10, size);
  EXPECT_EQ((10 + size) % 64, 0u);
  EXPECT_EQ(header.back(), '\n');
  EXPECT_THAT(header, AllOf(HasSubstr("'descr': '<f4'"), HasSubstr("'fortran_order': False")));
  Npy out;
  const char* shape = std::strstr(header.c_str(), "'shape': (") + 10;
  EXPECT_EQ(std::sscanf(shape, "%ld, %ld)", &out.rows, &out.columns), 2);
  out.values.resize((bytes.size() - 10 - size) / sizeof(float));
  std::memcpy(out.values.data(), bytes.data() + 10 + size, out.values.size() * sizeof(float));
  return out;
}

std::string pairs_of(World& world, const std::string& name, int n, int first) {
  std::string out = "anchor,positive\n";
  for (int i = first; i < first + n; ++i)
    out += (i % 2 ? "good film was " : "bad film was ") + std::string(i % 3 ? "the" : "a") + "," +
           (i % 2 ? "good book " : "bad book ") + std::string(i % 3 ? "the" : "a") + "\n";
  return world.write(name, out);
}

TEST(Embed, NpyAndJsonlHoldTheSameNumbersInInputOrder) {
  World world;
  const std::string input = world.write("in.txt", "good film\n\nbad book was the film and the book\ngood\n");
  const std::string model = world.model();
  const std::vector<std::string> args = {"embed", "--model", model, "--input", input, "--output"};
  const auto with = [&](const std::string& output) {
    std::vector<std::string> all = args;
    all.push_back(output);
    return run_graft(all);
  };
  const Result r = with(world / "out.npy");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("no modules.json: the embedding is the mean of the tokens"),
                           HasSubstr("out.npy: 4 embeddings of 16 numbers")));
  EXPECT_EQ(r.out, "");
  const Npy npy = read_npy(world / "out.npy");
  EXPECT_EQ(npy.rows, 4);
  EXPECT_EQ(npy.columns, 16);
  const std::vector<Json> lines = json_lines(with("-").out);
  ASSERT_EQ(lines.size(), 4u);
  std::vector<float> values;
  for (const Json& line : lines)
    for (const Json& x : line["embedding"]) values.push_back(x.get<float>());
  EXPECT_EQ(values, npy.values);
  EXPECT_EQ(with(world / "out.jsonl").code, 0);
  EXPECT_EQ(json_lines(read_file(world / "out.jsonl")).size(), 4u);
  // One text alone has the same bits.
  const Json alone =
      json_lines(graft_output({"embed", "--model", model}, "bad book was the film and the book\n")).front();
  EXPECT_EQ(alone["embedding"], lines[2]["embedding"]);
}

TEST(Embed, AnswersALineBeforeItWaitsForMore) {
  World world;
  RunningGraft graft({"embed", "--model", world.model()});
  graft.write_input("good film\n");
  EXPECT_THAT(graft.read_line(), HasSubstr("{\"embedding\": ["));
  graft.close_input();
  EXPECT_EQ(graft.wait(), 0);
}

TEST(Embed, WhatDoesNotFitIsRefused) {
  World world;
  const std::string model = world.model(), input = world.write("in.txt", "good\n");
  const auto error = [&](std::vector<std::string> more, int code) {
    more.insert(more.begin(), {"embed", "--model", model, "--input", input});
    const Result r = run_graft(more);
    EXPECT_EQ(r.code, code) << r.err;
    return r.err;
  };
  EXPECT_THAT(error({"--output", world / "out.bin"}, 2), HasSubstr("the name must end in .npy or .jsonl"));
  EXPECT_THAT(error({"--pooling", "first"}, 2), HasSubstr("pooling first is not known"));
  EXPECT_THAT(error({"--prompt_name", "query"}, 2),
              HasSubstr("the folder has no prompt query (it has: none)"));
  EXPECT_THAT(error({"--prompt", "a", "--prompt_name", "b"}, 2), HasSubstr("one of the two"));
  EXPECT_THAT(error({"--output", world / "no/folder.npy"}, 1), HasSubstr("cannot create"));
  EXPECT_THAT(error({"--output", "/dev/full", "--label_column", "x"}, 2), HasSubstr("label_column"));
  const Result full =
      run_graft({"embed", "--model", model, "--input", input}, {.input = "", .stdout_file = "/dev/full"});
  EXPECT_EQ(full.code, 1);
  EXPECT_THAT(
      run_graft({"embed", "--model", model, "--input", input, "--max_seq_length", "4", "--output", "-"}).err,
      testing::Not(HasSubstr("truncated")));
  EXPECT_THAT(run_graft({"embed", "--model", model, "--input",
                         world.write("long.txt", "good bad good bad good\ngood\n"), "--max_seq_length", "4"})
                  .err,
              HasSubstr("1 of 2 texts were truncated at 4 tokens"));
}

TEST(Embed, TrainedPairsGiveASentenceEncoder) {
  World world;
  const Result r = run_graft(world.train_args(
      "out",
      {"--task", "sentence-embedding", "--train_file", pairs_of(world, "train.csv", 48, 0),
       "--validation_file", pairs_of(world, "dev.csv", 12, 1), "--normalize", "true", "--pooling", "cls"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("loss: MultipleNegativesRankingLoss (the data has no scores)"),
                           HasSubstr("'anchor' and 'positive' are alike")));
  EXPECT_THAT(r.out, AllOf(HasSubstr("eval_mrr@10"), HasSubstr("eval_recall@5")));
  const std::vector<std::string> files = files_in(world / "out");
  for (const char* name :
       {"modules.json", "1_Pooling/config.json", "2_Normalize/config.json", "sentence_bert_config.json",
        "config_sentence_transformers.json", "model.safetensors"})
    EXPECT_THAT(files, testing::Contains(name));
  EXPECT_EQ(read_json(world / "out/config.json")["architectures"], Json::array({"BertModel"}));
  const Json embedding =
      json_lines(graft_output({"embed", "--model", world / "out"}, "good film\n")).front()["embedding"];
  double length = 0;
  for (const Json& x : embedding) length += x.get<double>() * x.get<double>();
  EXPECT_NEAR(length, 1, 1e-5);
  const Json scores = json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file",
                                               world / "dev.csv", "--json"}))
                          .front();
  EXPECT_EQ(scores["eval_mrr@10"], read_json(world / "out/all_results.json")["eval_mrr@10"]);
  const Result predicted = run_graft({"predict", "--model", world / "out"}, {.input = "good\n"});
  EXPECT_EQ(predicted.code, 1);
  EXPECT_THAT(predicted.err, AllOf(HasSubstr("an encoder without a head"), HasSubstr("graft embed")));
}

// --- cross-encoders: a score for a pair, and candidates in its order

std::string scored_pairs(World& world, const std::string& name, int n, const std::string& high = "1.0") {
  std::string out = "sentence1,sentence2,label\n";
  for (int i = 0; i < n; ++i)
    out += std::string(i % 2 ? "good" : "bad") + " film," + (i / 2 % 2 ? "good" : "bad") + " book," +
           (i / 2 % 2 ? high : "0.0") + "\n";
  return world.write(name, out);
}

TEST(CrossEncoder, TrainsWithTheSigmoidAndReranks) {
  World world;
  const std::string train = scored_pairs(world, "train.csv", 96);
  const Result r =
      run_graft(world.train_args("out", {"--train_file", train, "--validation_file", train, "--loss",
                                         "BinaryCrossEntropyLoss", "--num_train_epochs", "8"}));
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string model = world / "out";
  const Json config = read_json(world / "out/config.json");
  EXPECT_EQ(config["sentence_transformers"]["activation_fn"], "torch.nn.modules.activation.Sigmoid");
  EXPECT_EQ(config["id2label"].size(), 1u);
  const std::string input = world.write(
      "q.jsonl", R"({"query": "good film", "candidates": ["bad book", "good book", "bad book bad"]})"
                 "\n");
  const std::vector<Json> lines = json_lines(graft_output({"predict", "--model", model, "--input", input}));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["query"], "good film");
  const Json& found = lines[0]["candidates"];
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0]["corpus_id"], 1);
  EXPECT_EQ(found[0]["text"], "good book");
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_GE(found[i]["score"].get<double>(), 0);
    EXPECT_LE(found[i]["score"].get<double>(), 1);
    if (i > 0) {
      EXPECT_GE(found[i - 1]["score"].get<double>(), found[i]["score"].get<double>());
    }
  }
  EXPECT_GT(found[0]["score"].get<double>(), 0.5);
  const Json best = json_lines(graft_output({"predict", "--model", model, "--input", input, "--top_k", "1"}))
                        .front()["candidates"];
  EXPECT_EQ(best, Json::array({found[0]}));
  // Rows from standard input, too.
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", model}, read_file(input))), lines);
  // The same score as that of the pair alone, and as the evaluation reads it.
  const std::string pair = world.write("pair.csv", "sentence1,sentence2\ngood film,good book\n");
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", model, "--input", pair})).front()["score"],
            found[0]["score"]);
  const Json scores =
      json_lines(graft_output({"evaluate", "--model", model, "--test_file", train, "--json"})).front();
  EXPECT_EQ(scores["eval_loss"], read_json(world / "out/all_results.json")["eval_loss"]);
  EXPECT_GT(scores["eval_pearson"].get<double>(), 0.8);
}

TEST(CrossEncoder, IntegersAreScoresAndAWrongTaskIsTold) {
  World world;
  const std::string train =
      world.write("train.csv", "sentence1,sentence2,label\ngood film,good book,1\nbad film,good book,0\n");
  const Result r =
      run_graft(world.train_args("out", {"--train_file", train, "--loss", "BinaryCrossEntropyLoss",
                                         "--max_steps", "1", "--ignore_mismatched_sizes"}));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(read_json(world / "out/config.json")["problem_type"], "regression");
  EXPECT_THAT(run_graft({"train", "--model", world.model(), "--task", "sentence-embedding", "--loss",
                         "BinaryCrossEntropyLoss", "--train_file", train, "--output_dir", world / "x"})
                  .err,
              HasSubstr("--task sequence-classification"));
}

// A result of before stays until a whole new one is there.
TEST(Outputs, AFailureKeepsTheEarlierFile) {
  World world;
  const std::string npy = world.write("good.npy", "earlier"), rows = world.write("good.jsonl", "earlier\n");
  const std::string bad = world.write("bad.txt", "a good film\n\xff\n");
  EXPECT_EQ(run_graft({"embed", "--model", world.model(), "--input", bad, "--output", npy}).code, 1);
  EXPECT_EQ(read_file(npy), "earlier");
  EXPECT_FALSE(std::filesystem::exists(npy + ".partial"));
  const Result r = run_graft({"predict", "--model", world.model(), "--input", bad, "--output", rows,
                              "--per_device_eval_batch_size", "1"});
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(read_file(rows), "earlier\n");
  EXPECT_THAT(r.err, HasSubstr("what was written so far is in " + rows + ".partial"));
  EXPECT_EQ(json_lines(read_file(rows + ".partial")).size(), 1u);
  EXPECT_EQ(run_graft({"predict", "--model", world.model(), "--input", world.write("ok.txt", "a good film\n"),
                       "--output", rows})
                .code,
            0);
  EXPECT_EQ(json_lines(read_file(rows)).size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(rows + ".partial"));
}

TEST(CrossEncoder, WhatDoesNotFitIsRefused) {
  World world;
  const auto error = [&](const std::string& file, const std::string& loss) {
    return run_graft(world.train_args("x", {"--train_file", file, "--loss", loss, "--overwrite_output_dir"}))
        .err;
  };
  EXPECT_THAT(error(scored_pairs(world, "five.csv", 8, "5.0"), "BinaryCrossEntropyLoss"),
              HasSubstr("the score 5 is outside of [0, 1]"));
  EXPECT_THAT(error(world.rows("t.csv", 8, 1), "BinaryCrossEntropyLoss"),
              HasSubstr("label 'pos' is not a number"));
  EXPECT_THAT(error(scored_pairs(world, "one.csv", 8), "CoSENTLoss"),
              HasSubstr("--loss CoSENTLoss is not known for this task"));
  const std::string rows = world.write("q.jsonl", R"({"query": "good", "candidates": ["bad", 3]})"
                                                  "\n");
  EXPECT_THAT(run_graft({"predict", "--model", world.model(), "--input", rows}).err,
              HasSubstr("the model has 2 labels"));
  EXPECT_THAT(run_graft({"predict", "--model", world.model(), "--input", world.write("a.txt", "good\n"),
                         "--top_k", "2"})
                  .err,
              HasSubstr("--top_k is refused"));
}

}  // namespace
}  // namespace graft::test
