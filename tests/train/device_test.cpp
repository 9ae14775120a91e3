// The seam of a second device: what trains on the CPU trains on a device whose memory the host cannot access,
// with the same bits.
#include "engine/device.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/finite.h"
#include "models/model_case.h"
#include "support/foreign_device.h"
#include "train/elementwise_optimizer.h"
#include "train/parity.h"
#include "train/tiny_run.h"
#include "train/train_state.h"

namespace graft::train {
namespace {

using namespace graft::test;
using testing::HasSubstr;
using testing::IsEmpty;

class SecondDevice : public testing::Test {
 protected:
  SecondDevice() { reset_foreign_counts(); }
  ~SecondDevice() override {
    EXPECT_THAT(foreign_counts().host_pointers, IsEmpty());
    EXPECT_EQ(foreign_counts().bytes_alive, 0);
  }
  TinyRun run_;
};

TEST_F(SecondDevice, TrainsEvaluatesAndSavesTheSameBits) {
  const Dataset train = Dataset::from_file(run_.single_csv("train.csv", 40, 1)),
                eval = Dataset::from_file(run_.single_csv("eval.csv", 11, 2));
  TrainingArguments a = run_.arguments();
  a.max_steps = 6;
  a.gradient_accumulation_steps = 2;
  a.weight_decay = 0.01;
  a.eval_strategy = "steps";
  a.eval_steps = 2;
  const auto result = [&] {
    Trainer t(run_.model("sequence-classification", {"blue", "green", "red"}, 0.1), a,
              {train, eval, run_.tokenizer()});
    const TrainResult r = t.train();
    return std::tuple(read_file(run_ / "out/model.safetensors"), r.training_loss,
                      value_of(r.metrics, "eval_loss"), value_of(r.metrics, "eval_accuracy"));
  };
  for (const bool bf16 : {false, true}) {
    a.bf16 = bf16;
    const auto expected = result();
    EXPECT_EQ(foreign_counts().kernels, 0);
    {
      const OnForeignDevice foreign;
      EXPECT_EQ(result(), expected) << bf16;
    }
    const ForeignCounts counts = foreign_counts();
    EXPECT_GT(counts.kernels, 500);
    EXPECT_GT(counts.allocs, 5);
    EXPECT_GT(counts.copies_in, 20);
    // Out of the device: the loss, the logits and the weights, not activations.
    EXPECT_LT(counts.bytes_out, 4 * 40000 * 4);
    reset_foreign_counts();
  }
}

TEST_F(SecondDevice, TrainsMaskedLmAndContinuesFromMoments) {
  const auto text = run_.text("train.txt", 30, 1);
  TrainingArguments a = run_.arguments();
  a.max_steps = 5;
  const auto halves = [&] {
    TrainState state;
    int done = 0;
    Trainer first(run_.model("masked-lm", {}, 0.1), a, TaskData::text({text}, {}, run_.tokenizer()));
    first.train(state, {.should_stop = [&] { return ++done == 2; }});
    const Model model = load_model(run_ / "out");
    auto optimizer = std::make_unique<ElementwiseOptimizer>(model.state().parameters, UpdateRule{});
    optimizer->load(state.optimizer->save(), state.step);
    state.optimizer = std::move(optimizer);
    Trainer(model, a, TaskData::text({text}, {}, run_.tokenizer())).train(state, {});
    state.optimizer.reset();
    return read_file(run_ / "out/model.safetensors");
  };
  const std::string expected = halves();
  const OnForeignDevice foreign;
  EXPECT_EQ(halves(), expected);
}

// Relative positions, rotary positions, losses against a second model, ...: every operation.
TEST_F(SecondDevice, FixturesHoldOnIt) {
  GRAFT_SHARED_PATH(golden, "golden");
  const OnForeignDevice foreign;
  for (const char* name :
       {"bert/seqcls_multi", "distilbert/seqcls_regression", "roberta/mlm", "gpt2/causal_lm"}) {
    const ParityReport report = run_parity(golden / name);
    EXPECT_TRUE(report.ok()) << to_json(report).dump();
  }
}

TEST_F(SecondDevice, ANonFiniteOutputIsDiagnosed) {
  const OnForeignDevice foreign;
  const Model model = run_.model("sequence-classification", {"a", "b"});
  models::State& state = model.state();
  const engine::Parameter& p = *state.parameters.find("bert.encoder.layer.1.output.dense.weight");
  {
    const engine::HostWrite values = state.parameters.write_value(p);
    std::fill_n(values.data(), p.size, 3e38f);
  }
  data::RaggedBatch batch;
  const int32_t ids[] = {2, 8, 9, 3};
  batch.append(ids, nullptr, 4, 0);
  StepMemory memory(state.parameters.device());
  memory.prepare(state, nullptr, batch, false);
  EXPECT_THAT(error_of([&] { predict_batch(state, batch, memory); }),
              HasSubstr("linear with bert.encoder.layer.1.output.dense.weight overflows first"));
}

}  // namespace
}  // namespace graft::train
