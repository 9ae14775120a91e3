// Parameters whose layout or initialisation differs from the common one.
#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "hub/state_dict.h"
#include "models/model_case.h"

namespace graft::test {
namespace {

const char* const kMatrix = "bert.encoder.layer.0.intermediate.dense.weight";

// GPT-2's Conv1D: [in, out] in the file, [out, in] in the engine.
TEST(Weights, AMatrixThatIsStoredTransposedComesBack) {
  GRAFT_SHARED_PATH(golden, "golden/bert/seqcls_single");
  for (const DType dtype : {DType::f32, DType::bf16}) {
    TempDir dir;
    const Model model = load_model(golden);
    models::State& state = model.state();
    engine::Parameter& p = *state.parameters.find(kMatrix);
    const auto rows = static_cast<size_t>(p.rows()), cols = static_cast<size_t>(p.cols());
    ASSERT_NE(rows, cols);
    p.stored_transposed = true;
    float* values = state.parameters.value(p);
    if (dtype == DType::bf16) {
      for (int64_t i = 0; i < p.size; ++i) values[i] = bf16_to_float(float_to_bf16(values[i]));
    }
    const std::vector<float> before(values, values + p.size);
    std::filesystem::create_directories(dir / "m");
    hub::write_checkpoint(dir / "m", models::tensors_to_write(state, dtype).tensors);
    const hub::StateDict dict = hub::read_checkpoint(dir / "m");
    const hub::TensorView* stored = dict.find(kMatrix);
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->shape, (std::vector<int64_t>{p.cols(), p.rows()}));
    std::vector<float> turned(before.size());
    hub::copy_to_float(*stored, turned.data());
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < cols; ++c) ASSERT_EQ(turned[c * rows + r], before[r * cols + c]);
    std::fill(values, values + p.size, 0.0f);
    models::load_weights(state, dict, {});
    EXPECT_TRUE(same_bits(before, {values, values + p.size}));
    p.stored_transposed = false;  // the same file for a model that expects [out, in]
    EXPECT_THAT(
        error_of([&] { models::load_weights(state, dict, {}); }),
        testing::HasSubstr(fmt::format("is [{}, {}] but the model needs [{}, {}]", cols, rows, rows, cols)));
  }
}

TEST(Weights, AParameterHasAnInitStdOfItsOwn) {
  GRAFT_SHARED_PATH(golden, "golden/bert/seqcls_single");
  const Model model = load_model(golden);
  models::State& state = model.state();
  engine::Parameter& p = *state.parameters.find(kMatrix);
  const auto deviation = [&] {
    models::initialize_weights(state, 3);
    double sum = 0;
    for (int64_t i = 0; i < p.size; ++i) sum += std::pow(double{state.parameters.value(p)[i]}, 2);
    return std::sqrt(sum / static_cast<double>(p.size));
  };
  const double usual = deviation();
  EXPECT_NEAR(usual, state.config.number_or("initializer_range", 0.02), 0.1 * usual);
  p.init_std = 0.5;
  EXPECT_NEAR(deviation() / usual, 0.5 / state.config.number_or("initializer_range", 0.02),
              1e-4 * 0.5 / usual);
}

}  // namespace
}  // namespace graft::test
