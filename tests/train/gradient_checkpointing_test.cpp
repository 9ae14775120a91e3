// Gradient checkpointing: less memory, and the bits of training without it.
#include "graft/model.h"
#include "models/model_case.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;

struct StepOfAModel {
  double loss = 0;
  std::vector<float> gradients;
  size_t memory = 0;
};

// One step of two micro-batches, dropout on.
StepOfAModel step_of(const Model& model, bool checkpoints) {
  models::State& state = model.state();
  state.gradient_checkpointing = checkpoints;
  const auto task = test::make_task(model);
  const RandomFeatures features(model, 6, 40);
  data::RaggedBatch batches[2];
  double terms = 0;
  for (int64_t i = 0; i < 6; ++i) features.append(batches[i / 4], i, i, 0);
  for (const data::RaggedBatch& batch : batches) terms += task->loss_terms(batch);
  state.parameters.allocate_grads();
  state.parameters.clear_grads();
  StepMemory memory;
  StepOfAModel out;
  for (const data::RaggedBatch& batch : batches) {
    memory.prepare(state, task.get(), batch, true);
    out.loss += accumulate_gradients(state, *task, batch, terms, 42, 3, true, memory);
    EXPECT_LE(memory.arena().peaks().stack, memory.needs().arena.stack);
    EXPECT_LE(memory.arena().peaks().heap, memory.needs().arena.heap);
  }
  out.gradients = all_gradients(state);
  out.memory = memory.bytes();
  state.gradient_checkpointing = false;
  return out;
}

TEST(GradientCheckpointing, GivesTheSameBitsForEveryFamily) {
  for (const std::string& name : fixture_names())
    for (const double dropout : {0.1, 0.0}) {  // without it layers share what they read: positions of DeBERTa
      TempDir dir;
      copy_with_config(fixture_folder(name), dir / "m", [=](Json& config) { set_dropout(config, dropout); });
      const Model model = test::load_model(dir / "m");
      for (const bool bf16 : {false, true}) {
        model.state().bf16 = bf16;
        const StepOfAModel kept = step_of(model, false), again = step_of(model, true);
        EXPECT_GT(l2_norm(kept.gradients), 0.01) << name;
        EXPECT_EQ(kept.loss, again.loss) << name;
        EXPECT_TRUE(same_bits(kept.gradients, again.gradients)) << name << (bf16 ? " in bf16" : "");
      }
    }
}

// Frozen layers below, whose results need no gradient.
TEST(GradientCheckpointing, GivesTheSameBitsWithFrozenLayers) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = test::load_model(folder);
  for (engine::Parameter& p : model.state().parameters.parameters())
    p.trainable =
        p.name.find("embeddings") == std::string::npos && p.name.find("layer.0.") == std::string::npos;
  EXPECT_TRUE(same_bits(step_of(model, false).gradients, step_of(model, true).gradients));
  for (engine::Parameter& p : model.state().parameters.parameters())
    p.trainable = p.name.starts_with("classifier");
  EXPECT_TRUE(same_bits(step_of(model, false).gradients, step_of(model, true).gradients));
}

// Twelve layers: each keeps its result only, and one layer's activations are there at a time. So it is in a
// pass that records nothing, without being asked.
TEST(GradientCheckpointing, TakesAFractionOfTheMemory) {
  const TempDir dir;
  const auto config = dir.write("config.json", R"({"model_type": "bert", "hidden_size": 64,
      "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 256, "vocab_size": 300,
      "max_position_embeddings": 128, "type_vocab_size": 2, "num_labels": 3})");
  for (const char* task : {"sequence-classification", "token-classification", "masked-lm"}) {
    ModelOptions options;
    options.task = task;
    const Model model = Model::from_config(config, options);
    const auto loss = tasks::find_task(task).make_task(model, LabelKind::integers);
    data::RaggedBatch batch;
    for (int64_t b = 0; b < 8; ++b) {
      std::vector<int32_t> ids(100, 7);
      batch.append(ids.data(), nullptr, 100, b);
    }
    tasks::find_task(task).add_sample_labels(batch, model);
    models::State& state = model.state();
    const size_t kept = plan_pass(state, loss.get(), batch, true).arena.total();
    EXPECT_LT(static_cast<double>(plan_pass(state, loss.get(), batch, false).arena.total()),
              0.25 * static_cast<double>(kept))
        << task;
    state.gradient_checkpointing = true;
    const size_t again = plan_pass(state, loss.get(), batch, true).arena.total();
    EXPECT_LT(static_cast<double>(again), 0.3 * static_cast<double>(kept)) << task;
  }
}

TEST(GradientCheckpointing, RunsOfTheTrainerHaveTheSameBits) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 30, 1));
  TrainingArguments a = run.arguments();
  a.num_train_epochs = 2;
  a.gradient_accumulation_steps = 2;
  std::vector<std::vector<float>> values;
  for (const bool checkpoints : {false, true}) {
    a.gradient_checkpointing = checkpoints;
    const Model model = run.model("sequence-classification", {"red", "green", "blue"}, 0.1);
    Trainer trainer(model, a, {data, {}, run.tokenizer()});
    EXPECT_EQ(trainer.parts().model.state().gradient_checkpointing, checkpoints);
    trainer.train();
    values.push_back(all_values(model));
  }
  EXPECT_TRUE(same_bits(values[0], values[1]));
}

}  // namespace
}  // namespace graft::train
