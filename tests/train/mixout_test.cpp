// Mixout against the paper's formula: the mixed weights, the gradient, and the weights after it.
#include "train/mixout.h"

#include <cmath>

#include "models/model_case.h"

namespace graft::train {
namespace {
using namespace graft::test;
using engine::Parameter;

struct MixoutMatrices {
  engine::ParameterStore store;
  Parameter *layer, *head;
  MixoutMatrices() {
    const auto add = [&](const char* name, engine::Part part) {
      Parameter p;
      p.name = name;
      p.shape = {40, 25};
      p.part = part;
      return &store.add(std::move(p));
    };
    layer = add("layer.weight", engine::Part::layer);
    head = add("head.weight", engine::Part::head);
    store.allocate();
    store.allocate_grads();
    for (const Parameter* p : {layer, head})
      for (int64_t i = 0; i < p->size; ++i) store.value(*p)[i] = static_cast<float>(std::sin(i + 1));
  }
};

TEST(Mixout, IsThePapersFormula) {
  const double p = 0.3;
  MixoutMatrices m;
  Mixout mixout(m.store, p);
  const int64_t n = m.layer->size;
  float *w = m.store.value(*m.layer), *g = m.store.grad(*m.layer);
  const std::vector<float> pretrained(w, w + n), head(m.store.value(*m.head), m.store.value(*m.head) + n);
  for (int64_t i = 0; i < n; ++i) w[i] += 1 + 0.01f * static_cast<float>(i);  // training has moved them
  const std::vector<float> before(w, w + n);
  mixout.mix(42, 7);
  int64_t taken = 0;
  std::vector<bool> mask;
  for (int64_t i = 0; i < n; ++i) {
    const double w0 = pretrained[static_cast<size_t>(i)], w1 = before[static_cast<size_t>(i)];
    const double kept = (w1 - p * w0) / (1 - p), replaced = (w0 - p * w0) / (1 - p);
    mask.push_back(std::fabs(w[i] - replaced) < 1e-5);
    EXPECT_NEAR(w[i], mask.back() ? replaced : kept, 1e-5 * std::max(1.0, std::fabs(kept)));
    taken += mask.back() ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(taken), p * static_cast<double>(n), 60);
  EXPECT_TRUE(same_bits(head, {m.store.value(*m.head), m.store.value(*m.head) + n}))
      << "the head is not mixed";
  std::fill_n(g, n, 2.0f);
  m.layer->has_grad = true;
  mixout.restore();
  EXPECT_TRUE(same_bits(before, {w, w + n}));
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(g[i], mask[static_cast<size_t>(i)] ? 0 : 2 / (1 - p), 1e-6);
  mixout.restore();  // nothing is left to do
  EXPECT_TRUE(same_bits(before, {w, w + n}));
}

TEST(Mixout, TheMaskIsAFunctionOfSeedAndStep) {
  const auto mixed = [](uint64_t seed, uint64_t step) {
    MixoutMatrices m;
    Mixout mixout(m.store, 0.5);
    for (int64_t i = 0; i < m.layer->size; ++i) m.store.value(*m.layer)[i] += 1;
    mixout.mix(seed, step);
    return std::vector<float>(m.store.value(*m.layer), m.store.value(*m.layer) + m.layer->size);
  };
  EXPECT_TRUE(same_bits(mixed(1, 2), mixed(1, 2)));
  EXPECT_FALSE(same_bits(mixed(1, 2), mixed(1, 3)));
  EXPECT_FALSE(same_bits(mixed(1, 2), mixed(2, 2)));
  expect_thread_free("mixout", [&] { return mixed(3, 4); });
}

TEST(Mixout, ARunContinuesWithItsPretrainedWeights) {
  MixoutMatrices first, second;
  Mixout a(first.store, 0.5);
  for (int64_t i = 0; i < second.layer->size; ++i) second.store.value(*second.layer)[i] = 5;
  Mixout b(second.store, 0.5);
  b.load(a.values(), a.tensors());
  for (MixoutMatrices* m : {&first, &second})
    for (int64_t i = 0; i < m->layer->size; ++i) m->store.value(*m->layer)[i] = 3;
  a.mix(1, 1);
  b.mix(1, 1);
  EXPECT_TRUE(
      same_bits({first.store.value(*first.layer), first.store.value(*first.layer) + first.layer->size},
                {second.store.value(*second.layer), second.store.value(*second.layer) + second.layer->size}));
  std::vector<StateTensor> none;
  EXPECT_THAT(error_of([&] { b.load(a.values(), none); }), testing::HasSubstr("0 pretrained tensors"));
}

}  // namespace
}  // namespace graft::train
