// A base model in a folder, and runs that train adapters of it.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "models/model_case.h"
#include "train/arguments.h"
#include "train/every_task.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::test {

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
  std::string refused(const TrainingArguments& a) const {
    return error_of([&] { Trainer(base(), a, data(10)); });
  }
  static data::RaggedBatch batch(const Model& model) { return RandomFeatures(model, 12, 20).batch(12); }
  TinyRun run_;
};

}  // namespace graft::test
