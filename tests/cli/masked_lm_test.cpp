// graft train --task masked-lm: from scratch, from the checkpoint that it wrote, line by line and packed.
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::HasSubstr;

std::vector<std::string> masked_args(const World& world, const std::string& output,
                                     std::vector<std::string> more) {
  more.insert(more.begin(), {"--task", "masked-lm", "--train_file", world.lines("train.txt", 200, 1),
                             "--max_seq_length", "24", "--max_steps", "30", "--json"});
  return world.train_args(output, more);
}

TEST(MaskedLm, PackedLineByLineAndWholeWords) {
  World world;
  const std::string dev = world.lines("dev.txt", 60, 2);
  const Result packed = run_graft(masked_args(world, "packed", {"--validation_file", dev}));
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_THAT(packed.err, HasSubstr("bert for masked-lm"));
  const Json p = json_lines(packed.out).front();
  EXPECT_LT(p["eval_loss"].get<double>(), std::log(25.0));  // better than guessing
  EXPECT_NEAR(p["eval_perplexity"].get<double>(), std::exp(p["eval_loss"].get<double>()), 1e-6);
  EXPECT_EQ(read_json(world / "packed/config.json")["architectures"], Json::array({"BertForMaskedLM"}));

  const Json lines =
      json_lines(graft_output(masked_args(world, "lines", {"--validation_file", dev, "--line_by_line"})))
          .front();
  EXPECT_EQ(lines["eval_samples"], 60);
  EXPECT_LT(p["eval_samples"].get<int>(), 60);  // packed to 24 tokens

  const Json words =
      json_lines(graft_output(masked_args(world, "words", {"--whole_word_mask", "--line_by_line"}))).front();
  EXPECT_NE(words["train_loss"], lines["train_loss"]);

  const std::vector<std::string> spans = {"--span_mask", "--geometric_p", "0.4", "--span_upper", "3"};
  const Json first = json_lines(graft_output(masked_args(world, "spans", spans))).front(),
             again = json_lines(graft_output(masked_args(world, "again", spans))).front();
  EXPECT_EQ(first["train_loss"], again["train_loss"]);
  EXPECT_NE(first["train_loss"], p["train_loss"]);
  Result r = run_graft(masked_args(world, "both", {"--span_mask", "--whole_word_mask"}));
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--whole_word_mask is refused with --span_mask"));
  r = run_graft(masked_args(world, "lone", {"--span_upper", "4"}));
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--span_upper is for --span_mask true"));
}

TEST(MaskedLm, FromTheCheckpointThatItWroteThenFineTuned) {
  World world;
  const Json first = json_lines(graft_output(masked_args(world, "first", {"--max_steps", "60"}))).front();
  const Json second =
      json_lines(graft_output({"train", "--task", "masked-lm", "--model", world / "first", "--train_file",
                               world / "train.txt", "--output_dir", world / "second", "--max_steps", "30",
                               "--learning_rate", "1e-3", "--max_seq_length", "24", "--json"}))
          .front();
  EXPECT_LT(second["train_loss"].get<double>(), first["train_loss"].get<double>());

  const Result tuned =
      run_graft({"train", "--model", world / "second", "--train_file", world.rows("rows.csv", 32, 1),
                 "--output_dir", world / "tuned", "--max_steps", "2"});
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_THAT(tuned.err,
              testing::AllOf(HasSubstr("newly initialized (not in the checkpoint): "),
                             HasSubstr("classifier.weight"), HasSubstr("not used by this task: ")));
}

// As it was trained: share of masks, whole words, lines, seed and length come from training_args.json.
TEST(MaskedLm, EvaluateGivesThePerplexityOfTraining) {
  World world;
  const std::string dev = world.lines("dev.txt", 40, 3);
  const std::vector<std::vector<std::string>> runs = {
      {}, {"--mlm_probability", "0.4", "--seed", "7"}, {"--whole_word_mask", "--line_by_line"}};
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string out = "out" + std::to_string(i);
    std::vector<std::string> more = runs[i];
    more.insert(more.end(), {"--validation_file", dev});
    const Json trained = json_lines(graft_output(masked_args(world, out, more))).front();
    const Result r = run_graft({"evaluate", "--model", world / out, "--test_file", dev,
                                "--per_device_eval_batch_size", "32", "--json"});
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(json_lines(r.out).front()["eval_loss"], trained["eval_loss"]) << i;  // to the bit
    EXPECT_THAT(r.err, HasSubstr("eval corpus: 40 lines -> "));
    EXPECT_THAT(r.err, testing::Not(HasSubstr(" 0 lines")));
  }
  EXPECT_EQ(
      run_graft({"evaluate", "--model", world / "out0", "--test_file", dev, "--max_eval_samples", "3"}).code,
      2);
}

TEST(MaskedLm, PredictFillsMasks) {
  World world;
  graft_output(masked_args(world, "out", {}));
  const std::string model = world / "out";
  const std::vector<Json> lines = json_lines(
      graft_output({"predict", "--model", model, "--top_k", "3"}, "a good [MASK]\n[MASK] bad [MASK]\n"));
  ASSERT_EQ(lines.size(), 2u);
  ASSERT_EQ(lines[0].size(), 3u);
  for (const Json& fill : lines[0]) {
    EXPECT_GT(fill["score"].get<double>(), 0);
    EXPECT_TRUE(fill["token"].is_number_integer());
    EXPECT_TRUE(fill["token_str"].is_string());
    EXPECT_THAT(fill["sequence"].get<std::string>(), HasSubstr("good"));
  }
  ASSERT_EQ(lines[1].size(), 2u);  // a list for each mask
  EXPECT_EQ(lines[1][0].size(), 3u);
  RunOptions options;
  options.input = "no place\n";
  const Result none = run_graft({"predict", "--model", model}, options);
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, testing::AllOf(HasSubstr("no [MASK]"), HasSubstr("no place")));
  EXPECT_EQ(run_graft({"predict", "--model", model, "--return_all_scores"}).code, 2);
  EXPECT_EQ(run_graft({"predict", "--model", world.model(), "--top_k", "3"}).code, 2);
}

TEST(MaskedLm, WithoutAValidationFileAShareOfTheLinesIsHeldOut) {
  World world;
  const Json with =
      json_lines(graft_output(masked_args(world, "with", {"--do_eval", "--line_by_line"}))).front();
  EXPECT_EQ(with["eval_samples"], 10);  // 5 % of 200
  const Json without = json_lines(graft_output(masked_args(world, "without", {"--line_by_line"}))).front();
  EXPECT_FALSE(without.contains("eval_loss"));
}

}  // namespace
}  // namespace graft::test
