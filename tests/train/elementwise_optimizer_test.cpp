// AdamW: lazy rows against a dense sweep, bit for bit, over real steps of a model; the numbers against
// double.
#include "train/elementwise_optimizer.h"

#include <cmath>
#include <limits>
#include <memory>

#include "base/philox.h"
#include "models/model_case.h"
#include "train/schedule.h"

namespace graft::train {
namespace {
using namespace graft::test;
using engine::Parameter;

Model untied_model(const TempDir& dir, const std::filesystem::path& fixture) {
  Json config = read_json(fixture / "config.json");
  set_dropout(config, 0.1);
  config["vocab_size"] = 2000;
  write_json(dir / "config.json", config);
  return Model::from_config(dir / "config.json");
}

// 50 steps of three short sequences each, clipped, with a falling rate. With `resume_at`, another optimizer
// takes over the state before that step.
std::vector<float> train_steps(const Model& model, const UpdateRule& options, std::vector<double>& losses,
                               int64_t resume_at = -1) {
  models::State& state = model.state();
  Parameter& words = *state.network.encoder->word_embeddings();
  EXPECT_TRUE(words.row_sparse);
  const auto task = test::make_task(model);
  const RandomFeatures features(model, 150, 6);
  state.parameters.allocate_grads();
  auto made = std::make_unique<ElementwiseOptimizer>(state.parameters, options);
  StepMemory memory;
  for (int64_t step = 0; step < 50; ++step) {
    if (step == resume_at) {
      auto fresh = std::make_unique<ElementwiseOptimizer>(state.parameters, options);
      fresh->load(made->save(), step);
      made = std::move(fresh);
    }
    Optimizer& optimizer = *made;
    data::RaggedBatch batch;
    for (int64_t i = 0; i < 3; ++i)
      features.append(batch, step % 20 * 3 + i, i, 0);  // from 20 on, rows seen before
    optimizer.catch_up(words, batch.input_ids.data(), batch.rows());
    state.parameters.clear_grads();
    losses.push_back(accumulate_gradients(state, *task, batch, task->loss_terms(batch), 42,
                                          static_cast<uint64_t>(step), true, memory));
    const double norm = grad_norm(state.parameters);
    const double rate = 1e-2 * schedule_factor(parse_schedule("linear"), step, 5, 50);
    optimizer.step(rate, static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6))));
  }
  made->flush();
  return all_values(model);
}

TEST(AdamW, LazyRowsGiveTheBitsOfADenseSweep) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"bert/seqcls_single", "distilbert/seqcls_multi"}) {
    for (const double decay : {0.0, 0.01}) {
      TempDir dir;
      UpdateRule options;
      options.weight_decay = decay;
      std::vector<double> lazy_losses, dense_losses;
      const Model start = untied_model(dir, golden / name);
      const std::vector<float> before = all_values(start), lazy = train_steps(start, options, lazy_losses);
      options.lazy_rows = false;
      const std::vector<float> dense = train_steps(untied_model(dir, golden / name), options, dense_losses);
      EXPECT_EQ(lazy_losses, dense_losses) << name << " decay " << decay;
      EXPECT_TRUE(same_bits(lazy, dense)) << name << " decay " << decay;
      EXPECT_FALSE(same_bits(lazy, before));
    }
  }
}

TEST(AdamW, ASavedStateContinuesToTheSameBits) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const double decay : {0.0, 0.01}) {
    TempDir dir;
    UpdateRule options;
    options.weight_decay = decay;
    std::vector<double> whole_losses, resumed_losses;
    const auto start = [&] { return untied_model(dir, golden / "bert/seqcls_single"); };
    const std::vector<float> whole = train_steps(start(), options, whole_losses),
                             resumed = train_steps(start(), options, resumed_losses, 23);
    EXPECT_EQ(whole_losses, resumed_losses) << "decay " << decay;
    EXPECT_TRUE(same_bits(whole, resumed)) << "decay " << decay;
  }
}

