// What --label_smoothing_factor, --class_weights, --focal_gamma and --r_drop_alpha change in a task's loss.
#include <algorithm>
#include <cmath>

#include "models/model_case.h"
#include "tasks/sequence_classification.h"
#include "tasks/token_classification.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::HasSubstr;

// log softmax of row r.
std::vector<double> log_softmax(const std::vector<float>& logits, size_t r, size_t classes) {
  double sum = 0;
  for (size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(logits[r * classes + c]));
  std::vector<double> out;
  for (size_t c = 0; c < classes; ++c)
    out.push_back(static_cast<double>(logits[r * classes + c]) - std::log(sum));
  return out;
}

class LossOptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    GRAFT_SHARED_PATH(golden, "golden");
    ASSERT_FALSE(golden.empty());
  }
  static double loss(const Model& model, const Task& task, const data::RaggedBatch& batch, bool record,
                     uint64_t step = 3) {
    train::StepMemory memory(model.state().parameters.device());
    memory.prepare(model.state(), &task, batch, true);
    engine::Tape tape(memory.arena(), model.state().parameters,
                      {.training = record, .record = record, .seed = 1, .step = step});
    const double value =
        tape.scalar(forward_loss(tape, model.state().network, task, batch, task.training_terms(batch)).loss);
    return value;
  }
  static Model classifier(double dropout) { return with_dropout("bert/seqcls_single", dropout); }
  static Model with_dropout(const std::string& name, double dropout) {
    const TempDir dir;
    copy_with_config(fixture_folder(name), dir.path(), [&](Json& config) { set_dropout(config, dropout); });
    return load_model(dir.path());
  }
};

// The reference's LabelSmoother (trainer_pt_utils.py); class weights as torch.nn.CrossEntropyLoss(weight).
TEST_F(LossOptionsTest, EqualTheReferencesFormulasInTrainingOnly) {
  for (const char* name : {"bert/seqcls_single", "bert/tokencls"}) {
    std::vector<std::string> names = {name};
    keep_available(names);
    if (names.empty()) continue;
    const Model model = with_dropout(name, 0);
    const data::RaggedBatch batch = RandomFeatures(model, 6, 9).batch(6);
    const std::vector<float> logits = logits_of(model, batch);
    const size_t classes = model.labels().size();
    const auto task = make_task(model);
    std::vector<float> weights(classes);
    for (size_t c = 0; c < classes; ++c) weights[c] = 0.5f + static_cast<float>(c);
    double plain = 0, smoothed = 0, weighted = 0, weight_sum = 0;
    const auto n = static_cast<double>(batch.labels.size());
    for (size_t r = 0; r < batch.labels.size(); ++r) {
      const std::vector<double> log_p = log_softmax(logits, r, classes);
      const auto label = static_cast<size_t>(batch.labels[r]);
      double all = 0;
      for (const double x : log_p) all -= x / static_cast<double>(classes);
      plain -= log_p[label] / n;
      smoothed += (0.9 * -log_p[label] + 0.1 * all) / n;
      weighted -= weights[label] * log_p[label];
      weight_sum += weights[label];
    }
    EXPECT_NEAR(loss(model, *task, batch, true), plain, 1e-5) << name;
    task->set_loss_options({.label_smoothing = 0.1});
    EXPECT_NEAR(loss(model, *task, batch, true), smoothed, 1e-5) << name;
    task->set_loss_options({.class_weights = weights});
    EXPECT_NEAR(loss(model, *task, batch, true), weighted / weight_sum, 1e-5) << name;
    EXPECT_NEAR(task->loss_terms(batch), n, 0);
    EXPECT_NEAR(loss(model, *task, batch, false) * weight_sum, plain * n, 1e-4) << name << ": an evaluation";
  }
}

TEST_F(LossOptionsTest, RDropAddsTheDivergenceOfTwoPasses) {
  const double alpha = 2;
  const Model still = classifier(0), noisy = classifier(0.3);
  const data::RaggedBatch batch = RandomFeatures(still, 6, 9).batch(6);
  const auto task = make_task(still), rdrop = make_task(still);
  rdrop->set_loss_options({.r_drop_alpha = alpha});
  // Without dropout both passes are one.
  EXPECT_NEAR(loss(still, *rdrop, batch, true), loss(still, *task, batch, true), 1e-6);
  // With it, the formula on the logits of both passes.
  const auto logits = [&](bool second) {
    train::StepMemory memory(noisy.state().parameters.device());
    memory.prepare(noisy.state(), task.get(), batch, true);
    engine::Tape tape(memory.arena(), noisy.state().parameters, {.training = true, .seed = 1, .step = 3});
    if (second) tape.next_pass();
    const engine::Tensor t = tape.on_host(noisy.state().network.forward(tape, batch).logits->data);
    return std::vector<float>(t.row(0), t.row(0) + t.size());
  };
  const std::vector<float> a = logits(false), b = logits(true);
  EXPECT_FALSE(same_bits(a, b));
  const size_t classes = noisy.labels().size();
  double expected = 0;
  for (size_t r = 0; r < 6; ++r) {
    const std::vector<double> p = log_softmax(a, r, classes), q = log_softmax(b, r, classes);
    const auto label = static_cast<size_t>(batch.labels[r]);
    expected += -0.5 * (p[label] + q[label]);
    for (size_t c = 0; c < classes; ++c)
      expected += alpha * 0.5 * (std::exp(p[c]) * (p[c] - q[c]) + std::exp(q[c]) * (q[c] - p[c]));
  }
  EXPECT_NEAR(loss(noisy, *rdrop, batch, true), expected / 6, 1e-5);
}

TEST_F(LossOptionsTest, WhatATaskLacksIsRefused) {
  const auto told = [](const char* problem, LossOptions options) {
    SequenceClassification task(3, problem);
    return error_of([&] { task.set_loss_options(std::move(options)); });
  };
  EXPECT_THAT(told("regression", {.label_smoothing = 0.1}), HasSubstr("--label_smoothing_factor is refused"));
  EXPECT_THAT(told("multi_label_classification", {.focal_gamma = 2}), HasSubstr("--focal_gamma is refused"));
  EXPECT_THAT(told("regression", {.r_drop_alpha = 1}), HasSubstr("--r_drop_alpha is refused"));
  EXPECT_THAT(told("regression", {.class_weights = {1, 2, 3}}), HasSubstr("--class_weights is refused"));
  EXPECT_THAT(told("single_label_classification", {.label_smoothing = 0.1, .focal_gamma = 2}),
              HasSubstr("not defined"));
  SequenceClassification task(3, "single_label_classification");
  EXPECT_NO_THROW(task.set_loss_options({.focal_gamma = 2, .class_weights = {1, 2, 3}}));
}

}  // namespace
}  // namespace graft::tasks
