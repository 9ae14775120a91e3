// graft prune, graft merge and graft distill.
#include <sstream>

#include "base/file.h"
#include "cli/graft_program.h"
#include "graft/model.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(TransferVerbs, PruneMakesASmallerModelThatPredicts) {
  World world;
  const std::string model = world.model(), texts = world.lines("texts.txt", 60, 3);
  const Json sizes = parse_json(graft_output({"prune", "--model", model, "--layers", "1", "--vocabulary",
                                              texts, "--output_dir", world / "small", "--json"}),
                                "stdout");
  EXPECT_EQ(sizes.at("after").at("layers").get<int>(), 1);
  EXPECT_LT(sizes.at("after").at("parameters").get<int>(), sizes.at("before").at("parameters").get<int>());
  EXPECT_LE(sizes.at("after").at("bytes").get<int>(), sizes.at("before").at("bytes").get<int>());
  const std::string predicted = graft_output({"predict", "--model", world / "small"}, "good film\n");
  EXPECT_THAT(predicted, HasSubstr("label"));
  const Result none = run_graft({"prune", "--model", model, "--output_dir", world / "none"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("nothing to prune"));
  EXPECT_FALSE(fs::exists(world / "none"));
  const Result far =
      run_graft({"prune", "--model", model, "--layers", "0,9", "--output_dir", world / "none"});
  EXPECT_EQ(far.code, 2);
  EXPECT_THAT(far.err, HasSubstr("--layers 0,9"));
  const Result same = run_graft({"prune", "--model", model, "--layers", "1", "--output_dir", model});
  EXPECT_EQ(same.code, 2);
  EXPECT_THAT(same.err, HasSubstr("the folder of the model itself"));
  const Result full =
      run_graft({"prune", "--model", model, "--layers", "1", "--output_dir", world / "small"});
  EXPECT_EQ(full.code, 1);
  EXPECT_THAT(full.err,
              AllOf(HasSubstr("the output folder is not empty"), HasSubstr("--overwrite_output_dir")));
  graft_output({"prune", "--model", model, "--layers", "1", "--overwrite_output_dir", "--output_dir",
                world / "small"});
  world.write("lora/adapter_config.json", "{}");
  for (const std::vector<std::string>& start :
       {std::vector<std::string>{"prune", "--layers", "1", "--model"},
        {"distill", "--layers", "1", "--train_file", texts, "--teacher"},
        {"adapt", "--corpus", texts, "--model"}}) {
    std::vector<std::string> args = start;
    args.insert(args.end(), {world / "lora", "--output_dir", world / "none"});
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 2) << start.front();
    EXPECT_THAT(r.err, HasSubstr("holds adapters without their base")) << start.front();
  }
  const Result blank = run_graft({"prune", "--model", model, "--vocabulary",
                                  world.write("blank.txt", "\n \n"), "--output_dir", world / "none"});
  EXPECT_EQ(blank.code, 1);
  EXPECT_THAT(blank.err, HasSubstr("no text"));
}

TEST(TransferVerbs, MergeShowsTheCurveAndSavesTheMiddle) {
  World world;
  const std::string a = world.model(), test = world.rows("test.csv", 40, 9);
  const std::vector<std::string> more = {
      "--train_file", world.rows("b.csv", 96, 1), "--max_steps", "12", "--seed", "3"};
  ASSERT_EQ(run_graft(world.train_args("b", more)).code, 0);
  const std::string curve =
      graft_output({"merge", "--models", a + "," + world / "b", "--curve", "--test_file", test});
  std::istringstream lines(curve);
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  ASSERT_EQ(all.size(), 12u) << curve;
  EXPECT_THAT(all[0], AllOf(HasSubstr("loss"), HasSubstr("accuracy")));
  EXPECT_EQ(run_graft({"merge", "--models", a + "," + world / "b", "--method", "linear", "--weights", "1,0",
                       "--output_dir", world / "merged"})
                .code,
            0);
  const auto scores = [&](const std::string& model) {
    Json json =
        parse_json(graft_output({"evaluate", "--model", model, "--test_file", test, "--json"}), "stdout");
    return json.at("eval_loss").get<double>();
  };
  EXPECT_EQ(scores(world / "merged"), scores(a));
  const Result sum = run_graft({"merge", "--models", a + "," + world / "b", "--method", "linear", "--weights",
                                "1,1", "--output_dir", world / "x"});
  EXPECT_EQ(sum.code, 2);
  EXPECT_THAT(sum.err, HasSubstr("their sum is 2"));
  const Result lost = run_graft({"merge", "--models", a + "," + world / "b"});
  EXPECT_EQ(lost.code, 2);
  EXPECT_THAT(lost.err, HasSubstr("--output_dir is needed"));
}

TEST(TransferVerbs, DistillEndsWithItsTable) {
  World world;
  const std::string model = world.model(), texts = world.rows("texts.csv", 80, 3),
                    dev = world.rows("dev.csv", 40, 4);
  const std::vector<std::string> args = {"distill",
                                         "--teacher",
                                         model,
                                         "--layers",
                                         "1",
                                         "--train_file",
                                         texts,
                                         "--validation_file",
                                         dev,
                                         "--output_dir",
                                         world / "s",
                                         "--max_steps",
                                         "6",
                                         "--json",
                                         "--teacher_cache",
                                         world / "cache"};
  const Json table = parse_json(graft_output(args), "stdout");
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table[0].at("agreement").get<double>(), 1);
  for (const Json& row : table)
    for (const char* key : {"accuracy", "parameters", "bytes", "sentences_per_second"})
      EXPECT_TRUE(row.at(key).is_number()) << key;
  EXPECT_THAT(graft_output({"predict", "--model", world / "s"}, "good film\n"), HasSubstr("label"));
  std::vector<std::string> again = args;
  again[10] = world / "s2";
  const Result cached = run_graft(again);
  EXPECT_EQ(cached.code, 0);
  EXPECT_THAT(cached.err, HasSubstr("read from the cache"));
  EXPECT_EQ(parse_json(cached.out, "stdout")[2].at("accuracy"), table[2].at("accuracy"));
  std::vector<std::string> late = args;
  late[8] = world / "absent.csv";  // named before the training
  late[10] = world / "s3";
  const Result absent = run_graft(late);
  EXPECT_EQ(absent.code, 1);
  EXPECT_THAT(absent.err, AllOf(HasSubstr("absent.csv"), Not(HasSubstr("done in"))));
  // A student without a head has nothing to say before the training.
  fs::copy(model, world / "body", fs::copy_options::recursive);
  ModelOptions bare;
  bare.task = "sentence-embedding";
  Model::from_pretrained(model, bare).save_pretrained(world / "body");
  std::vector<std::string> body = args;
  body[3] = "--student", body[4] = world / "body", body[10] = world / "s4";
  const Json rows = parse_json(graft_output(body), "stdout");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].at("model"), Json("student after"));
  const Result alone =
      run_graft({"distill", "--teacher", model, "--train_file", texts, "--output_dir", world / "t"});
  EXPECT_EQ(alone.code, 2);
  EXPECT_THAT(alone.err, HasSubstr("there is no student"));
}

}  // namespace
}  // namespace graft::test
