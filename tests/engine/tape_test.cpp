// The tape: fan-out adds gradients, constants get none, memory is given back, misuse is told.
#include "engine/tape.h"

#include "engine/engine_case.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using graft::test::error_of;

Var twice(Tape& tape, Var x) {
  Tensor y = tape.push(x->data.rows, x->data.cols);
  for (int64_t i = 0; i < y.size(); ++i) y.f32()[i] = 2 * x->data.f32()[i];
  Var out = tape.result(y, x->needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    for (int64_t i = 0; i < dx.size(); ++i) dx.f32()[i] = (add ? dx.f32()[i] : 0) + 2 * out->grad.f32()[i];
  });
  return out;
}

Var sum_of(Tape& tape, Var a, Var b) {
  Tensor y = tape.push(1, 1);
  *y.f32() = *a->data.f32() + *b->data.f32();
  Var out = tape.result(y, true);
  tape.on_backward(out, [=](Tape& t) {
    for (Var v : {a, b}) {
      if (!v->needs_grad) continue;
      bool add = false;
      Tensor g = t.grad_of(v, add);
      *g.f32() = (add ? *g.f32() : 0) + *out->grad.f32();
    }
  });
  return out;
}

struct Step {
  Arena arena;
  ParameterStore store;
  TapeOptions options = training();
  Step() { fill_store(store); }
  Tape tape() { return Tape(cpu_kernels(), arena, store, options); }
};

Var leaf(Tape& tape, float value, bool needs_grad = true) {
  Tensor t = tape.push(1, 1);
  *t.f32() = value;
  return needs_grad ? tape.result(t, true) : tape.constant(t);
}

TEST(Tape, GradientsOfAllReadersAdd) {
  Step s;
  Tape t = s.tape();
  Var x = leaf(t, 3);
  Var y = sum_of(t, sum_of(t, twice(t, x), twice(t, twice(t, x))), x);  // 2x + 4x + x
  EXPECT_EQ(*y->data.f32(), 21);
  t.backward(y);
  EXPECT_EQ(*x->grad.f32(), 7);
}

TEST(Tape, SeedScalesTheGradient) {
  Step s;
  Tape t = s.tape();
  Var x = leaf(t, 3);
  t.backward(twice(t, x), 0.25f);
  EXPECT_EQ(*x->grad.f32(), 0.5f);
}

TEST(Tape, ConstantsAndWhatTheyFeedGetNoGradient) {
  Step s;
  Tape t = s.tape();
  Var c = leaf(t, 3, false), x = leaf(t, 4);
  Var from_constant = twice(t, c);
  EXPECT_FALSE(from_constant->needs_grad);
  t.backward(sum_of(t, from_constant, x));
  EXPECT_FALSE(c->grad);
  EXPECT_FALSE(from_constant->grad);
  EXPECT_EQ(*x->grad.f32(), 1);
}

TEST(Tape, BranchesThatTheLossDoesNotReadAreSkipped) {
  Step s;
  Tape t = s.tape();
  Var x = leaf(t, 3), unread = twice(t, x);
  t.backward(twice(t, x));
  EXPECT_EQ(*x->grad.f32(), 2);
  EXPECT_FALSE(unread->grad);
}

TEST(Tape, GradientMemoryIsReused) {
  Step s;
  Tape t = s.tape();
  Var x = leaf(t, 1);
  for (int i = 0; i < 50; ++i) x = twice(t, x);
  const size_t before = s.arena.peak();
  t.backward(x);
  EXPECT_EQ(s.arena.peak() - before, 128u);  // one gradient comes, one goes
}

TEST(Tape, MisuseIsTold) {
  Step s;
  {
    Tape t = s.tape();
    Var wide = t.result(t.push(2, 3), true);
    EXPECT_THAT(error_of([&] { t.backward(wide); }), testing::HasSubstr("from a scalar, not from [2, 3]"));
  }
  {
    Tape t = s.tape();
    Var y = twice(t, leaf(t, 1));
    t.backward(y);
    EXPECT_THAT(error_of([&] { t.backward(y); }), testing::HasSubstr("ran already"));
  }
  {
    Tape t = s.tape();
    Var y = twice(t, leaf(t, 1, false));
    EXPECT_THAT(error_of([&] { t.backward(y); }), testing::HasSubstr("this loss depends on no value"));
  }
  {
    s.options.record = false;
    Tape t = s.tape();
    Var y = twice(t, leaf(t, 1));
    EXPECT_THAT(error_of([&] { t.backward(y); }), testing::HasSubstr("recorded nothing"));
  }
  {
    ParameterStore values_only;
    declare(values_only, "w", {3});
    values_only.allocate();
    Tape t(cpu_kernels(), s.arena, values_only, training());
    Var y = twice(t, leaf(t, 1));
    EXPECT_THAT(error_of([&] { t.backward(y); }), testing::HasSubstr("allocate_grads"));
  }
}

TEST(Tape, RecordsNothingWhenNotAsked) {
  Step s;
  s.options.record = false;
  Tape t = s.tape();
  Var x = leaf(t, 1);
  const size_t before = s.arena.mark();
  twice(t, x);
  EXPECT_EQ(s.arena.mark() - before, 64 + (sizeof(Value) + 63) / 64 * 64);  // the data and its Value; no node
}

TEST(Tape, DropoutOnlyInTraining) {
  Step s;
  EXPECT_EQ(s.tape().dropout(0.1f, "scope").p, 0.1f);
  EXPECT_EQ(s.tape().dropout(0, "scope").threshold(), 0u);
  s.options.training = false;
  EXPECT_EQ(s.tape().dropout(0.1f, "scope").threshold(), 0u);
}

}  // namespace
}  // namespace graft::engine::test
