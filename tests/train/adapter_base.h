// A base model in a folder, and runs that train adapters of it.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/philox.h"
#include "models/model_case.h"
#include "train/arguments.h"
#include "train/every_task.h"
#include "train/parts.h"
#include "train/resume_run.h"
#include "train/tiny_run.h"

namespace graft::test {

// In every `stride`-th value of a parameter, its gradient must be the slope of the loss over `step` to both
// sides, within 1e-4 and a `share` of the slope. Returns the whole gradient.
inline std::vector<float> expect_slopes(const Model& model, const std::string& parameter,
                                        const data::RaggedBatch& rows, int64_t stride, float step,
                                        double share, const std::string& what = "") {
  const auto task = make_task(model);
  run_pass(model, *task, rows, false);
  models::State& state = model.state();
  const engine::Parameter& p = *state.parameters.find(parameter);
  std::vector<float> gradient;
  {
    const engine::HostRead g = state.parameters.read_grad(p);
    gradient.assign(g.begin(), g.end());
  }
  const auto moved = [&](int64_t i, float by) {
    state.parameters.write_value(p).data()[i] += by;
    state.parameters.touch_values();
    const double loss = run_pass(model, *task, rows, false).loss;
    state.parameters.write_value(p).data()[i] -= by;
    return loss;
  };
  for (int64_t i = 0; i < p.size; i += stride) {
    const double slope = (moved(i, step) - moved(i, -step)) / (2 * double{step}),
                 got = gradient[static_cast<size_t>(i)];
    EXPECT_NEAR(got, slope, 1e-4 + share * std::fabs(slope)) << what << i;
  }
  return gradient;
}

class AdapterBase : public testing::Test {
 protected:
  AdapterBase() { save_base("base", 42); }
  static const std::vector<std::string>& colours() {
    static const std::vector<std::string> names = {"blue", "green", "red"};
    return names;
  }
  void save_base(const std::string& name, uint64_t seed, const std::string& model_type = "bert") const {
    run_.model("sequence-classification", colours(), 0.1, model_type, seed).save_pretrained(run_ / name);
    run_.tokenizer()->save(run_ / name);
  }
  // As `graft train` loads it: the head is new.
  Model base(const std::string& name = "base") const {
    ModelOptions options;
    options.labels = colours();
    return Model::from_pretrained(run_ / name, options);
  }
  TrainingArguments arguments_of(const std::string& peft_type, const std::string& out) const {
    TrainingArguments a = run_.arguments();
    a.output_dir = (run_ / out).string();
    a.peft_type = peft_type;
    a.learning_rate = 1e-2;
    return a;
  }
  TaskData data(int rows) const {
    return {Dataset::from_file(run_.single_csv("train.csv", rows, 1)),
            Dataset::from_file(run_.single_csv("eval.csv", 60, 2)), run_.tokenizer()};
  }
  // A few steps from a base with dropout; returns the model.
  Model trained(TrainingArguments a) const {
    a.max_steps = 4;
    Trainer trainer(base(), a, data(40));
    trainer.train();
    return trainer.parts().model;
  }
  // Two steps on 16 rows, as batches of 8, as two of 4 accumulated, and with gradient checkpointing, must
  // give the same values: those of the first way. `tolerance`: of sums in another order.
  std::vector<float> same_in_all_ways(TrainingArguments a, float tolerance = 2e-5F) const {
    std::vector<std::vector<float>> results;
    for (const bool accumulates : {false, true, false}) {
      a.max_steps = 2;
      a.per_device_train_batch_size = accumulates ? 4 : 8;
      a.gradient_accumulation_steps = accumulates ? 2 : 1;
      a.gradient_checkpointing = results.size() == 2;
      const Model model = base();
      Trainer(model, a, data(16)).train();
      results.push_back(all_values(model));
    }
    EXPECT_LE(largest_difference(results[0], results[1]), tolerance);
    EXPECT_TRUE(same_bits(results[0], results[2]));
    return results[0];
  }
  // Six steps at once, and two and then the others after an interruption, must write the same `files`.
  void same_files_when_resumed(TrainingArguments a, const std::vector<const char*>& files) const {
    same_files_when_resumed(a, files, [&] { return base(); });
  }
  void same_files_when_resumed(TrainingArguments a, const std::vector<const char*>& files,
                               const std::function<Model()>& start) const {
    a.max_steps = 6;
    a.save_strategy = "steps";
    a.save_steps = 1000;
    a.output_dir = (run_ / "whole").string();
    Trainer(start(), a, data(40)).train();
    a.output_dir = (run_ / "parts").string();
    Trainer(start(), a, data(40)).train(stop_after(2));
    a.resume_from_checkpoint = "true";
    Trainer(start(), a, data(40)).train();
    for (const char* file : files)
      EXPECT_EQ(read_file(run_ / "whole" / file), read_file(run_ / "parts" / file)) << a.peft_type << file;
    std::filesystem::remove_all(run_ / "whole");
    std::filesystem::remove_all(run_ / "parts");
  }
  std::string refused(const TrainingArguments& a) const {
    return error_of([&] { Trainer(base(), a, data(10)); });
  }
  // The gradient of every adapter is the slope of the loss, in random directions and away from zeros and
  // ones. The activations must be smooth.
  static void expect_gradient(const Model& model, const std::string& what) {
    const auto task = make_task(model);
    const data::RaggedBatch rows = batch(model);
    PhiloxStream draw(philox_key(7, 0, "direction"));
    std::vector<float> direction(static_cast<size_t>(adapter_size(model)));
    const auto redraw = [&] {
      for (float& x : direction) x = static_cast<float>(draw.normal());
    };
    redraw();
    move_adapters(model, direction, 0.2f);
    for (int repeat = 0; repeat < 3; ++repeat) {
      redraw();
      run_pass(model, *task, rows, false);
      double slope = 0;
      size_t at = 0;
      for (const engine::Parameter& p : model.state().parameters.parameters()) {
        if (!p.of_adapter) continue;
        ASSERT_TRUE(p.trainable && p.has_grad) << p.name;
        const engine::HostRead grad = model.state().parameters.read_grad(p);
        for (int64_t i = 0; i < p.size; ++i) slope += double{grad[i]} * direction[at++];
      }
      constexpr float kStep = 2e-3f;
      move_adapters(model, direction, kStep);
      const double above = run_pass(model, *task, rows, false).loss;
      move_adapters(model, direction, -2 * kStep);
      const double below = run_pass(model, *task, rows, false).loss;
      move_adapters(model, direction, kStep);
      EXPECT_NEAR((above - below) / (2 * double{kStep}), slope, 2e-3 + 0.02 * std::fabs(slope)) << what;
    }
  }
  static int64_t adapter_size(const Model& model) {
    int64_t size = 0;
    for (const engine::Parameter& p : model.state().parameters.parameters())
      size += p.of_adapter ? p.size : 0;
    return size;
  }
  static void move_adapters(const Model& model, const std::vector<float>& direction, float step) {
    models::State& state = model.state();
    size_t at = 0;
    for (const engine::Parameter& p : state.parameters.parameters()) {
      if (!p.of_adapter) continue;
      const engine::HostWrite values = state.parameters.write_value(p);
      for (int64_t i = 0; i < p.size; ++i) values.data()[i] += step * direction[at++];
    }
    state.parameters.touch_values();
  }
  static data::RaggedBatch batch(const Model& model) { return RandomFeatures(model, 12, 20).batch(12); }
  TinyRun run_;
};

}  // namespace graft::test