TEST(AdamW, AStateThatDoesNotFitIsTold) {
  engine::ParameterStore store;
  Parameter p;
  p.name = "w";
  p.shape = {2, 3};
  store.add(p);
  store.allocate();
  store.allocate_grads();
  ElementwiseOptimizer optimizer(store, {});
  const std::vector<float> x(6, 1.0f);
  const StateTensor m{"exp_avg.w", {2, 3}, DType::f32, x.data()},
      v{"exp_avg_sq.w", {2, 3}, DType::f32, x.data()}, flat{"exp_avg_sq.w", {6}, DType::f32, x.data()},
      other{"exp_avg.u", {2, 3}, DType::f32, x.data()}, bytes{"exp_avg_sq.w", {2, 3}, DType::u8, x.data()};
  const auto told = [&](std::vector<StateTensor> moments) {
    return error_of([&] { optimizer.load(moments, 5); });
  };
  EXPECT_THAT(told({m}), testing::HasSubstr("lacks exp_avg_sq.w"));
  EXPECT_THAT(told({m, flat}), testing::HasSubstr("exp_avg_sq.w has another shape"));
  EXPECT_THAT(told({m, bytes}), testing::HasSubstr("exp_avg_sq.w is U8, not F32"));
  EXPECT_THAT(told({m, v, other}), testing::HasSubstr("3 tensors"));
  EXPECT_EQ(optimizer.num_steps(), 0);
  optimizer.load(std::vector<StateTensor>{v, m}, 5);
  EXPECT_EQ(optimizer.num_steps(), 5);
}

// The same steps on an embedding declared dense: its gradient has a zero for every row that was not read, and
// the optimizer sweeps all of it.
std::vector<float> embedding_steps(bool row_sparse, double decay) {
  engine::ParameterStore store;
  const auto declare = [&](const char* name, std::vector<int64_t> shape) {
    Parameter p;
    p.name = name;
    p.shape = std::move(shape);
    return &store.add(std::move(p));
  };
  Parameter word;
  word.name = "word";
  word.shape = {300, 24};
  word.row_sparse = row_sparse;
  word.padding_row = 0;
  engine::Embeddings e;
  e.word = &store.add(word);
  e.position = declare("position", {8, 24});
  e.norm = {declare("norm.weight", {24}), declare("norm.bias", {24}), 1e-5f};
  const engine::Linear out{declare("out.weight", {5, 24}), declare("out.bias", {5}), 1};
  store.allocate();
  store.allocate_grads();
  PhiloxStream draws(philox_key(1, 0, "start"));
  for (Parameter& p : store.parameters()) {
    for (int64_t i = 0; i < p.size; ++i) store.value(p)[i] = static_cast<float>(draws.normal());
  }
  UpdateRule options;
  options.weight_decay = decay;
  ElementwiseOptimizer optimizer(store, options);
  engine::Arena arena;
  for (int step = 0; step < 50; ++step) {
    data::RaggedBatch batch;
    std::vector<int32_t> labels;
    for (int s = 0; s < 2; ++s) {
      std::vector<int32_t> ids;
      for (int i = 0; i < 4; ++i) ids.push_back(static_cast<int32_t>(draws.below(step % 2 ? 300 : 10)));
      batch.append(ids.data(), nullptr, 4, s);
      for (int i = 0; i < 4; ++i) labels.push_back(static_cast<int32_t>(draws.below(5)));
    }
    optimizer.catch_up(*e.word, batch.input_ids.data(), batch.rows());
    store.clear_grads();
    arena.reset();
    engine::Tape tape(engine::cpu_kernels(), arena, store, {true, true, 42, static_cast<uint64_t>(step)});
    const models::Inputs in = models::make_inputs(tape, batch);
    const engine::Var x = engine::embed(tape, e, in.input_ids, in.rows.position, nullptr, 0.1f, "e", in.rows);
    tape.backward(engine::cross_entropy(tape, engine::linear(tape, x, out), labels.data(), 8));
    optimizer.step(1e-2, 0.5f);
  }
  optimizer.flush();
  std::vector<float> values;
  for (const Parameter& p : store.parameters()) {
    values.insert(values.end(), store.value(p), store.value(p) + p.size);
  }
  return values;
}

TEST(AdamW, ASparseEmbeddingTrainsToTheBitsOfADenseOne) {
  for (const double decay : {0.0, 0.01}) {
    EXPECT_TRUE(same_bits(embedding_steps(true, decay), embedding_steps(false, decay))) << "decay " << decay;
  }
}

TEST(AdamW, AFrozenEmbeddingStaysAsItIs) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  const Model model = untied_model(dir, golden / "bert/seqcls_single");
  models::State& state = model.state();
  Parameter& words = *state.network.encoder->word_embeddings();
  const std::vector<float> before(state.parameters.value(words), state.parameters.value(words) + words.size);
  const std::vector<float> all = all_values(model);
  words.trainable = false;
  UpdateRule options;
  options.weight_decay = 0.1;
  std::vector<double> losses;
  train_steps(model, options, losses);
  EXPECT_TRUE(same_bits(before, {state.parameters.value(words), state.parameters.value(words) + words.size}));
  EXPECT_FALSE(same_bits(all, all_values(model)));
}

