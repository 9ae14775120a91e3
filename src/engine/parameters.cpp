#include "engine/parameters.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "engine/glob.h"

namespace graft::engine {
namespace {
constexpr int64_t kAlign = 16;  // floats: one cache line
}

FloatBuffer::FloatBuffer(int64_t n, const Device& device) : device_(&device), size_(n), capacity_(n) {
  if (n == 0) return;
  data_ =
      static_cast<float*>(device.alloc(static_cast<size_t>(n) * 4, "parameters, their gradients or moments"));
}

void FloatBuffer::resize(int64_t n) {
  if (n > capacity_) {
    FloatBuffer larger(std::max(n, 2 * capacity_), *device_);
    if (size_ > 0) device_->copy(larger.data_, data_, static_cast<size_t>(size_) * 4);
    std::swap(data_, larger.data_);
    std::swap(capacity_, larger.capacity_);
  } else if (n > size_) {
    device_->fill(data_ + size_, n - size_, 0);
  }
  size_ = n;
}

void FloatBuffer::expect_scattered(int64_t begin, int64_t end) {
  if (!device_->is_host) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data_ + begin) + page - 1) / page * page;
  const uintptr_t last = reinterpret_cast<uintptr_t>(data_ + end) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_NOHUGEPAGE);
}

FloatBuffer::~FloatBuffer() {
  if (data_) device_->free(data_, static_cast<size_t>(capacity_) * 4);
}

FloatBuffer::FloatBuffer(FloatBuffer&& other) noexcept { *this = std::move(other); }

FloatBuffer& FloatBuffer::operator=(FloatBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

Parameter& ParameterStore::add(Parameter parameter) { return *add_group({std::move(parameter)}).front(); }

std::vector<Parameter*> ParameterStore::add_group(std::vector<Parameter> group) {
  std::vector<Parameter*> out;
  const auto first = static_cast<int64_t>(parameters_.size());
  size_ = (size_ + kAlign - 1) / kAlign * kAlign;
  grad_size_ = (grad_size_ + kAlign - 1) / kAlign * kAlign;
  for (Parameter& p : group) {
    if (!open_) fail("parameter {} was added after the store was allocated", p.name);
    if (find(p.name)) fail("parameter {} was declared twice", p.name);
    p.size = 1;
    for (const int64_t n : p.shape) p.size *= n;
    p.group = first;
    p.offset = size_;
    size_ += p.size;
    p.grad_offset = p.row_sparse ? -1 : grad_size_;
    if (!p.row_sparse) grad_size_ += p.size;
    sparse_.push_back(p.row_sparse ? std::make_unique<SparseGrad>() : nullptr);
    parameters_.push_back(std::move(p));
    out.push_back(&parameters_.back());
  }
  return out;
}

namespace {

void check_adaptable(const Parameter& matrix) {
  if (matrix.shape.size() != 2 || matrix.row_sparse)
    fail("{} cannot have an adapter: it is no matrix of a linear layer", matrix.name);
  if (matrix.adapter) fail("{} has an adapter already", matrix.name);
}

// "layer.0.query" of layer.0.query.weight.
std::string stem_of(const std::string& name) {
  const std::string ending = ".weight";
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) : name;
}

Parameter part_of_adapter(std::string name, std::vector<int64_t> shape, Init init) {
  Parameter p;
  p.name = std::move(name);
  p.shape = std::move(shape);
  p.init = init;
  p.of_adapter = true;
  return p;
}

}  // namespace

const Adapter& ParameterStore::adapt(Parameter& matrix, const AdapterOptions& options) {
  check_adaptable(matrix);
  if (options.rank < 1) fail("{}: an adapter of rank {}; it must be 1 or more", matrix.name, options.rank);
  const std::string stem = stem_of(matrix.name);
  Parameter a = part_of_adapter(stem + ".lora_A.weight", {options.rank, matrix.cols()}, Init::normal);
  // The variance of peft's kaiming_uniform_(a=sqrt(5)), which draws from +-1/sqrt(in).
  a.init_std = 1 / std::sqrt(3 * static_cast<double>(matrix.cols()));
  Adapter adapter;
  adapter.a = &add(std::move(a));
  adapter.b = &add(part_of_adapter(stem + ".lora_B.weight", {matrix.rows(), options.rank}, Init::zeros));
  if (options.magnitude)
    adapter.magnitude = &add(part_of_adapter(stem + ".lora_magnitude_vector", {matrix.rows()}, Init::ones));
  adapter.scale = options.scale;
  adapter.dropout = options.dropout;
  adapters_drop_ |= options.dropout > 0;
  matrix.adapter = adapter;
  matrix.trainable = false;
  return matrix.adapter;
}

const Adapter& ParameterStore::adapt_by_factors(Parameter& matrix, bool scales_input) {
  check_adaptable(matrix);
  const std::vector<int64_t> shape =
      scales_input ? std::vector<int64_t>{1, matrix.cols()} : std::vector<int64_t>{matrix.rows(), 1};
  Adapter adapter;
  adapter.factors = &add(part_of_adapter(stem_of(matrix.name) + ".ia3_l", shape, Init::ones));
  adapter.scales_input = scales_input;
  matrix.adapter = adapter;
  matrix.trainable = false;
  return matrix.adapter;
}

