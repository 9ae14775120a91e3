// A whole recipe on a real checkpoint: 60 steps on examples/reviews in fp32, dropout on. The loss of every
// step is in recipe_losses.txt; it changes when anything between the file and the optimizer changes.
#include <fstream>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"
#include "support/shared.h"

namespace graft {
namespace {

// Kinds of CPUs round differently, and AdamW carries that on: the losses of SSE4.2, AVX2 and AVX-512 differ
// by at most 3e-4 over these steps.
constexpr double kTolerance = 5e-4;

TEST(Recipe, LossesOfSixtySteps) {
  GRAFT_REAL_CHECKPOINT(folder);
  const std::filesystem::path reviews = std::filesystem::path(GRAFT_SOURCE_DIR) / "examples/reviews";
  const test::TempDir output;
  TrainingArguments arguments;
  arguments.output_dir = output.path().string();
  arguments.per_device_train_batch_size = 8;
  arguments.max_steps = 60;
  arguments.learning_rate = 2e-4;
  arguments.warmup_ratio = 0.1;
  arguments.logging_steps = 1;
  arguments.save_strategy = "no";
  arguments.bf16 = false;
  ModelOptions options;
  options.labels = {"negative", "positive"};
  Trainer trainer(Model::from_pretrained(folder, options), arguments,
                  {Dataset::from_file(reviews / "train.csv"), Dataset(), Tokenizer::from_pretrained(folder)});
  std::vector<double> losses;
  trainer.train({.on_log = [&](const LogEntry& entry) {
    for (const auto& [name, value] : entry)
      if (name == "loss") losses.push_back(value);
  }});

  std::ifstream file(GRAFT_SOURCE_DIR "/tests/train/recipe_losses.txt");
  std::vector<double> expected;
  for (double loss = 0; file >> loss;) expected.push_back(loss);
  std::string curve;
  for (const double loss : losses) curve += std::to_string(loss) + "\n";
  ASSERT_EQ(losses.size(), 60u);
  ASSERT_EQ(expected.size(), losses.size()) << "the curve of this run:\n" << curve;
  for (size_t i = 0; i < losses.size(); ++i)
    EXPECT_NEAR(losses[i], expected[i], kTolerance) << "step " << i + 1 << " of\n" << curve;
  // It learns: the last ten steps against the first ten.
  double first = 0, last = 0;
  for (size_t i = 0; i < 10; ++i) first += losses[i], last += losses[50 + i];
  EXPECT_LT(last, 0.8 * first);
}

}  // namespace
}  // namespace graft