struct SmallStore {
  engine::ParameterStore store;
  std::vector<Parameter*> p;
  SmallStore() {
    const auto declare = [&](const char* name, std::vector<int64_t> shape, bool no_decay) {
      Parameter q;
      q.name = name;
      q.shape = std::move(shape);
      q.no_decay = no_decay;
      p.push_back(&store.add(std::move(q)));
    };
    declare("w", {7, 5}, false);
    declare("b", {7}, true);
    declare("frozen", {3}, false);
    p[2]->trainable = false;
    store.allocate();
    store.allocate_grads();
    for (Parameter* q : p) {
      for (int64_t i = 0; i < q->size; ++i) store.value(*q)[i] = std::sin(static_cast<float>(i) + 1);
    }
  }
  void set_gradients(int step) {
    store.clear_grads();
    for (Parameter* q : p) {
      q->has_grad = true;
      for (int64_t i = 0; i < q->size; ++i)
        store.grad(*q)[i] = std::cos(static_cast<float>(3 * i + 7 * step));
    }
  }
};

TEST(AdamW, FollowsTheFormulaInDouble) {
  SmallStore s;
  UpdateRule options;
  options.weight_decay = 0.1;
  ElementwiseOptimizer optimizer(s.store, options);
  std::vector<std::vector<double>> w(3), m(3), v(3);
  for (size_t k = 0; k < 3; ++k) {
    w[k].assign(s.store.value(*s.p[k]), s.store.value(*s.p[k]) + s.p[k]->size);
    m[k].assign(w[k].size(), 0);
    v[k].assign(w[k].size(), 0);
  }
  for (int step = 1; step <= 20; ++step) {
    s.set_gradients(step);
    const double rate = 1e-2 / step;
    const float clip = step % 2 ? 1.0f : 0.25f;
    for (size_t k = 0; k < 2; ++k) {  // the third is frozen
      for (size_t i = 0; i < w[k].size(); ++i) {
        const double g = static_cast<double>(clip) * s.store.grad(*s.p[k])[i];
        m[k][i] = 0.9 * m[k][i] + 0.1 * g;
        v[k][i] = 0.999 * v[k][i] + 0.001 * g * g;
        if (k == 0) w[k][i] *= 1 - rate * 0.1;
        const double mean = m[k][i] / (1 - std::pow(0.9, step)),
                     variance = v[k][i] / (1 - std::pow(0.999, step));
        w[k][i] -= rate * mean / (std::sqrt(variance) + 1e-8);
      }
    }
    optimizer.step(rate, clip);
  }
  EXPECT_EQ(optimizer.num_steps(), 20);
  for (size_t k = 0; k < 3; ++k) {
    for (size_t i = 0; i < w[k].size(); ++i)
      EXPECT_NEAR(s.store.value(*s.p[k])[i], w[k][i], 1e-6) << k << " " << i;
  }
}

TEST(AdamW, FrozenParametersHaveNoMoments) {
  SmallStore s;
  ElementwiseOptimizer some(s.store, {});
  EXPECT_EQ(some.num_moments(), 2 * (48 + 16));  // 35 and 7 floats, each from a cache line on
  s.set_gradients(1);
  s.p[2]->trainable = true;
  EXPECT_THAT(error_of([&] { some.step(0.1, 1); }),
              testing::HasSubstr("3 parameters are trained and 2 have a state"));
  EXPECT_EQ(some.num_steps(), 0);
  s.p[2]->trainable = false;
  s.p[1]->trainable = false;  // later freezing is allowed
  const std::vector<float> before(s.store.value(*s.p[1]), s.store.value(*s.p[1]) + 7);
  some.step(0.1, 1);
  EXPECT_TRUE(same_bits(before, {s.store.value(*s.p[1]), s.store.value(*s.p[1]) + 7}));
}