namespace {

// Moves n floats. On the host in pieces, whose pages are given back at once: the two memories together hold
// one copy of the values. `from` is freed afterwards.
void move_floats(const Device& device, float* to, float* from, int64_t n) {
  constexpr int64_t kPiece = int64_t{1} << 21;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = std::min(n, begin + kPiece);
    device.copy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(float));
    if (!device.is_host) continue;
    const uintptr_t first = (reinterpret_cast<uintptr_t>(from + begin) + page - 1) / page * page,
                    last = reinterpret_cast<uintptr_t>(from + end) / page * page;
    if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
}

}  // namespace

void ParameterStore::share_values(ParameterStore& from, const std::vector<Parameter*>& parameters) {
  if (allocated() || lender_) fail("values can be shared once, before the store is allocated");
  lender_ = &from;
  for (Parameter* p : parameters) {
    const Parameter* found = from.find(p->name);
    if (found && found->shape == p->shape) p->shared = found;
  }
  size_ = 0;
  for (size_t begin = 0, end = 0; begin < parameters_.size(); begin = end) {
    for (end = begin; end < parameters_.size() && parameters_[end].group == parameters_[begin].group;) ++end;
    bool whole = true;  // the group lies together in both stores
    for (size_t i = begin; i < end; ++i) {
      const Parameter &p = parameters_[i], &first = parameters_[begin];
      whole &= p.shared && first.shared && p.shared->offset - first.shared->offset == p.offset - first.offset;
    }
    size_ = (size_ + kAlign - 1) / kAlign * kAlign;
    for (size_t i = begin; i < end; ++i) {
      Parameter& p = parameters_[i];
      if (!whole) p.shared = nullptr;
      p.offset = whole ? p.shared->offset : size_;
      if (!whole) size_ += p.size;
    }
  }
}

HostWrite ParameterStore::write_value(const Parameter& p) {
  if (p.shared)
    fail_with("load the model alone: it then has weights of its own",
              "{} cannot be changed: several models share these weights", p.name);
  return {device(), value(p), p.size};
}

bool ParameterStore::trains_layers() const {
  return std::any_of(parameters_.begin(), parameters_.end(),
                     [](const Parameter& p) { return p.is_linear && p.trainable && p.part != Part::head; });
}

Derived& ParameterStore::derived(const Parameter& first, int count, int kind) {
  const DerivedKey key{&first, count, kind};
  Derived& entry = derived_[key];
  if (!entry.of.empty()) return entry;
  auto p =
      std::find_if(parameters_.begin(), parameters_.end(), [&](const Parameter& q) { return &q == &first; });
  for (int i = 0; i < count && p != parameters_.end(); ++i, ++p) {
    entry.of.push_back(&*p);
    derived_from_[&*p].push_back(key);
  }
  return entry;
}

void ParameterStore::allocate() {
  size_ = (size_ + kAlign - 1) / kAlign * kAlign;
  FloatBuffer values(std::max<int64_t>(size_, kAlign), device());
  if (allocated()) move_floats(device(), values.data(), values_.data(), values_.size());
  values_ = std::move(values);
  open_ = false;
  touch_values();
}

void ParameterStore::reopen() {
  if (has_grads()) fail("parameters cannot be added: the store has gradients");
  open_ = true;
}

void ParameterStore::allocate_grads() {
  if (has_grads_) return;
  if (lender_)
    fail_with("load the model alone: it then has weights of its own",
              "a model that shares the weights of another cannot be trained");
  grads_ = FloatBuffer(std::max<int64_t>(grad_size_, kAlign), device());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!sparse_[i]) continue;
    sparse_[i]->rows = FloatBuffer(0, device());
    sparse_[i]->slot_of.assign(static_cast<size_t>(parameters_[i].rows()), -1);
  }
  has_grads_ = true;
}

const Parameter* ParameterStore::find(const std::string& name) const {
  const auto it = std::find_if(parameters_.begin(), parameters_.end(),
                               [&](const Parameter& p) { return p.name == name; });
  return it == parameters_.end() ? nullptr : &*it;
}

Parameter* ParameterStore::find(const std::string& name) {
  return const_cast<Parameter*>(std::as_const(*this).find(name));
}

std::vector<Parameter*> ParameterStore::select(const std::string& pattern) {
  const Glob glob(pattern);
  std::vector<Parameter*> out;
  for (Parameter& p : parameters_) {
    if (glob.matches(p.name)) out.push_back(&p);
  }
  if (!out.empty()) return out;
  std::vector<std::string> names;
  for (const Parameter& p : parameters_) names.push_back(p.name);
  std::string near;
  for (const std::string& name : glob.nearest(names, 3)) near += (near.empty() ? "" : ", ") + name;
  fail_with(near.empty() ? "" : "the nearest names are " + near, "no parameter matches \"{}\"", pattern);
}

int64_t ParameterStore::grad_size() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.trainable && !p.row_sparse ? p.size : 0;
  return n;
}

int64_t ParameterStore::num_parameters() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.size;
  return n;
}

SparseGrad& ParameterStore::sparse_grad(const Parameter& p) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (&parameters_[i] == &p && sparse_[i]) return *sparse_[i];
  }
  fail("parameter {} has no row-sparse gradient", p.name);
}

void ParameterStore::clear_grads() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].has_grad = false;
    if (!sparse_[i]) continue;
    for (const int32_t id : sparse_[i]->ids) sparse_[i]->slot_of[static_cast<size_t>(id)] = -1;
    sparse_[i]->ids.clear();
    sparse_[i]->rows.resize(0);
  }
}

void ParameterStore::settle_grads() {
  for (Parameter& p : parameters_) {
    if (p.has_grad || p.row_sparse || !p.trainable) continue;
    device().fill(grad(p), p.size, 0);
    p.has_grad = true;
  }
}

}  // namespace graft::engine
