// What the tests of models, tasks and training share: fixture models, random examples for them, one pass over
// a batch.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "graft/model.h"
#include "hub/state_dict.h"
#include "models/state.h"
#include "support/shared.h"
#include "tasks/task.h"
#include "train/runner.h"

namespace graft::test {

// "bert/seqcls_single", ...: the fixtures of the architectures and heads there are. Without ../shared only
// Leaves out fixtures that the repository lacks where there is no ../shared; where it is there, a missing one
// is an error.
void keep_available(std::vector<std::string>& names);
// the committed ones.
const std::vector<std::string>& fixture_names();
// Those with one head of each kind that the tests of one architecture need.
const std::vector<std::string>& single_and_mlm_names();

// The folder of such a name: the committed one, or that of ../shared.
std::filesystem::path fixture_folder(const std::string& name);

// Loads a checkpoint folder with the task that its config.json names.
Model load_model(const std::filesystem::path& folder, ModelOptions options = {});

// A copy of a folder's files that a test may change.
void copy_folder(const std::filesystem::path& from, const std::filesystem::path& to);
// Copies config.json and model.safetensors, with config.json changed.
void copy_with_config(const std::filesystem::path& from, const std::filesystem::path& to,
                      const std::function<void(Json&)>& edit);
// Copies config.json and model.safetensors, with tensors renamed ("" drops one).
void copy_with_names(const std::filesystem::path& from, const std::filesystem::path& to,
                     const std::function<std::string(const std::string&)>& rename);
// Sets every dropout of a config.json.
void set_dropout(Json& config, double p);

// Tensors of a state dict with memory of their own, to be changed and written again.
struct OwnedTensors {
  std::vector<hub::TensorToWrite> tensors;
  std::vector<std::vector<float>> values;
  explicit OwnedTensors(const std::filesystem::path& file);
  float* find(const std::string& name);
};

// The task of a model, its problem_type inferred as the fixtures need it.
std::unique_ptr<tasks::Task> make_task(const Model& model);

// Random examples with labels that fit the model: ids that are no padding, lengths 1..max_length. Masked-lm:
// about one row in six has a label.
class RandomFeatures : public tasks::Features {
 public:
  RandomFeatures(const Model& model, int64_t n, int32_t max_length, uint64_t seed = 1);
  // Exactly `length` tokens each.
  static RandomFeatures of_length(const Model& model, int64_t n, int32_t length, uint64_t seed = 1);
  int64_t size() const override { return static_cast<int64_t>(examples_.size()); }
  int32_t length(int64_t i) const override { return static_cast<int32_t>(at(i).ids.size()); }
  // The first n examples, with their own index, as one batch.
  data::RaggedBatch batch(int64_t n) const;

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  struct Example {
    std::vector<int32_t> ids, types, decoder_ids, label_positions;
    std::vector<int32_t> labels;
    std::vector<float> float_labels;
  };
  RandomFeatures() = default;
  void add(const Model& model, int32_t length, class Draws& draws);
  const Example& at(int64_t i) const { return examples_[static_cast<size_t>(i)]; }
  std::vector<Example> examples_;
};

// Logits of a batch, [rows * columns].
std::vector<float> logits_of(const Model& model, const data::RaggedBatch& batch);

// One forward and backward pass.
struct Pass {
  double loss = 0;
  std::vector<float> logits;     // without dropout
  std::vector<float> gradients;  // of all parameters in their order, row-sparse ones made dense
};
// Gradients in the store as one vector.
std::vector<float> all_gradients(models::State& state);
Pass run_pass(const Model& model, const tasks::Task& task, const data::RaggedBatch& batch,
              bool dropout = true, uint64_t seed = 42);

double l2_norm(const std::vector<float>& x);
double largest_difference(const std::vector<float>& a, const std::vector<float>& b);
// All values of all parameters, in their order.
std::vector<float> all_values(const Model& model);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

// Runs f with 1, 2, 3 and 16 threads and expects the same bits from each.
void expect_thread_free(const std::string& what, const std::function<std::vector<float>()>& f);

}  // namespace graft::test
