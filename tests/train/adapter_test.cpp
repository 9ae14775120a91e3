// Training with low-rank adapters (engine/parameters.h): only they and the head change, and a model whose
// matrices take them up computes the same.
#include <gtest/gtest.h>

#include <cmath>

#include "models/bert.h"
#include "models/model_case.h"
#include "models/registry.h"
#include "models/weights.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace graft::test;
using engine::Parameter;

const std::vector<std::string>& colour_names() {
  static const std::vector<std::string> names = {"blue", "green", "red"};
  return names;
}

// Query, value and the first feed-forward matrix of each layer.
constexpr std::initializer_list<const char*> kMatrices = {"*.query.weight", "*.value.weight",
                                                          "*.intermediate.dense.weight"};

// The values of `base`, with adapters of the matrices that match.
Model with_adapters(const Model& base, std::initializer_list<const char*> patterns) {
  auto state = std::make_shared<models::State>();
  const models::State& from = base.state();
  state->config = from.config;
  state->task = from.task;
  state->family = from.family;
  state->head = from.head;
  state->labels_given = true;
  state->network =
      models::find_head(*from.family, from.task, from.config).make(state->parameters, from.config);
  for (const char* pattern : patterns)
    for (Parameter* p : state->parameters.select(pattern)) state->parameters.adapt(*p, 4, 2);
  state->parameters.allocate();
  models::copy_weights(*state, from, {});
  return Model(std::move(state));
}

// `base` with scale * b a added to the matrices of `adapted`.
void merge(const Model& adapted, const Model& base) {
  const engine::ParameterStore& store = adapted.state().parameters;
  for (const Parameter& p : store.parameters()) {
    Parameter* to = base.state().parameters.find(p.name);
    if (!to) continue;
    const engine::HostWrite out = base.state().parameters.write_value(*to);
    const engine::HostRead values = store.read_value(p);
    std::copy_n(values.data(), p.size, out.data());
    if (!p.adapter.a) continue;
    const engine::HostRead a = store.read_value(*p.adapter.a), b = store.read_value(*p.adapter.b);
    const int64_t rank = p.adapter.a->rows();
    for (int64_t n = 0; n < p.rows(); ++n)
      for (int64_t k = 0; k < p.cols(); ++k)
        for (int64_t r = 0; r < rank; ++r)
          out.data()[n * p.cols() + k] +=
              p.adapter.scale * b.data()[n * rank + r] * a.data()[r * p.cols() + k];
  }
  base.state().parameters.touch_values();
}

std::map<std::string, std::vector<float>> values_by_name(const Model& model) {
  std::map<std::string, std::vector<float>> out;
  for (const Parameter& p : model.state().parameters.parameters()) {
    const engine::HostRead values = model.state().parameters.read_value(p);
    out[p.name].assign(values.begin(), values.end());
  }
  return out;
}

TEST(AdapterTraining, ChangesTheAdaptersAndTheHeadOnly) {
  const TinyRun run;
  const TaskData data = {Dataset::from_file(run.single_csv("train.csv", 300, 1)),
                         Dataset::from_file(run.single_csv("eval.csv", 60, 2)), run.tokenizer()};
  const Model base = run.model("sequence-classification", colour_names());
  const data::RaggedBatch batch = RandomFeatures(base, 12, 20).batch(12);
  for (const bool bf16 : {false, true}) {
    const Model model = with_adapters(base, kMatrices);
    EXPECT_EQ(logits_of(model, batch), logits_of(base, batch));  // b is zero
    const auto before = values_by_name(model);
    TrainingArguments a = run.arguments();
    a.bf16 = bf16;
    a.num_train_epochs = 5;
    a.learning_rate = 1e-2;
    a.freeze = "bert.embeddings.*,bert.*.dense.weight,bert.*.key.weight,bert.*.LayerNorm.*,bert.*.bias";
    const TrainResult result = Trainer(model, a, data).train();
    EXPECT_GT(value_of(result.metrics, "eval_accuracy"), 0.9) << bf16;
    for (const auto& [name, values] : values_by_name(model)) {
      const bool trained = name.find(".lora_") != std::string::npos || name.starts_with("classifier.");
      EXPECT_EQ(!same_bits(values, before.at(name)), trained) << name;
    }
    if (bf16) continue;
    const Model merged = base.with_task({});
    merge(model, merged);
    const std::vector<float> logits = logits_of(model, batch);
    EXPECT_LE(largest_difference(logits, logits_of(merged, batch)), 1e-4);
    EXPECT_GT(largest_difference(logits, logits_of(base, batch)), 0.1);
  }
}

// A loss that never stores all logits does not know adapters: such a head takes the other way.
TEST(AdapterTraining, OfTheLastLayerOfALanguageModel) {
  GRAFT_SHARED_PATH(folder, "golden/gpt2/causal_lm");
  const Model base = load_model(folder), model = with_adapters(base, {"transformer.wte.weight"});
  const data::RaggedBatch batch = RandomFeatures(base, 4, 20).batch(4);
  const auto task = make_task(base);
  const auto loss = [&](const Model& m, bool stores_logits) {
    engine::Arena arena;
    engine::Tape tape(arena, m.state().parameters, {});
    const tasks::LossPass pass =
        tasks::forward_loss(tape, m.state().network, *task, batch, task->loss_terms(batch));
    EXPECT_EQ(pass.logits != nullptr, stores_logits);
    return tape.scalar(pass.loss);
  };
  const float plain = loss(base, false);
  EXPECT_NEAR(loss(model, true), plain, 1e-5);
  const Parameter& b = *model.state().network.encoder->word_embeddings()->adapter.b;
  const engine::HostWrite values = model.state().parameters.write_value(b);
  std::fill_n(values.data(), b.size / 2, 1.0f);
  EXPECT_GT(std::fabs(loss(model, true) - plain), 1e-3f);
}

}  // namespace
}  // namespace graft::train
