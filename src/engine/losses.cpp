// The scalar losses on the tape.
#include "base/error.h"
#include "engine/ops.h"

namespace graft::engine {
namespace {

// A loss of one kernel. Terms are added to the host's `total`.
template <class Args>
Var run_loss(Tape& tape, Args& args, double* total, void (*Kernels::*kernel)(const Args&), bool needs_grad) {
  Tensor loss = tape.push(1, 1);
  args.loss = loss.f32();
  args.total = total ? const_cast<double*>(tape.take_copy<double>(total, 1)) : nullptr;
  (tape.kernels().*kernel)(args);
  if (total && args.total != total && !tape.planning())
    tape.device().copy_out(total, args.total, sizeof *total);
  if (total) tape.give_copy(args.total);
  return tape.result(loss, needs_grad);
}

// The same; the kernel runs backwards, too, with the gradients that `backward` fills in.
template <class Args, class F>
Var scalar_loss(Tape& tape, Args args, double* total, void (*Kernels::*kernel)(const Args&), bool needs_grad,
                F backward) {
  Var out = run_loss(tape, args, total, kernel, needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    Args b = args;
    b.total = nullptr;
    b.grad = out->grad.f32();
    backward(t, b);
    (t.kernels().*kernel)(b);
  });
  return out;
}

Var element_loss(Tape& tape, Var logits, Tensor targets, double denominator, double* total, bool squared) {
  ElementLossArgs args;
  args.logits = logits->data;
  args.targets = targets;
  args.targets.data = const_cast<float*>(tape.on_device(targets.f32(), targets.size()));
  args.denominator = denominator;
  args.squared = squared;
  return scalar_loss(tape, args, total, &Kernels::element_loss, logits->needs_grad,
                     [=](Tape& t, ElementLossArgs& b) { b.dlogits = t.grad_of(logits, b.add); });
}

}  // namespace

Var cross_entropy(Tape& tape, Var logits, const int32_t* labels, double denominator, double* total,
                  const LabelLoss& options) {
  for (int64_t r = 0; !tape.planning() && r < logits->data.rows; ++r) {
    if (labels[r] >= logits->data.cols)
      fail("label {} of row {} for {} classes", labels[r], r, logits->data.cols);
  }
  CrossEntropyArgs args;
  args.logits = logits->data;
  args.labels = tape.on_device(labels, logits->data.rows);
  args.denominator = denominator;
  args.label_smoothing = options.label_smoothing;
  args.class_weights = tape.on_device(options.class_weights, logits->data.cols);
  args.focal_gamma = options.focal_gamma;
  args.scratch = tape.push_scratch<double>(logits->data.rows);
  return scalar_loss(tape, args, total, &Kernels::cross_entropy, logits->needs_grad,
                     [=](Tape& t, CrossEntropyArgs& b) { b.dlogits = t.grad_of(logits, b.add); });
}

Var kl_divergence(Tape& tape, Var logits, Var target, float temperature, double denominator, double* total) {
  if (logits->data.rows != target->data.rows || logits->data.cols != target->data.cols)
    fail("kl_divergence: logits [{}, {}] against [{}, {}]", logits->data.rows, logits->data.cols,
         target->data.rows, target->data.cols);
  if (!(temperature > 0)) fail("kl_divergence: the temperature is {}; it must be positive", temperature);
  KlDivergenceArgs args;
  args.logits = logits->data;
  args.target = target->data;
  args.temperature = temperature;
  args.denominator = denominator;
  args.scratch = tape.push_scratch<double>(logits->data.rows);
  return scalar_loss(tape, args, total, &Kernels::kl_divergence, logits->needs_grad || target->needs_grad,
                     [=](Tape& t, KlDivergenceArgs& b) {
                       if (logits->needs_grad) b.dlogits = t.grad_of(logits, b.add_dlogits);
                       if (target->needs_grad) b.dtarget = t.grad_of(target, b.add_dtarget);
                     });
}

Var relation_divergence(Tape& tape, Var student, Var teacher, int64_t num_heads, const Rows& rows,
                        double denominator, double* total) {
  for (const Tensor& x : {student->data, teacher->data})
    if (x.rows != rows.num_rows || num_heads < 1 || x.cols % num_heads != 0)
      fail("relation_divergence: [{}, {}] for {} rows and {} heads", x.rows, x.cols, rows.num_rows,
           num_heads);
  RelationArgs args;
  args.student = student->data;
  args.teacher = teacher->data;
  args.num_heads = num_heads;
  args.rows = tape.on_device(rows);
  const bool trains = tape.record() && student->needs_grad;
  if (trains) args.gradient = tape.push(student->data.rows, student->data.cols);
  args.denominator = denominator;
  args.scratch = tape.push_scratch<double>(rows.num_sequences * num_heads);
  Var out = run_loss(tape, args, total, &Kernels::relations, student->needs_grad);
  tape.on_backward(out, [=, gradient = args.gradient](Tape& t) {
    BasicArgs b;
    b.op = BasicOp::product;
    b.a = gradient;
    b.b = out->grad;
    b.alpha = static_cast<float>(1 / denominator);
    b.out = t.grad_of(student, b.add);
    t.kernels().basic(b);
  });
  return out;
}

Var binary_cross_entropy(Tape& tape, Var logits, Tensor targets, double denominator, double* total) {
  return element_loss(tape, logits, targets, denominator, total, false);
}

Var squared_error(Tape& tape, Var logits, Tensor targets, double denominator, double* total) {
  return element_loss(tape, logits, targets, denominator, total, true);
}

}  // namespace graft::engine