// A parameter that joins later has the values of an optimizer that begins then.
TEST(AdamW, ALaterStartIsABeginning) {
  SmallStore late, fresh;
  UpdateRule options;
  options.weight_decay = 0.1;
  late.p[0]->frozen_steps = 3;
  ElementwiseOptimizer a(late.store, options), b(fresh.store, options);
  for (int step = 1; step <= 7; ++step) {
    late.set_gradients(step);
    late.p[0]->trainable = step > 3;
    a.step(1e-2 * step, 1);
    if (step <= 3) continue;
    fresh.set_gradients(step);
    b.step(1e-2 * step, 1);
  }
  const auto values = [](SmallStore& s) {
    return std::vector<float>(s.store.value(*s.p[0]), s.store.value(*s.p[0]) + s.p[0]->size);
  };
  EXPECT_TRUE(same_bits(values(late), values(fresh)));
}

// A factor of the learning rate equals that learning rate; decay counts with it.
TEST(AdamW, LrScaleIsAFactorOfTheLearningRate) {
  SmallStore scaled, slow;
  UpdateRule options;
  options.weight_decay = 0.1;
  ElementwiseOptimizer a(scaled.store, options), b(slow.store, options);
  scaled.p[0]->lr_scale = 0.25;
  for (int step = 1; step <= 5; ++step) {
    scaled.set_gradients(step);
    slow.set_gradients(step);
    a.step(1e-2, 1);
    b.step(0.25e-2, 1);
  }
  const auto values = [](SmallStore& s, size_t k) {
    return std::vector<float>(s.store.value(*s.p[k]), s.store.value(*s.p[k]) + s.p[k]->size);
  };
  EXPECT_TRUE(same_bits(values(scaled, 0), values(slow, 0)));
  EXPECT_FALSE(same_bits(values(scaled, 1), values(slow, 1)));
}

TEST(AdamW, TheNormIsThatOfAllTrainableGradients) {
  SmallStore s;
  s.set_gradients(1);
  double sum = 0;
  for (size_t k = 0; k < 2; ++k) {
    for (int64_t i = 0; i < s.p[k]->size; ++i)
      sum += std::pow(static_cast<double>(s.store.grad(*s.p[k])[i]), 2);
  }
  EXPECT_NEAR(grad_norm(s.store), std::sqrt(sum), 1e-7 * std::sqrt(sum));
}

TEST(AdamW, TheNormOfAModelCountsSparseRowsOnce) {
  for (const std::string& name : single_and_mlm_names()) {
    const Model model = test::load_model(fixture_folder(name));
    const data::RaggedBatch batch = RandomFeatures(model, 12, 40).batch(12);
    const double expected = l2_norm(run_pass(model, *test::make_task(model), batch).gradients);
    EXPECT_NEAR(grad_norm(model.state().parameters), expected, 1e-7 * expected)
        << name;  // short sums are in fp32
  }
}

// A parameter that no backward pass of this step reached has the gradient zero, whether or not anyone asked
// for the norm.
TEST(AdamW, AStepNeverReadsTheGradientsOfTheStepBefore) {
  for (const bool with_norm : {true, false}) {
    engine::ParameterStore store;
    Parameter p;
    p.name = "w";
    p.shape = {64};
    Parameter& w = store.add(p);
    store.allocate();
    UpdateRule options;
    ElementwiseOptimizer optimizer(store, options);
    EXPECT_THAT(error_of([&] { optimizer.step(0.1, 1); }), testing::HasSubstr("allocate_grads"));
    EXPECT_EQ(optimizer.num_steps(), 0);
    store.allocate_grads();
    std::fill_n(store.grad(w), 64, 1.0f);  // what a former step left in memory
    store.clear_grads();
    if (with_norm) {
      EXPECT_EQ(grad_norm(store), 0);
    }
    optimizer.step(0.1, 1);
    EXPECT_EQ(store.value(w)[7], 0) << "moved by a gradient that is not of this step";
  }
}

// The caller's own floating-point setting comes back after every call, and passes run with denormals flushed.
TEST(AdamW, TheCallersDenormalsAreItsOwn) {
  engine::ParameterStore store;
  Parameter p;
  p.name = "w";
  p.shape = {64};
  store.add(p);
  store.allocate();
  store.allocate_grads();
  ElementwiseOptimizer optimizer(store, {});
  volatile float small = std::numeric_limits<float>::min();
  grad_norm(store);
  optimizer.step(0.1, 1);
  optimizer.flush();
  EXPECT_NE(small * 0.5f, 0);
  {
    engine::Arena arena;
    const engine::Tape tape(engine::cpu_kernels(), arena, store, {});
    EXPECT_EQ(small * 0.5f, 0);
  }
  EXPECT_NE(small * 0.5f, 0);
}

}  // namespace
}  // namespace graft::train
