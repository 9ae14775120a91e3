// A batch with virtual tokens, and a model's pass over it (models/virtual_tokens.h).
#include "models/virtual_tokens.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/tape.h"
#include "models/decoder.h"
#include "models/model_case.h"

namespace graft::test {
namespace {

using testing::ElementsAre;

data::RaggedBatch two_texts() {
  data::RaggedBatch batch;
  const int32_t ids[] = {5, 6, 7, 8, 9}, types[] = {0, 1, 1, 0, 0};
  batch.append(ids, types, 3, 40);
  batch.append(ids + 3, types + 3, 2, 41);
  batch.label_rows = {0, 2, 4};
  return batch;
}

TEST(VirtualTokens, PrecedeEachSequenceAndMoveTheRowsOfLabels) {
  const data::RaggedBatch longer = models::with_virtual_tokens(two_texts(), 100, 2);
  EXPECT_THAT(longer.input_ids, ElementsAre(100, 101, 5, 6, 7, 100, 101, 8, 9));
  EXPECT_THAT(longer.token_type_ids, ElementsAre(0, 0, 0, 1, 1, 0, 0, 0, 0));
  EXPECT_THAT(longer.position_in_example, ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3));
  EXPECT_THAT(longer.cu_seqlens, ElementsAre(0, 5, 9));
  EXPECT_THAT(longer.cu_examples, ElementsAre(0, 1, 2));
  EXPECT_THAT(longer.examples, ElementsAre(40, 41));
  EXPECT_THAT(longer.sequence_keys, ElementsAre(40, 41));
  EXPECT_THAT(longer.label_rows, ElementsAre(2, 4, 8));
  EXPECT_EQ(longer.max_len, 5);
  EXPECT_THAT(models::text_rows(longer, 2), ElementsAre(2, 3, 4, 7, 8));
}

void add_virtual_tokens(const Model& model, const std::vector<int32_t>& ids) {
  models::State& state = model.state();
  state.parameters.reopen();
  models::declare_virtual_tokens(state, static_cast<int64_t>(ids.size()), false);
  state.parameters.allocate();
  models::start_from_words(state, ids);
  state.parameters.touch_values();
}

// Virtual tokens with the embeddings of words compute what these words before the text compute.
TEST(VirtualTokens, WithTheEmbeddingsOfWordsComputeWhatTheseWordsDo) {
  for (const char* name : {"bert/seqcls_single", "bert/tokencls", "distilbert/seqcls_single",
                           "roberta/seqcls_single", "modernbert/seqcls_mean", "gpt2/causal_lm"}) {
    std::vector<std::string> available = {name};
    keep_available(available);
    if (available.empty()) continue;
    const Model model = load_model(fixture_folder(name)), with = load_model(fixture_folder(name));
    const std::vector<int32_t> words = {9, 4, 11};
    add_virtual_tokens(with, words);
    EXPECT_EQ(with.state().network.num_virtual_tokens(), 3);
    EXPECT_EQ(with.max_positions(), model.max_positions() - 3);
    const data::RaggedBatch batch = RandomFeatures(model, 6, 9).batch(6);
    data::RaggedBatch longer = models::with_virtual_tokens(batch, 0, 3);
    for (int32_t b = 0; b < longer.size(); ++b)
      std::copy(words.begin(), words.end(),
                longer.input_ids.begin() + longer.cu_seqlens[static_cast<size_t>(b)]);
    EXPECT_LE(largest_difference(logits_of(with, batch), logits_of(model, longer)), 1e-5) << name;
  }
}

// Keys and values of words at the first positions, [words, layers * 2 * width], as the cache of a pass has
// them.
std::vector<float> keys_and_values_of(const Model& model, const std::vector<int32_t>& words) {
  models::State& state = model.state();
  const models::CausalDecoder& decoder = *state.network.encoder->decoder();
  const int64_t n = std::ssize(words), layers = decoder.num_layers(), width = decoder.key_width();
  std::vector<std::vector<float>> tables(static_cast<size_t>(2 * layers),
                                         std::vector<float>(static_cast<size_t>(n * width)));
  models::KeyValueCache cache;
  for (size_t i = 0; i < tables.size(); ++i)
    (i % 2 == 0 ? cache.keys : cache.values).push_back(engine::make_tensor(tables[i].data(), n, width));
  std::vector<int64_t> rows(words.size());
  std::iota(rows.begin(), rows.end(), 0);
  const int64_t begin = 0;
  const auto length = static_cast<int32_t>(n);
  cache.rows = rows.data();
  cache.begin = &begin;
  cache.length = &length;
  cache.empty = true;
  data::RaggedBatch batch;
  batch.append(words.data(), nullptr, length, 0);
  engine::Arena arena;
  engine::Tape tape(arena, state.parameters, {});
  decoder.decode(tape, models::make_inputs(tape, batch), cache);
  std::vector<float> out;
  for (int64_t word = 0; word < n; ++word)
    for (const std::vector<float>& table : tables)
      out.insert(out.end(), table.begin() + word * width, table.begin() + (word + 1) * width);
  return out;
}

// A prefix of the keys and values that words have computes what these words before the text compute.
TEST(VirtualTokens, WithTheKeysAndValuesOfWordsComputeWhatTheseWordsDo) {
  const std::string name = "gpt2/causal_lm";
  const Model model = load_model(fixture_folder(name)), with = load_model(fixture_folder(name));
  const std::vector<int32_t> words = {9, 4, 11};
  models::State& state = with.state();
  state.parameters.reopen();
  models::declare_virtual_tokens(state, 3, true);
  state.parameters.allocate();
  const std::vector<float> values = keys_and_values_of(model, words);
  const engine::Parameter& prefix = *state.parameters.find(models::kPromptEmbeddings);
  ASSERT_EQ(prefix.size, std::ssize(values));
  std::copy(values.begin(), values.end(), state.parameters.write_value(prefix).data());
  state.parameters.touch_values();
  EXPECT_EQ(state.network.num_virtual_tokens(), 3);
  EXPECT_EQ(with.max_positions(), model.max_positions() - 3);
  const data::RaggedBatch batch = RandomFeatures(model, 6, 9).batch(6);
  data::RaggedBatch longer = models::with_virtual_tokens(batch, 0, 3);
  for (int32_t b = 0; b < longer.size(); ++b)
    std::copy(words.begin(), words.end(),
              longer.input_ids.begin() + longer.cu_seqlens[static_cast<size_t>(b)]);
  EXPECT_LE(largest_difference(logits_of(with, batch), logits_of(model, longer)), 1e-5);
}

TEST(VirtualTokens, LeaveTheirRowsOutOfHiddenStates) {
  const std::string name = "bert/seqcls_single";
  const Model model = load_model(fixture_folder(name));
  add_virtual_tokens(model, {9, 4, 11});
  const data::RaggedBatch batch = RandomFeatures(model, 6, 9).batch(6);
  engine::Arena arena;
  engine::Tape tape(arena, model.state().parameters, {});
  const models::Forward pass =
      model.state().network.forward(tape, batch, {.hidden_states = true, .every_row = true});
  for (const engine::Var hidden : pass.hidden_states) EXPECT_EQ(hidden->data.rows, batch.rows());
  EXPECT_EQ(pass.logits->data.rows, batch.size());
}

TEST(VirtualTokens, AreRefusedWhereNothingHoldsThem) {
  const auto refused = [](const std::string& name, int64_t count, bool prefix = false) {
    const Model model = load_model(fixture_folder(name));
    model.state().parameters.reopen();
    return error_of([&] { models::declare_virtual_tokens(model.state(), count, prefix); });
  };
  EXPECT_THAT(refused("bert/mlm", 3), testing::HasSubstr("prompt tuning is for sequence-classification"));
  EXPECT_THAT(refused("bert/seqcls_single", 100000), testing::HasSubstr("leave no position for a text"));
  EXPECT_THAT(refused("bert/seqcls_single", 3, true),
              testing::AllOf(testing::HasSubstr("prefix tuning is implemented for causal-lm of model_type"),
                             testing::HasSubstr("prompt_tuning trains virtual tokens of this model")));
  EXPECT_THAT(refused("bert/mlm", 3, true), testing::HasSubstr("LoRA adapters are implemented"));
  EXPECT_THAT(refused("gpt2/causal_lm", 100000, true), testing::HasSubstr("leave no position for a text"));
}

}  // namespace
}  // namespace graft::test
