#include "models/virtual_tokens.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "models/state.h"

namespace graft::models {

data::RaggedBatch with_virtual_tokens(const data::RaggedBatch& batch, int32_t first, int32_t count) {
  data::RaggedBatch out;
  out.sequence_keys = batch.sequence_keys;
  out.examples = batch.examples;
  out.cu_examples = batch.cu_examples;
  std::vector<int32_t> ids(static_cast<size_t>(count)), types(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  size_t label = 0;
  for (int32_t b = 0; b < batch.size(); ++b) {
    const int32_t begin = batch.cu_seqlens[static_cast<size_t>(b)],
                  end = batch.cu_seqlens[static_cast<size_t>(b) + 1];
    ids.resize(static_cast<size_t>(count));
    types.resize(static_cast<size_t>(count));
    ids.insert(ids.end(), batch.input_ids.begin() + begin, batch.input_ids.begin() + end);
    types.insert(types.end(), batch.token_type_ids.begin() + begin, batch.token_type_ids.begin() + end);
    out.add(ids.data(), types.data(), static_cast<int32_t>(ids.size()));
    for (; label < batch.label_rows.size() && batch.label_rows[label] < end; ++label)
      out.label_rows.push_back(batch.label_rows[label] + (b + 1) * count);
  }
  return out;
}

Inputs inputs_on_tape(engine::Tape& tape, const data::RaggedBatch& longer, const data::RaggedBatch& batch) {
  Inputs in = make_inputs(tape, longer);
  in.rows.cu_seqlens = tape.push_copy(in.rows.cu_seqlens, in.rows.num_sequences + 1);
  in.rows.position = tape.push_copy(in.rows.position, in.rows.num_rows);
  in.rows.example = batch.sequence_keys.data();
  in.input_ids = tape.push_copy(in.input_ids, in.rows.num_rows);
  in.token_type_ids = tape.push_copy(in.token_type_ids, in.rows.num_rows);
  in.has_virtual_tokens = true;
  return in;
}

std::vector<int32_t> text_rows(const data::RaggedBatch& longer, int32_t count) {
  std::vector<int32_t> rows;
  for (int32_t r = 0; r < longer.rows(); ++r)
    if (longer.position_in_example[static_cast<size_t>(r)] >= count) rows.push_back(r);
  return rows;
}

namespace {

// Tasks that peft has virtual tokens for, and whose heads read rows that stay where they are.
bool has_virtual_tokens(const HeadKind& head) {
  if (head.is_bare || head.predicts_spans || head.reads_target) return false;
  return head.predicts_next || (head.has_labels && !head.predicts_tokens);
}

// Where the embeddings are connected with the encoder.
engine::Parameter*& place_of_prompt(State& state) {
  engine::Embeddings* embeddings = state.network.encoder->embeddings();
  if (!embeddings)
    fail_with("LoRA adapters are implemented for every model_type",
              "{}: prompt tuning is not implemented for model_type \"{}\"", state.origin.string(),
              state.config.model_type());
  if (!has_virtual_tokens(*state.head))
    fail_with(
        "LoRA adapters are for every task",
        "{}: prompt tuning is for sequence-classification, token-classification and causal-lm, not for {}",
        state.origin.string(), state.task);
  return embeddings->prompt;
}

// The same of keys and values. The tasks are peft's: a classifier of today's releases takes no keys and
// values.
engine::Parameter*& place_of_prefix(State& state) {
  engine::Parameter** prefix = state.network.encoder->prefix();
  const bool has_prompt = state.network.encoder->embeddings() && has_virtual_tokens(*state.head);
  if (!prefix || !state.head->predicts_next)
    fail_with(has_prompt ? "prompt_tuning trains virtual tokens of this model"
                         : "LoRA adapters are implemented for every model_type and task",
              "{}: prefix tuning is implemented for causal-lm of model_type \"gpt2\", not for {} of \"{}\"",
              state.origin.string(), state.task, state.config.model_type());
  return *prefix;
}

}  // namespace

void declare_virtual_tokens(State& state, int64_t count, bool prefix) {
  engine::Parameter*& place = prefix ? place_of_prefix(state) : place_of_prompt(state);
  const int64_t positions = state.network.encoder->max_positions();
  if (positions > 0 && count >= positions)
    fail_with(fmt::format("give fewer: at most {}", positions - 1),
              "{} virtual tokens leave no position for a text: the model in {} has {} positions", count,
              state.origin.string(), positions);
  const int64_t width = state.network.encoder->word_embeddings()->cols(),
                layers = state.config.layers(state.family->sizes.num_layers);
  engine::Parameter p;
  p.name = kPromptEmbeddings;
  p.shape = {count, prefix ? layers * 2 * width : width};
  p.init_std = 1;  // of torch.nn.Embedding
  p.of_adapter = true;
  place = &state.parameters.add(std::move(p));
}

void start_from_words(State& state, const std::vector<int32_t>& ids) {
  if (ids.empty()) fail("virtual tokens: a text without tokens to start from");
  const engine::Embeddings& embeddings = *state.network.encoder->embeddings();
  const int64_t width = embeddings.word->cols();
  const engine::HostRead words = state.parameters.read_value(*embeddings.word);
  const engine::HostWrite out = state.parameters.write_value(*embeddings.prompt);
  for (int64_t i = 0; i < embeddings.prompt->rows(); ++i) {
    const int32_t id = ids[static_cast<size_t>(i) % ids.size()];
    if (id < 0 || id >= embeddings.word->rows())
      fail("virtual tokens: token id {} is outside the model's vocabulary of {}", id,
           embeddings.word->rows());
    std::copy_n(words.data() + id * width, width, out.data() + i * width);
  }
}

}  // namespace graft::models
