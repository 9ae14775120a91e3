// Runs on text from the cache on disk train to the bits of runs on text in memory.
#include "base/folder.h"
#include "models/model_case.h"
#include "train/every_task.h"
#include "train/job.h"

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

}  // namespace
}  // namespace graft::train
