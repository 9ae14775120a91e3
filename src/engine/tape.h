// Reverse-mode differentiation over an arena. Operations are executed eagerly and record their backward pass.
#pragma once
#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/denormals.h"
#include "engine/arena.h"
#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::engine {

// A result on the tape. Its lifetime ends with the step or after its backward pass.
struct Value {
  Tensor data;
  Tensor bf16_copy{};  // set when a matrix product needs it
  Tensor grad{};       // set by the first contribution
  bool needs_grad = false;
  const Rows* rows = nullptr;  // what its rows are; known where adapters drop their input
  bool keeps_copy = false;     // the backward pass reads bf16_copy: a product with trained weights
};
using Var = Value*;

// The mode of a forward pass.
struct TapeOptions {
  bool training = false;     // applies dropout
  bool record = false;       // operations record their backward pass
  uint64_t seed = 0;         // of the run
  uint64_t step = 0;         // optimizer step: part of every dropout key
  bool bf16 = false;         // matrix products of linear layers in bf16 with fp32 accumulation
  bool packed_fp32 = false;  // fp32 weights are packed as well: for many passes with the same values
  bool by_row = false;       // products that are fast for few rows, with their own bits
  bool checkpoints = false;  // segments drop their activations and compute them again in the backward pass
  float neftune_noise_alpha = 0;  // noise on embeddings in training
};

class Tape {
 public:
  // Computes on the device of the parameters, where the arena lies, too.
  Tape(Arena& arena, ParameterStore& parameters, TapeOptions options)
      : Tape(parameters.device().kernels(), arena, parameters, options) {}
  // The same with another table for its kernels: a dry run, a search for NaN.
  Tape(const Kernels& kernels, Arena& arena, ParameterStore& parameters, TapeOptions options)
      : kernels_(kernels),
        arena_(arena),
        parameters_(parameters),
        options_(options),
        frees_copies_(options.record && !options.checkpoints && !parameters.trains_layers()) {}

  const Kernels& kernels() const { return kernels_; }
  Arena& arena() { return arena_; }
  ParameterStore& parameters() { return parameters_; }
  const TapeOptions& options() const { return options_; }
  bool record() const { return options_.record; }
  // True in a dry run: kernels compute nothing, and only the arena may change.
  bool planning() const { return &kernels_ == &device().plan_kernels(); }
  const Device& device() const { return parameters_.device(); }

  // Dropout of probability p for the operation called `scope`; none outside training.
  Dropout dropout(float p, std::string_view scope) const;
  // Notes what the rows of v are, for the dropout of adapters; nothing where no adapter drops. The arrays
  // outlive the tape.
  void note_rows(Var v, const Rows& rows);
  void note_rows(Var v, Var same_rows) {
    if (v) v->rows = same_rows->rows;
  }
  bool notes_rows() const { return options_.training && parameters_.adapters_drop(); }
  // Another pass over the same batch, with dropout and noise of its own.
  void next_pass() { options_.seed += 0x9E3779B97F4A7C15u; }

  // Uninitialised memory of the device for kernels, valid as long as the tape.
  Tensor push(int64_t rows, int64_t cols, DType dtype = DType::f32);
  template <class T>
  T* push_scratch(int64_t n) {
    return static_cast<T*>(arena_.push_result(static_cast<size_t>(n) * sizeof(T)));
  }
  // Uninitialised memory of the host.
  template <class T>
  T* push_array(int64_t n) {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer
    return static_cast<T*>(arena_.push(static_cast<size_t>(n) * sizeof(T)));
  }
  template <class T>
  T* push_copy(const T* from, int64_t n) {
    T* to = push_array<T>(n);
    std::copy_n(from, n, to);
    return to;
  }

  // Host data where kernels can read it: the data itself where the device's memory is the host's, else a
  // copy, made once. `host` must not change while the tape exists.
  template <class T>
  const T* on_device(const T* host, int64_t n) {
    if (device().is_host || !host) return host;
    return static_cast<const T*>(mirror(host, static_cast<size_t>(n) * sizeof(T)));
  }
  Rows on_device(const Rows& rows);
  // The same for data that changes; free it with give_copy().
  template <class T>
  const T* take_copy(const T* host, int64_t n) {
    if (device().is_host) return host;
    return static_cast<const T*>(copied(host, static_cast<size_t>(n) * sizeof(T)));
  }
  void give_copy(const void* p) {
    if (!device().is_host) give(const_cast<void*>(p));
  }
  // A result for host code, [rows, cols] without a stride where it is a copy.
  Tensor on_host(Tensor t);
  float scalar(Var v) { return *on_host(v->data).f32(); }

