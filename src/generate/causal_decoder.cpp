#include "generate/causal_decoder.h"

#include <algorithm>
#include <numeric>

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
                int64_t max_length, std::vector<std::vector<int32_t>> sources)
      : state_(state),
        model_(model),
        memory_(state),
        max_sequences_(max_sequences),
        max_length_(max_length),
        sources_(std::move(sources)) {
    int64_t tokens = 0;
    for (const std::vector<int32_t>& source : sources_) {
      source_begin_.push_back(tokens);
      tokens += static_cast<int64_t>(source.size());
    }
    memory_.expect_cache(4 * cached_floats(max_sequences * max_length + tokens));
    buffer_ = add_tables(max_sequences * max_length, cache_.keys, cache_.values);
    cache_.max_length = max_length;
    if (tokens > 0) source_buffer_ = add_tables(tokens, cache_.source_keys, cache_.source_values);
    for (int64_t slot = max_sequences; slot-- > 0;) free_.push_back(slot);
  }

  Tensor start(const std::vector<std::vector<int32_t>>& prompts) override {
    for (const Sequence& s : sequences_) free_.push_back(s.slot);
    sequences_.clear();
    plan_step();
    if (!sources_.empty()) read_sources(prompts.size());
    batch_.clear();
    std::vector<int32_t> ids(static_cast<size_t>(state_.network.num_virtual_tokens()));
    std::iota(ids.begin(), ids.end(),
              static_cast<int32_t>(state_.network.encoder->word_embeddings()->rows()));
    const size_t virtual_tokens = ids.size();
    for (const std::vector<int32_t>& prompt : prompts) {
      sequences_.push_back({take_slot(), 0, sequences_.size()});
      ids.resize(virtual_tokens);
      ids.insert(ids.end(), prompt.begin(), prompt.end());
      append(sequences_.back(), ids.data(), static_cast<int32_t>(ids.size()));
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
      const Sequence& parent = sequences_[at(parents[i])];
      next[i] = {take_slot(), parent.length, parent.source};
      copy(parent, next[i]);
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
    size_t source = 0;
  };
  static size_t at(int32_t i) { return static_cast<size_t>(i); }

  uint64_t cached_floats(int64_t rows) const {
    return static_cast<uint64_t>(2 * model_.num_layers() * rows * model_.key_width());
  }
  // Keys and values of all layers, [rows, key_width] each.
  engine::FloatBuffer add_tables(int64_t rows, std::vector<Tensor>& keys, std::vector<Tensor>& values) const {
    const int64_t width = model_.key_width();
    engine::FloatBuffer buffer(static_cast<int64_t>(cached_floats(rows)), state_.parameters.device());
    float* at = buffer.data();
    for (int64_t i = 0; i < model_.num_layers(); ++i) {
      for (std::vector<Tensor>* tables : {&keys, &values}) {
        tables->push_back(engine::make_tensor(at, rows, width));
        at += rows * width;
      }
    }
    return buffer;
  }

  void read_sources(size_t prompts) {
    if (prompts != sources_.size()) fail("generation: {} sequences for {} sources", prompts, sources_.size());
    batch_.clear();
    for (const std::vector<int32_t>& source : sources_)
      batch_.append(source.data(), nullptr, static_cast<int32_t>(source.size()), batch_.size());
    PassMemory memory(state_, memory_);
    memory.run(batch_.rows(), batch_.size(), [&](Tape& tape) {
      return model_.read_source(tape, models::make_inputs(tape, batch_), cache_);
    });
  }

  // The largest step, so that a generation that does not fit ends here and not after a part of it.
  void plan_step() {
    const auto n = static_cast<size_t>(max_sequences_);
    const int32_t token = 0;
    batch_.clear();
    for (int64_t i = 0; i < max_sequences_; ++i) batch_.append(&token, nullptr, 1, i);
    rows_.assign(n, 0);
    begin_.assign(n, 0);
    length_.assign(n, static_cast<int32_t>(max_length_));
    size_t longest = 0;
    for (const std::vector<int32_t>& source : sources_) longest = std::max(longest, source.size());
    begin_of_source_.assign(n, 0);
    length_of_source_.assign(n, static_cast<int32_t>(longest));
    memory_.plan(max_sequences_, max_sequences_, logits(false));
  }

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
    begin_of_source_.clear();
    length_of_source_.clear();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const Sequence& s = sequences_[i];
      begin_.push_back(s.slot * max_length_);
      length_.push_back(s.length);
      const int32_t n = batch_.cu_seqlens[i + 1] - batch_.cu_seqlens[i];
      for (int32_t k = 0; k < n; ++k) rows_.push_back(begin_.back() + s.length - n + k);
      if (sources_.empty()) continue;
      begin_of_source_.push_back(source_begin_[s.source]);
      length_of_source_.push_back(static_cast<int32_t>(sources_[s.source].size()));
    }
    return memory_.run(batch_.rows(), batch_.size(), logits(first), !first);
  }

  // The pass over batch_ as rows_, begin_ and the others place it.
  PassMemory::Pass logits(bool first) {
    cache_.source_begin = begin_of_source_.data();
    cache_.source_length = length_of_source_.data();
    cache_.rows = rows_.data();
    cache_.begin = begin_.data();
    cache_.length = length_.data();
    cache_.empty = first;
    return [this](Tape& tape) {
      return next_token_logits(tape, state_, model_.decode(tape, models::make_inputs(tape, batch_), cache_));
    };
  }

  models::State& state_;
  const models::CausalDecoder& model_;
  PassMemory memory_;
  int64_t max_sequences_, max_length_;
  std::vector<std::vector<int32_t>> sources_;
  engine::FloatBuffer buffer_, source_buffer_;
  models::KeyValueCache cache_;
  std::vector<Sequence> sequences_;
  std::vector<int64_t> free_, rows_, begin_, source_begin_, begin_of_source_;
  std::vector<int32_t> length_, length_of_source_;
  data::RaggedBatch batch_;
};

