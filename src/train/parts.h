// What a Trainer holds.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/collective.h"
#include "graft/trainer.h"
#include "models/state.h"
#include "tasks/task_table.h"
#include "train/runner.h"

namespace graft {

struct Trainer::Parts {
  explicit Parts(Model m) : model(std::move(m)), memory(model.state().parameters.device()) {}
  Model model;
  TrainingArguments arguments;
  Json job_options = Json::object();  // what training_args.json holds beside the arguments
  Json loss_options =
      Json::object();  // of a task with a loss of its own: a resumed run says what changed in them
  std::shared_ptr<Tokenizer> tokenizer;
  // The model is trained on words with a space before each: its folder says add_prefix_space, as that of
  // run_ner, so that a text's first word is read like the others.
  bool prefixes_words = false;
  tasks::PreparedTask features;
  struct NamedFeatures {
    std::string name;
    std::unique_ptr<tasks::Features> features;
  };
  std::vector<NamedFeatures> evaluation_sets;  // instead of features.eval
  // Of linear probing, while it trains: the encoder's results for each data set.
  std::map<const tasks::Features*, std::unique_ptr<models::HiddenSource>> hidden_states;
  train::StepMemory memory;
  int64_t examples_in_a_pass = 0;  // of a rank; larger batches are cut into equal pieces. 0 = the whole batch
  std::map<const tasks::Features*, int64_t> evaluation_batches{};  // the same in an evaluation, where found
  engine::Collective* collective = &engine::single_process();      // the processes that train together
  bool warned_of_permutation = false;
  std::optional<tasks::Collapse> collapse{};  // found by the last evaluation
  std::atomic<bool> stop = false;             // requested; cleared when train() or evaluate() ends
};

namespace train {

// Those of the features, from arguments that a Trainer has settled. `evaluates` is left out.
tasks::FeatureSettings feature_settings(const TrainingArguments& arguments);

// Trains on these features with their task instead of those of the model's own: for a Trainer that was made
// without data, and before it trains.
void use_features(Trainer::Parts& parts, tasks::PreparedTask features);

// Whether a rank was asked to stop; then all of them are.
bool any_stops(Trainer::Parts& parts);

// Clears the stop request at the end of a train() or evaluate().
struct StopRequest {
  explicit StopRequest(Trainer::Parts& p) : parts(p) {}
  ~StopRequest() { parts.stop = false; }
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;
  Trainer::Parts& parts;
};

}  // namespace train

}  // namespace graft
