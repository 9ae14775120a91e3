// A run that continues from a state has the bits of one that was not interrupted.
#include "train/train_state.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "models/model_case.h"
#include "train/resume_run.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

// What a checkpoint holds: the state with copies of the moments, and the weights as a folder.
struct Stored {
  TrainState state;
  std::vector<StateTensor> moments;
  std::vector<std::vector<float>> memory;
};

void store_moments(Stored& s) {
  for (StateTensor& m : s.state.optimizer->save()) {
    int64_t n = 1;
    for (const int64_t x : m.shape) n *= x;
    const auto* from = static_cast<const float*>(m.data);
    s.memory.emplace_back(from, from + n);
    s.moments.push_back(std::move(m));
    s.moments.back().data = s.memory.back().data();
  }
  s.state.optimizer.reset();
}

class Continued : public testing::Test {
 protected:
  TrainingArguments arguments(const std::string& out) const { return ten_steps(run_, out); }
  Trainer trainer(Model model, const std::string& out) const {
    return {std::move(model), arguments(out), {data_, {}, run_.tokenizer()}};
  }
  Model fresh() const {
    return run_.model("sequence-classification", {"blue", "green", "red"}, 0.1, "bert", 7);
  }
  // A run that stops after `steps`, its checkpoint, and a run of new objects from there to the end.
  TrainResult interrupted(int steps, const std::string& out, TrainState& state) const {
    Stored stored;
    int done = 0;
    Trainer first = trainer(fresh(), "half");  // owns the weights that the optimizer points to
    EXPECT_TRUE(first.train(stored.state, {.should_stop = [&] { return ++done == steps; }}).interrupted);
    EXPECT_EQ(stored.state.step, steps);
    store_moments(stored);
    Model model = load_model(run_ / "half");
    state = std::move(stored.state);
    TrainingArguments a = arguments(out);
    state.optimizer = make_optimizer(model.state().parameters, a);
    state.optimizer->load(stored.moments, state.step);
    return trainer(model, out).train(state, {});
  }
  TinyRun run_;
  Dataset data_ = Dataset::from_file(run_.single_csv("train.csv", 19, 1));
};

TEST_F(Continued, HasTheBitsOfOneRunAlsoFromTheMiddleOfAnEpoch) {
  const TrainResult whole = trainer(fresh(), "whole").train();
  const std::string weights = read_file(run_ / "whole/model.safetensors");
  const Json log = read_json(run_ / "whole/trainer_state.json");
  for (const int steps : {3, 5, 7}) {  // the end of the first epoch, and within later ones
    TrainState state;
    const TrainResult rest = interrupted(steps, "rest", state);
    EXPECT_EQ(read_file(run_ / "rest/model.safetensors"), weights) << steps;
    EXPECT_EQ(read_json(run_ / "rest/trainer_state.json").dump(), log.dump()) << steps;
    EXPECT_EQ(rest.global_step, 10);
    EXPECT_EQ(rest.training_loss, whole.training_loss);
    EXPECT_EQ(rest.last_epoch_loss, whole.last_epoch_loss);
  }
}

TEST_F(Continued, WithoutItsMomentsARunIsRefused) {
  TrainState state;
  state.step = 5;
  EXPECT_THAT(error_of([&] { trainer(fresh(), "out").train(state, {}); }),
              AllOf(HasSubstr("step 5"), HasSubstr("moments of step 0")));
}

}  // namespace
}  // namespace graft::train