class UncachedDecoder : public Decoder {
 public:
  UncachedDecoder(models::State& state, int64_t max_sequences, int64_t max_length,
                  std::vector<std::vector<int32_t>> sources)
      : state_(state),
        memory_(state),
        max_sequences_(max_sequences),
        max_length_(max_length),
        sources_(std::move(sources)) {}

  Tensor start(const std::vector<std::vector<int32_t>>& prompts) override {
    if (!sources_.empty() && prompts.size() != sources_.size())
      fail("generation: {} sequences for {} sources", prompts.size(), sources_.size());
    plan_longest();
    sequences_ = prompts;
    source_of_.resize(prompts.size());
    std::iota(source_of_.begin(), source_of_.end(), size_t{0});
    return pass();
  }
  Tensor step(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens) override {
    std::vector<std::vector<int32_t>> next;
    std::vector<size_t> sources;
    for (size_t i = 0; i < parents.size(); ++i) {
      next.push_back(sequences_[static_cast<size_t>(parents[i])]);
      next.back().push_back(tokens[i]);
      sources.push_back(source_of_[static_cast<size_t>(parents[i])]);
    }
    sequences_ = std::move(next);
    source_of_ = std::move(sources);
    return pass();
  }

 private:
  // The last pass, if no sequence ends before: one that does not fit ends here.
  void plan_longest() {
    sequences_.assign(static_cast<size_t>(max_sequences_),
                      std::vector<int32_t>(static_cast<size_t>(max_length_)));
    size_t longest = 0;
    for (size_t s = 0; s < sources_.size(); ++s)
      if (sources_[s].size() > sources_[longest].size()) longest = s;
    source_of_.assign(sequences_.size(), longest);
    fill_batch();
    memory_.plan(batch_.all_rows(), batch_.size(), logits());
  }

  Tensor pass() {
    fill_batch();
    return memory_.run(batch_.all_rows(), batch_.size(), logits());
  }

  PassMemory::Pass logits() {
    return [this](Tape& tape) { return state_.network.forward(tape, batch_).logits; };
  }

  void fill_batch() {
    batch_.clear();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const std::vector<int32_t>& own = sequences_[i];
      const std::vector<int32_t>& first = sources_.empty() ? own : sources_[source_of_[i]];
      batch_.append(first.data(), nullptr, static_cast<int32_t>(first.size()), static_cast<int64_t>(i));
      if (!sources_.empty()) batch_.decoder.add(own.data(), nullptr, static_cast<int32_t>(own.size()));
    }
    // The head reads the rows with a label: here the last of each sequence.
    for (size_t i = 0; i < sequences_.size(); ++i)
      batch_.label_rows.push_back(batch_.outputs().cu_seqlens[i + 1] - 1);
  }

  models::State& state_;
  PassMemory memory_;
  int64_t max_sequences_, max_length_;
  std::vector<std::vector<int32_t>> sources_, sequences_;
  std::vector<size_t> source_of_;
  data::RaggedBatch batch_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(models::State& state, int64_t max_sequences, int64_t max_length,
                                      bool use_cache, std::vector<std::vector<int32_t>> sources) {
  const models::CausalDecoder* model = state.network.encoder->decoder();
  if (!model || !state.head->generates())
    fail_with("use a model that generates, or train one: graft train --task causal-lm, or seq2seq-lm",
              "{}: a {} model does not continue texts", state.origin.string(), state.task);
  if (state.head->reads_target == sources.empty())
    fail("{}: generation with {} sources by a {} model", state.origin.string(), sources.size(), state.task);
  if (!use_cache)
    return std::make_unique<UncachedDecoder>(state, max_sequences, max_length, std::move(sources));
  return std::make_unique<CachedDecoder>(state, *model, max_sequences,
                                         max_length + state.network.num_virtual_tokens(), std::move(sources));
}

}  // namespace graft::generate