  // The bf16 copy of v, created at the first call and padded with zero rows to a multiple of 32. Where the
  // matrices of the layers are frozen it is freed behind its segment, unless `v` keeps it.
  Tensor bf16_copy_of(Var v);
  // Memory for a bf16 copy that the kernel of a result fills; null in fp32.
  Tensor push_bf16_copy(int64_t rows, int64_t cols);

  // A constant.
  Var constant(Tensor data);
  // The result of an operation. It needs a gradient if an input does or if the operation trains a parameter.
  Var result(Tensor data, bool needs_grad, Tensor bf16_copy = {});

  // Registers f(tape), which backward calls if `out` has a gradient. Frees that gradient afterwards, unless f
  // handed its memory on and cleared it.
  template <class F>
  void on_backward(Var out, F f) {
    on_backward(out, nullptr, std::move(f));
  }
  // The same for an operation with two results: called if one of them has a gradient.
  template <class F>
  void on_backward(Var out, Var second, F f) {
    static_assert(std::is_trivially_destructible_v<F>, "the arena destroys nothing");
    if (!record() || !(out->needs_grad || (second && second->needs_grad))) return;
    auto* state = new (arena_.push(sizeof(F))) F(std::move(f));
    last_ = new (arena_.push(sizeof(Node)))
        Node{last_, {out, second}, state, [](void* s, Tape& t) { (*static_cast<F*>(s))(t); }};
  }

  // The results of a segment: one, or two.
  using Results = std::array<Var, 2>;
  // f(tape), which is a part of the pass, for example a layer. Where nothing is recorded, its results are
  // kept and its activations dropped. With TapeOptions::checkpoints they are dropped in training, too; the
  // backward pass calls f a second time and runs the segment backwards (Chen et al. 2016). The operations are
  // the same ones in the same order, and dropout is a function of its key, so results and gradients have the
  // same bits. f holds copies or pointers into the tape, the batch and the model: what it refers to must live
  // as long as the tape.
  template <class F>
  Results segment(F f) {
    if (record() && !options_.checkpoints) {
      const Results results = f(*this);
      free_copies(results);
      return results;
    }
    static_assert(std::is_trivially_destructible_v<F>, "the arena destroys nothing");
    Segment s;
    s.state = record() ? new (arena_.push(sizeof(F))) F(std::move(f)) : &f;
    s.run = [](void* state, Tape& t) -> Results { return (*static_cast<F*>(state))(t); };
    return record() ? checkpoint(s) : run_and_keep(s);
  }

  // Memory for v's gradient. `add` is set if it already has a value to add to.
  Tensor grad_of(Var v, bool& add);
  // Temporary memory of a backward operation.
  float* take(int64_t floats) { return static_cast<float*>(arena_.take(static_cast<size_t>(floats) * 4)); }
  void give(void* p) { arena_.give(p); }

  // Runs the tape backwards from the scalar `loss` with gradient `seed`; parameter gradients are added to the
  // store.
  void backward(Var loss, float seed = 1.0f);

 private:
  struct Node {
    Node* previous;
    Var out[2];  // the second may be null
    void* state;
    void (*run)(void*, Tape&);
  };
  struct Segment {
    void* state;
    Results (*run)(void*, Tape&);
  };
  Results run_and_keep(const Segment& s);
  Results checkpoint(const Segment& s);
  Tensor kept(const Tensor& result);
  void free_copies(const Results& results);
  template <class F>
  void with_temporary_stack(F f);
  void replay(const Segment& s, const TapeOptions& options, const Results& results);
  void run_back(Node* from);
  const void* mirror(const void* host, size_t bytes);
  void* copied(const void* host, size_t bytes);

  const Kernels& kernels_;
  Arena& arena_;
  ParameterStore& parameters_;
  TapeOptions options_;
  Node* last_ = nullptr;
  struct Mirror {
    const void* host;
    size_t bytes;
    const void* copy;
  };
  std::vector<Mirror> mirrors_;
  std::vector<Var> cast_;           // to bf16, in this order
  bool frees_copies_;               // bf16 copies lie in the heap
  std::vector<Var> copied_;         // values whose copies lie there
  FlushDenormals flush_denormals_;  // a tape belongs to one thread
};

}  // namespace graft::engine
