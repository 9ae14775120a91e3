// Every parameter of a model in one flat fp32 memory, with views by checkpoint name (docs/design.md, idea 5).
#pragma once
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"

namespace graft::engine {

// Initialisation of a parameter that the checkpoint lacks: the reference's _init_weights.
enum class Init : uint8_t { normal, zeros, ones };

struct Parameter;

// What a linear layer with the frozen matrix w [out, in] computes beside x w^T.
struct Adapter {
  // LoRA (Hu et al. 2022): x w^T + scale * (drop(x) a^T) b^T.
  Parameter *a = nullptr, *b = nullptr;  // [rank, in], [out, rank]
  float scale = 1, dropout = 0;
  // DoRA (Liu et al. 2024): the rows of w + scale * b a, scaled to these lengths; null without.
  Parameter* magnitude = nullptr;  // [out]
  // (IA)3 (Liu et al. 2022): factors of the outputs, bias included, or of the inputs; null without.
  Parameter* factors = nullptr;  // [out, 1] or [1, in]
  bool scales_input = false;

  explicit operator bool() const { return a || factors; }
};

struct AdapterOptions {
  int64_t rank = 8;
  float scale = 1, dropout = 0;
  bool magnitude = false;
};

// Where a parameter stands in a model: below its layers, in one, or above them.
enum class Part : uint8_t { embeddings, layer, head };

struct Parameter {
  std::string name;            // as in the checkpoint
  std::vector<int64_t> shape;  // row-major
  Init init = Init::normal;
  double init_std = 0;             // of Init::normal; 0 = the config's initializer_range
  double init_cutoff = 0;          // values farther from zero are drawn again; 0 = none
  double init_factor = 1;          // the value of Init::ones
  bool stored_transposed = false;  // the checkpoint holds [in, out] (GPT-2's Conv1D); here it is [out, in]
  bool row_sparse = false;         // gradient kept as rows by id; only for embeddings no matrix product reads
  bool no_decay = false;  // no weight decay: biases and normalisation layers, as the reference's groups
  bool unused = false;    // no operation reads it: it is kept for the checkpoint and never trained
  bool trainable = true;  // frozen otherwise: gets no gradient, no moments and no update
  double lr_scale = 1;    // factor of the learning rate
  std::optional<double> weight_decay{};  // in place of the optimizer's
  Part part = Part::head;
  int64_t depth = 0;             // 0 = above the layers, 1 = in the top one, ..., num_layers + 1 = below them
  int64_t frozen_steps = 0;      // of gradual unfreezing: optimizer steps before its first one
  int64_t padding_row = -1;      // row initialised to zero, without gradient from a lookup
  int64_t offset = 0, size = 0;  // floats in the flat memory
  int64_t grad_offset = 0;       // floats in the flat gradient; -1 for row_sparse
  bool has_grad = false;         // written since the last clear_grads
  bool is_linear = false;        // the matrix of a linear layer: it may have an adapter
  bool of_adapter = false;       // belongs to an adapter and not to the model itself
  bool with_adapter = false;     // trained and saved beside the adapters of a model (a head)
  bool frozen_adapter = false;   // of a language adapter below the model's own: neither trained nor saved
  bool of_generator = false;     // of the generator beside a model (models/generator.h): saved apart
  int64_t group = 0;             // index of the first parameter of its add_group
  const Parameter* shared = nullptr;  // of another store, whose values are this one's too (share_values)
  Adapter adapter{};

  int64_t rows() const { return shape.size() > 1 ? shape[0] : 1; }
  int64_t cols() const { return size / rows(); }
};

// Zero-initialised floats of a device; on the CPU their pages take no memory before the first access.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  FloatBuffer(int64_t n, const Device& device);
  ~FloatBuffer();
  FloatBuffer(FloatBuffer&& other) noexcept;
  FloatBuffer& operator=(FloatBuffer&& other) noexcept;
  float* data() const { return data_; }
  int64_t size() const { return size_; }
  // Keeps the first min(size, n) floats; the others are zeros. Memory grows by doubling and is kept.
  void resize(int64_t n);
  // Call before the first access if floats [begin, end) are accessed sparsely: uses small pages instead of 2
  // MB pages.
  void expect_scattered(int64_t begin, int64_t end);

 private:
  const Device* device_ = nullptr;
  float* data_ = nullptr;
  int64_t size_ = 0, capacity_ = 0;
};

// Gradient of a row-sparse parameter: rows in the order of their first use since clear_grads.
struct SparseGrad {
  std::vector<int32_t> ids;      // [n] rows of the parameter
  FloatBuffer rows;              // [n, cols]
  std::vector<int32_t> slot_of;  // [parameter rows] index into ids, or -1
};

