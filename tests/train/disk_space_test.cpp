// The space that a run needs on the disk is known before its first step.
#include "train/disk_space.h"

#include "base/folder.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/resume_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

uint64_t bytes_of(const fs::path& folder) {
  uint64_t sum = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") sum += entry.file_size();
  return sum;
}

class DiskSpace : public testing::Test {
 protected:
  TrainingArguments arguments() const {
    TrainingArguments a = run_.arguments("out");
    a.max_steps = 6;
    a.save_steps = 2;
    a.eval_strategy = "steps";
    a.eval_steps = 2;
    a.load_best_model_at_end = true;
    a.optim = "adamw_torch";
    return a;
  }
  template <class F>
  auto with(const TrainingArguments& a, int64_t step, std::vector<int64_t> checkpoints, F f) const {
    Trainer trainer = run_.trainer(a);
    Trainer::Parts& parts = trainer.parts();
    parts.model.state().parameters.allocate_grads();
    TrainState state;
    begin_or_continue(state, parts.model.state().parameters, a);
    state.step = step;
    state.checkpoints = std::move(checkpoints);
    return f(parts, state, plan_steps(5, a));
  }
  // Of a run that stands at `step`.
  DiskNeeds needs(const TrainingArguments& a, int64_t step = 0, std::vector<int64_t> checkpoints = {}) const {
    return with(a, step, std::move(checkpoints),
                [](const auto& parts, TrainState& state, const StepPlan& plan) {
                  return disk_needs(parts, state, plan);
                });
  }
  // What is logged.
  std::string said(const TrainingArguments& a, int64_t free) const {
    return log_of_run([&] {
      with(a, 0, {}, [&](const auto& parts, TrainState& state, const StepPlan& plan) {
        check_disk_space(parts, state, plan, free);
      });
    });
  }
  ResumeRun run_;
};

TEST_F(DiskSpace, IsThatOfTheFilesThatTheRunWrites) {
  const TrainingArguments a = arguments();
  const DiskNeeds needed = needs(a);
  run_.trainer(a).train();
  const auto is_size = [&](uint64_t bytes, const char* folder) {
    const auto written = static_cast<double>(bytes_of(run_ / folder));  // headers are not counted
    EXPECT_LE(static_cast<double>(bytes), written) << folder;
    EXPECT_GE(static_cast<double>(bytes), 0.9 * written) << folder;
  };
  is_size(needed.checkpoint, "out/checkpoint-6");
  is_size(needed.best, "out/best");
  EXPECT_EQ(needed.model, needed.best);
  EXPECT_EQ(needed.saves, 3);
  EXPECT_EQ(needed.at_once, 3);
  EXPECT_EQ(needed.least, needed.checkpoint + needed.best + needed.model);
  EXPECT_EQ(needed.all, 3 * needed.checkpoint + needed.best + needed.model);
}

TEST_F(DiskSpace, FollowsTheStrategyTheLimitsAndWhatIsThere) {
  TrainingArguments a = arguments();
  a.save_total_limit = 1;
  EXPECT_EQ(needs(a).at_once, 2);  // the newest is written before the oldest is deleted
  EXPECT_EQ(needs(a, 2, {2}).at_once, 1);
  EXPECT_EQ(needs(a, 2, {2}).saves, 2);
  const DiskNeeds fresh = needs(a), resumed = needs(a, 2, {2});
  EXPECT_EQ(resumed.least, std::max(fresh.checkpoint + fresh.best, fresh.best + fresh.model));
  a.save_total_limit.reset();
  a.save_total_bytes = static_cast<int64_t>(2 * fresh.checkpoint);
  EXPECT_EQ(needs(a).at_once, 3);
  a = arguments();
  a.save_strategy = "epoch";
  a.max_steps = 10;
  EXPECT_EQ(needs(a).saves, 4);  // of three steps an epoch
  a.save_only_model = true;
  EXPECT_EQ(needs(a).checkpoint, fresh.model);
  a.save_strategy = "no";
  EXPECT_EQ(needs(a).checkpoint, 0u);
  EXPECT_EQ(needs(a).least, fresh.best + fresh.model);
  a.save_strategy = "best";
  a.save_only_model = false;
  EXPECT_EQ(needs(a).best, fresh.checkpoint);
}

TEST_F(DiskSpace, TooLittleIsRefusedAndSomeIsWarnedOf) {
  const TrainingArguments a = arguments();
  const DiskNeeds needed = needs(a);
  EXPECT_THAT(error_of([&] { said(a, static_cast<int64_t>(needed.least) - 1); }),
              AllOf(HasSubstr("the disk has "), HasSubstr("the run needs "),
                    HasSubstr("the first checkpoint ("), HasSubstr("best/ ("), HasSubstr("the model ("),
                    HasSubstr("nothing was trained"), HasSubstr("--output_dir on another disk")));
  EXPECT_THAT(said(a, static_cast<int64_t>(needed.least)),
              AllOf(HasSubstr("the run may need "), HasSubstr("up to 3 checkpoints"),
                    HasSubstr("--save_total_limit 1"), Not(HasSubstr("nothing was trained"))));
  EXPECT_THAT(said(a, static_cast<int64_t>(needed.all)), HasSubstr("the run may need "));
  EXPECT_EQ(said(a, static_cast<int64_t>(needed.all + needed.all / 20)), "");
  EXPECT_EQ(said(a, -1), "");  // what the disk of the tests has
}

}  // namespace
}  // namespace graft::train
