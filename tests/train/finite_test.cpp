// One damaged number anywhere in a model: never an ordinary score; the error names the parameter, or the
// operation where finite weights overflow.
#include <cmath>
#include <limits>

#include "base/error.h"
#include "models/model_case.h"
#include "train/runner.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

// The error of predicting with value `index` of a parameter changed; "" where the answer is finite.
std::string error_with(models::State& state, const data::RaggedBatch& batch, const engine::Parameter& p,
                       int64_t index, float bad, StepMemory& memory) {
  float& value = state.parameters.value(p)[index];
  const float before = value;
  value = bad;
  state.parameters.touch_values();
  std::string text;
  try {
    predict_batch(state, batch, memory);
  } catch (const Error& e) {
    text = std::string(e.what()) + "\n" + e.hint();
  }
  value = before;
  state.parameters.touch_values();
  return text;
}

// An index of the parameter that the batch reads: of tables the row of its first token.
int64_t index_in(const models::State& state, const engine::Parameter& p, const data::RaggedBatch& batch) {
  if (&p == state.network.encoder->word_embeddings()) return batch.input_ids.front() * p.cols() + 1;
  if (p.name.ends_with("wpe.weight")) return 1;
  if (p.name.find("position_embeddings") != std::string::npos) {
    const bool after_padding = p.name.starts_with("roberta") || p.name.starts_with("mpnet");
    return (after_padding ? 2 : 0) * p.cols() + 1;
  }
  if (p.name.find("relative_attention_bias") != std::string::npos) return 0;  // the bucket of distance 0
  if (p.name.find("rel_embeddings") != std::string::npos) return p.rows() / 2 * p.cols() + 1;  // likewise
  return p.name.find("token_type_embeddings") != std::string::npos ? 1 : p.size - 1;
}

TEST(Finite, ADamagedNumberInAnyParameterIsAnErrorThatNamesIt) {
  for (const std::string& name : fixture_names()) {
    const Model model = load_model(fixture_folder(name));
    models::State& state = model.state();
    const data::RaggedBatch batch = RandomFeatures(model, 3, 20).batch(3);
    for (const bool bf16 : {false, true}) {
      state.bf16 = bf16;
      StepMemory of_precision;
      of_precision.prepare(state, nullptr, batch, false);
      for (const engine::Parameter& p : state.parameters.parameters()) {
        const int64_t index = index_in(state, p, batch);
        EXPECT_THAT(
            error_with(state, batch, p, index, kNan, of_precision),
            AllOf(HasSubstr("not a finite number"), HasSubstr(fmt::format("{}[{}] is nan", p.name, index))))
            << name << (bf16 ? " bf16" : "");
        EXPECT_THAT(error_with(state, batch, p, index, kInf, of_precision),
                    HasSubstr(fmt::format("{}[{}] is inf", p.name, index)))
            << name << (bf16 ? " bf16" : "");
      }
      EXPECT_EQ(error_with(state, batch, state.parameters.parameters().front(), 0,
                           state.parameters.value(state.parameters.parameters().front())[0], of_precision),
                "");
    }
  }
}

TEST(Finite, FiniteWeightsThatOverflowAreFoundInTheirLayer) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = load_model(folder);
  models::State& state = model.state();
  const data::RaggedBatch batch = RandomFeatures(model, 3, 20).batch(3);
  StepMemory memory;
  memory.prepare(state, nullptr, batch, false);
  const engine::Parameter& p = *state.parameters.find("bert.encoder.layer.1.attention.self.key.bias");
  std::fill_n(state.parameters.value(p), p.size, 3e38f);
  std::string text = error_of([&] { predict_batch(state, batch, memory); });
  EXPECT_THAT(text, AllOf(HasSubstr("all weights are finite"), HasSubstr("bert.encoder.layer.1.attention")));
  double total = 0;
  const auto task = make_task(model);
  memory.prepare(state, task.get(), batch, false);
  text = error_of([&] { evaluate_batch(state, *task, batch, nullptr, total, memory); });
  EXPECT_THAT(text, HasSubstr("overflows first"));
}

}  // namespace
}  // namespace graft::train