// Values of `count` parameters from `first` on, in a layout of this kind.
struct DerivedKey {
  const Parameter* first;
  int count, kind;
  auto operator<=>(const DerivedKey&) const = default;
};
// A device's copy of values in another layout (packed weights), with the version of its source.
struct Derived {
  std::vector<const Parameter*> of;
  std::shared_ptr<void> data;
  uint64_t version = 0;
  // An update that writes the copy beside the values: to this version, after so many more parameters.
  uint64_t updating = 0;
  int64_t missing = 0;
};
// The kind of layout of packed weights, for ParameterStore::derived.
inline int form_of_weights(bool transposed, DType as) {
  return (transposed ? 1 : 0) + (as == DType::f32 ? 2 : 0);
}

class ParameterStore {
 public:
  explicit ParameterStore(const Device& device = default_device()) : device_(&device) {}
  const Device& device() const { return *device_; }

  // Declares parameters. Those of one call are adjacent in memory and can be used as one matrix.
  Parameter& add(Parameter parameter);
  std::vector<Parameter*> add_group(std::vector<Parameter> parameters);
  // Freezes a matrix and declares an adapter of it: NAME.lora_A.weight and NAME.lora_B.weight for
  // NAME.weight, and NAME.lora_magnitude_vector. As in the reference (peft) b starts at zero, so that the
  // layer computes what it did; the lengths start as ones.
  const Adapter& adapt(Parameter& matrix, const AdapterOptions& options);
  // The same for factors of a layer's outputs or inputs, NAME.ia3_l, which start as ones.
  const Adapter& adapt_by_factors(Parameter& matrix, bool scales_input);
  bool adapters_drop() const { return adapters_drop_; }  // one of them has dropout
  // Before the first allocate(): these parameters have the values that `from` has for their names, in its
  // memory. `from` must outlive this store. A parameter that `from` lacks, or has in another shape, keeps
  // memory of its own, and so does its whole group. Shared values cannot be written or trained here.
  void share_values(ParameterStore& from, const std::vector<Parameter*>& parameters);
  ParameterStore* lender() const { return lender_; }  // of the shared values; null: there are none
  // Fixes the layout and allocates zero values. add() is an error afterwards, until reopen().
  void allocate();
  // Lets parameters be added to an allocated store without gradients. The next allocate() keeps all values;
  // until then the new ones have none.
  void reopen();
  // Allocates gradients; only training needs them.
  void allocate_grads();
  bool allocated() const { return values_.size() > 0; }
  bool has_grads() const { return has_grads_; }

  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  Parameter* find(const std::string& name);
  const Parameter* find(const std::string& name) const;
  // The parameters whose whole name matches the pattern, in their order; * ? and [0-3] as in a shell, where *
  // also matches dots. Throws Error with the nearest names if there is none.
  std::vector<Parameter*> select(const std::string& pattern);
  int64_t num_parameters() const;
  // Whether a matrix of a linear layer below the heads is trained.
  bool trains_layers() const;

  // Memory of the device; null before allocation, as in a plan.
  float* value(const Parameter& p) const {
    if (p.shared) return lender_->value(*p.shared);
    return allocated() ? values_.data() + p.offset : nullptr;
  }
  float* grad(const Parameter& p) const {
    return grads_.size() > 0 ? grads_.data() + p.grad_offset : nullptr;
  }
  SparseGrad& sparse_grad(const Parameter& p);
  const SparseGrad& sparse_grad(const Parameter& p) const {
    return const_cast<ParameterStore*>(this)->sparse_grad(p);
  }
  // Values and gradients for host code; a row-sparse gradient is read from sparse_grad.
  HostRead read_value(const Parameter& p) const { return {device(), value(p), p.size}; }
  HostRead read_grad(const Parameter& p) const { return {device(), grad(p), p.size}; }
  // Throws Error for shared values.
  HostWrite write_value(const Parameter& p);
  // Clears all gradients. The memory is kept; the next write overwrites it.
  void clear_grads();
  // Writes zeros into the gradients of parameters that no backward pass reached.
  void settle_grads();

  int64_t value_size() const { return size_; }  // floats of its own memory
  int64_t grad_size() const;                    // of the dense gradients of trained parameters
  // The entry of a key, empty at the first call. Hold derived_mutex() during the call and while filling the
  // entry. References stay valid.
  Derived& derived(const Parameter& first, int count, int kind);
  // The keys of all entries that hold values of this parameter. Hold derived_mutex().
  const std::vector<DerivedKey>& derived_from(const Parameter& p) { return derived_from_[&p]; }
  std::mutex& derived_mutex() { return derived_mutex_; }
  uint64_t version() const { return version_; }  // changes with the values; invalidates packed copies
  void touch_values() { ++version_; }

 private:
  const Device* device_;
  ParameterStore* lender_ = nullptr;
  std::deque<Parameter> parameters_;
  std::vector<std::unique_ptr<SparseGrad>> sparse_;  // by parameter index, null for dense
  FloatBuffer values_, grads_;
  int64_t size_ = 0, grad_size_ = 0;
  bool has_grads_ = false, open_ = true, adapters_drop_ = false;
  uint64_t version_ = 0;
  std::map<DerivedKey, Derived> derived_;
  std::map<const Parameter*, std::vector<DerivedKey>> derived_from_;
  std::mutex derived_mutex_;
};

}  // namespace graft::engine
