// Losses against their plain twins and finite differences.
#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

void compare(const Pass& got, const twin::LossOut& want, double tolerance, const std::string& what) {
  const Matrix one = random_matrix(1, 1, "weights");
  twin::Mat dlogits = want.dlogits;
  for (double& g : dlogits.v) g *= one.at(0, 0);
  EXPECT_NEAR(got.out.at(0, 0), want.loss, tolerance * std::max(1.0, want.loss)) << what;
  twin::expect_close(got.input_grads[0], dlogits, tolerance, what + " gradient");
}

TEST(CrossEntropy, EqualsTwinWithIgnoredLabels) {
  ParameterStore store;
  fill_store(store);
  for (const int64_t V : {2, 3, 17, 1000, 30522}) {
    const int64_t R = V > 10000 ? 7 : 61;
    const Matrix logits = random_matrix(R, V, "logits", 3);
    std::vector<int32_t> labels = random_ids(R, V, "labels");
    for (size_t i = 0; i < labels.size(); i += 3) labels[i] = -100;
    const double denominator = 2.5;
    compare(run_pass(store, {logits},
                     [&](Tape& t, const std::vector<Var>& in) {
                       return cross_entropy(t, in[0], labels.data(), denominator);
                     }),
            twin::cross_entropy(logits, labels, denominator), 1e-6, fmt::format("V {}", V));
  }
}

TEST(CrossEntropy, HoldsForHugeLogits) {
  ParameterStore store;
  fill_store(store);
  Matrix logits = random_matrix(4, 5, "logits", 300);
  const std::vector<int32_t> labels = {0, 1, 2, 3};
  compare(run_pass(
              store, {logits},
              [&](Tape& t, const std::vector<Var>& in) { return cross_entropy(t, in[0], labels.data(), 4); }),
          twin::cross_entropy(logits, labels, 4), 1e-6, "huge");
}

TEST(CrossEntropy, ALabelBeyondTheClassesIsTold) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {0, 3};
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(store, {Matrix(2, 3)}, [&](Tape& t, const auto& in) {
                  return cross_entropy(t, in[0], labels.data(), 2);
                });
              }),
              testing::HasSubstr("label 3 of row 1 for 3 classes"));
}

TEST(CrossEntropy, AllIgnoredGivesZeroGradients) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {-100, -1};
  const Pass pass = run_pass(store, {random_matrix(2, 3, "x")}, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 1);
  });
  EXPECT_EQ(pass.out.at(0, 0), 0);
  expect_same_bits(pass.input_grads[0], Matrix(2, 3), "zero");
}

TEST(ElementLoss, EqualsTwin) {
  ParameterStore store;
  fill_store(store);
  const Matrix logits = random_matrix(9, 7, "logits", 4);
  Matrix targets(9, 7);
  for (size_t i = 0; i < targets.v.size(); ++i) targets.v[i] = i % 5 == 0 ? 0.25f : static_cast<float>(i % 2);
  compare(run_pass(store, {logits},
                   [&](Tape& t, const std::vector<Var>& in) {
                     return binary_cross_entropy(t, in[0], targets.tensor(), 63);
                   }),
          twin::binary_cross_entropy(logits, targets, 63), 1e-6, "bce");
  compare(run_pass(store, {logits},
                   [&](Tape& t, const std::vector<Var>& in) {
                     return squared_error(t, in[0], targets.tensor(), 9);
                   }),
          twin::squared_error(logits, targets, 9), 1e-6, "mse");
}

TEST(ElementLoss, BinaryCrossEntropyHoldsForHugeLogits) {
  ParameterStore store;
  fill_store(store);
  Matrix logits(1, 4), targets(1, 4);
  logits.v = {200, -200, 200, -200};
  targets.v = {1, 1, 0, 0};
  const Pass pass = run_pass(store, {logits}, [&](Tape& t, const std::vector<Var>& in) {
    return binary_cross_entropy(t, in[0], targets.tensor(), 1);
  });
  EXPECT_FLOAT_EQ(pass.out.at(0, 0), 400);
}

TEST(Losses, FiniteDifferences) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {2, -100, 0, 3};
  Matrix targets = random_matrix(4, 5, "targets");
  for (float& t : targets.v) t = t > 0;
  const std::vector<Matrix> logits = {random_matrix(4, 5, "logits")};
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 3);
  });
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return binary_cross_entropy(t, in[0], targets.tensor(), 20);
  });
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return squared_error(t, in[0], targets.tensor(), 20);
  });
}

TEST(Losses, RefuseLogitsThatAreReadTwice) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {1}, rows = {0};
  EXPECT_THAT(graft::test::error_of([&] {
                run_pass(store, {Matrix(1, 3)}, [&](Tape& t, const std::vector<Var>& in) {
                  Var loss = cross_entropy(t, in[0], labels.data(), 1);
                  gather(t, in[0], rows.data(), 1);
                  bool add = false;
                  t.grad_of(in[0], add);
                  return loss;
                });
              }),
              testing::HasSubstr("must not be inputs of another operation"));
}

}  // namespace
}  // namespace graft::engine::test
