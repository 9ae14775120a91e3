#include "generate/causal_decoder.h"

#include "base/error.h"
#include "generate/pass_memory.h"
#include "models/decoder.h"

namespace graft::generate {

using engine::Tape;
using engine::Tensor;
using engine::Var;

namespace {

Var next_token_logits(Tape& tape, const models::State& state, Var hidden) {
  return state.network.head->logits(tape, hidden, {});
}

// Keys and values of sequence s lie in rows [slot * max_length, ...) of each layer's tables. A sequence keeps
// the slot of its parent; of several successors only the later ones are copied.
class CachedDecoder : public Decoder {
 public:
  CachedDecoder(models::State& state, const models::CausalDecoder& model, int64_t max_sequences,
                int64_t max_length)
      : state_(state), model_(model), memory_(state), max_length_(max_length) {
    const int64_t width = model.key_width(), rows = max_sequences * max_length;
    buffer_ = engine::FloatBuffer(2 * model.num_layers() * rows * width, state.parameters.device());
    float* at = buffer_.data();
    for (int64_t i = 0; i < model.num_layers(); ++i) {
      for (std::vector<Tensor>* table : {&cache_.keys, &cache_.values}) {
        table->push_back(engine::make_tensor(at, rows, width));
        at += rows * width;
      }
    }
    for (int64_t slot = max_sequences; slot-- > 0;) free_.push_back(slot);
  }

  Tensor start(const std::vector<std::vector<int32_t>>& prompts) override {
    for (const Sequence& s : sequences_) free_.push_back(s.slot);
    sequences_.clear();
    batch_.clear();
    for (const std::vector<int32_t>& prompt : prompts) {
      sequences_.push_back({take_slot(), 0});
      append(sequences_.back(), prompt.data(), static_cast<int32_t>(prompt.size()));
    }
    return pass(true);
  }

  Tensor step(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens) override {
    std::vector<Sequence> next(parents.size());
    std::vector<int32_t> successors(sequences_.size());
    for (size_t i = 0; i < parents.size(); ++i)
      if (successors[at(parents[i])]++ == 0) next[i] = sequences_[at(parents[i])];
    for (size_t p = 0; p < sequences_.size(); ++p)
      if (successors[p] == 0) free_.push_back(sequences_[p].slot);
    for (size_t i = 0; i < parents.size(); ++i) {
      if (next[i].slot >= 0) continue;
      next[i] = {take_slot(), sequences_[at(parents[i])].length};
      copy(sequences_[at(parents[i])], next[i]);
    }
    sequences_ = std::move(next);
    batch_.clear();
    for (size_t i = 0; i < tokens.size(); ++i) append(sequences_[i], &tokens[i], 1);
    return pass(false);
  }

 private:
  struct Sequence {
    int64_t slot = -1;
    int32_t length = 0;
  };
  static size_t at(int32_t i) { return static_cast<size_t>(i); }

  int64_t take_slot() {
    if (free_.empty()) fail("generation: more sequences than were announced");
    const int64_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  void append(Sequence& s, const int32_t* tokens, int32_t n) {
    if (s.length + n > max_length_)
      fail("generation: a sequence of {} tokens, {} were announced", s.length + n, max_length_);
    const int32_t first = batch_.rows();
    batch_.append(tokens, nullptr, n, static_cast<int64_t>(batch_.size()));
    for (int32_t r = first; r < batch_.rows(); ++r) batch_.position_in_example[at(r)] += s.length;
    s.length += n;
  }

  void copy(const Sequence& from, const Sequence& to) {
    const engine::Device& device = state_.parameters.device();
    for (const std::vector<Tensor>* tables : {&cache_.keys, &cache_.values})
      for (const Tensor& t : *tables)
        device.copy(t.row(to.slot * max_length_), t.row(from.slot * max_length_),
                    static_cast<size_t>(from.length * t.cols) * sizeof(float));
  }

  Tensor pass(bool first) {
    rows_.clear();
    begin_.clear();
    length_.clear();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const Sequence& s = sequences_[i];
      begin_.push_back(s.slot * max_length_);
      length_.push_back(s.length);
      const int32_t n = batch_.cu_seqlens[i + 1] - batch_.cu_seqlens[i];
      for (int32_t k = 0; k < n; ++k) rows_.push_back(begin_.back() + s.length - n + k);
    }
    cache_.rows = rows_.data();
    cache_.begin = begin_.data();
    cache_.length = length_.data();
    cache_.empty = first;
    return memory_.run(batch_.rows(), batch_.size(), [&](Tape& tape) {
      return next_token_logits(tape, state_, model_.decode(tape, models::make_inputs(tape, batch_), cache_));
    });
  }

  models::State& state_;
  const models::CausalDecoder& model_;
  PassMemory memory_;
  int64_t max_length_;
  engine::FloatBuffer buffer_;
  models::KeyValueCache cache_;
  std::vector<Sequence> sequences_;
  std::vector<int64_t> free_, rows_, begin_;
  std::vector<int32_t> length_;
  data::RaggedBatch batch_;
};

class UncachedDecoder : public Decoder {
 public:
  explicit UncachedDecoder(models::State& state) : state_(state), memory_(state) {}

  Tensor start(const std::vector<std::vector<int32_t>>& prompts) override {
    sequences_ = prompts;
    return pass();
  }
  Tensor step(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens) override {
    std::vector<std::vector<int32_t>> next;
    for (size_t i = 0; i < parents.size(); ++i) {
      next.push_back(sequences_[static_cast<size_t>(parents[i])]);
      next.back().push_back(tokens[i]);
    }
    sequences_ = std::move(next);
    return pass();
  }

 private:
  Tensor pass() {
    batch_.clear();
    for (const std::vector<int32_t>& s : sequences_)
      batch_.append(s.data(), nullptr, static_cast<int32_t>(s.size()), static_cast<int64_t>(batch_.size()));
    return memory_.run(batch_.rows(), batch_.size(), [&](Tape& tape) {
      models::RowSelection last = models::last_rows(tape, batch_);
      last.one_row_each = false;  // products of the last layer as with a cache
      return next_token_logits(tape, state_,
                               state_.network.encoder->encode(tape, models::make_inputs(tape, batch_), last));
    });
  }

  models::State& state_;
  PassMemory memory_;
  std::vector<std::vector<int32_t>> sequences_;
  data::RaggedBatch batch_;
};

}  // namespace

std::unique_ptr<Decoder> make_causal_decoder(models::State& state, int64_t max_sequences, int64_t max_length,
                                             bool use_cache) {
  const models::CausalDecoder* model = state.network.encoder->decoder();
  if (!model || !state.head->predicts_next)
    fail_with("use a causal language model, or train one: graft train --task causal-lm",
              "{}: a {} model does not continue texts", state.origin.string(), state.task);
  if (!use_cache) return std::make_unique<UncachedDecoder>(state);
  return std::make_unique<CachedDecoder>(state, *model, max_sequences, max_length);
}

}  // namespace graft::generate
