// Runs on text from the cache on disk train to the bits of runs on text in memory.
#include "base/folder.h"
#include "models/model_case.h"
#include "train/every_task.h"
#include "train/job.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;

TEST(TokenizedPath, RunsHaveTheBitsOfRunsInMemory) {
  const EveryTask tasks;
  for (const TaskCase& c : every_task()) {
    if (c.task->input != tasks::Input::text) continue;
    const TaskData data = tasks.data(c, 60, 20);
    std::vector<std::vector<float>> values;
    std::vector<double> losses;
    for (const char* path : {"", "cache", "cache"}) {
      TrainingArguments a = tasks.arguments(c);
      a.line_by_line = false;
      a.max_seq_length = 12;
      a.whole_word_mask = std::string(c.task->head->task) == "masked-lm";
      a.num_train_epochs = 2;
      if (*path) a.tokenized_path = (tasks.run() / path).string();
      const Model model = tasks.model(c);
      Trainer trainer(model, a, data);
      losses.push_back(value_of(trainer.train().metrics, "eval_loss"));
      values.push_back(all_values(model));
    }
    EXPECT_TRUE(same_bits(values[0], values[1])) << c.name();
    EXPECT_TRUE(same_bits(values[0], values[2])) << c.name();
    EXPECT_EQ(losses[0], losses[1]) << c.name();
    EXPECT_EQ(losses[0], losses[2]) << c.name();
    EXPECT_TRUE(is_folder(tasks.run() / "cache")) << c.name();
  }
}

TEST(TokenizedPath, RowsInAFileHaveTheBitsOfRowsInMemory) {
  const TinyRun run;
  const std::filesystem::path train = run.single_csv("train.csv", 60, 1),
                              eval = run.single_csv("eval.csv", 30, 2);
  std::vector<std::vector<float>> values;
  std::vector<double> losses;
  for (const bool in_file : {false, true, true}) {
    DatasetOptions options;
    options.require_label = true;
    options.keep_in_file = in_file;
    TaskData data{Dataset::from_file(train, options), Dataset::from_file(eval, options), run.tokenizer()};
    TrainingArguments a = run.arguments();
    a.num_train_epochs = 2;
    a.class_weights = "balanced";
    a.tokenized_path = (run / "cache").string();
    const Model model = run.model("sequence-classification", {"blue", "green", "red"}, 0.1);
    Trainer trainer(model, a, data);
    losses.push_back(value_of(trainer.train().metrics, "eval_loss"));
    values.push_back(all_values(model));
  }
  for (const size_t i : {size_t{1}, size_t{2}}) {
    EXPECT_TRUE(same_bits(values[0], values[i]));
    EXPECT_EQ(losses[0], losses[i]);
  }
  EXPECT_TRUE(is_folder(run / "cache"));
}

// Other tasks need their rows in memory, and say so.
TEST(TokenizedPath, RowsInAFileAreForTasksThatTakeThem) {
  const EveryTask tasks;
  DatasetOptions options;
  options.keep_in_file = true;
  const Dataset rows = Dataset::from_file(tasks.run().single_csv("rows.csv", 10, 1), options);
  for (const TaskCase& c : every_task()) {
    if (c.task->input == tasks::Input::text || c.task->takes_rows_in_file) continue;
    const Model model = tasks.model(c);
    EXPECT_THAT(
        error_of([&] {
          Trainer(model, tasks.arguments(c), TaskData{rows, {}, tasks.run().tokenizer()});
        }),
        testing::AllOf(testing::HasSubstr("rows.csv"), testing::HasSubstr("needs its rows in memory")))
        << c.name();
  }
}

}  // namespace
}  // namespace graft::train
