// A sequence's logits do not depend on its neighbours, nor on what else the batch computes, nor on threads.
#include <algorithm>
#include <fstream>
#include <thread>

#include "base/philox.h"
#include "graft/tokenizer.h"
#include "models/model_case.h"

namespace graft::test {
namespace {

// The logits of each sequence of a batch of a classification model; of a language model: of each of its label
// rows.
std::vector<std::vector<float>> by_sequence(const Model& model, const data::RaggedBatch& batch) {
  const std::vector<float> logits = logits_of(model, batch);
  std::vector<std::vector<float>> out(static_cast<size_t>(batch.size()));
  const bool per_token = model.state().head->predicts_tokens;
  const size_t rows = per_token ? batch.label_rows.size() : out.size(),
               columns = rows ? logits.size() / rows : 0;
  for (size_t r = 0; r < rows; ++r) {
    size_t sequence = r;
    if (per_token) {
      const std::vector<int32_t>& ends = batch.outputs().cu_seqlens;
      const auto after = std::upper_bound(ends.begin(), ends.end(), batch.label_rows[r]);
      sequence = static_cast<size_t>(after - ends.begin()) - 1;
    }
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(r * columns);
    out[sequence].insert(out[sequence].end(), begin, begin + static_cast<std::ptrdiff_t>(columns));
  }
  return out;
}

// 50 batches of random examples in random order against each example alone.
void expect_independent(const Model& model, const RandomFeatures& features, const std::string& what) {
  std::vector<std::vector<float>> alone;
  for (int64_t i = 0; i < features.size(); ++i) {
    data::RaggedBatch batch;
    features.append(batch, i, 0, 0);
    alone.push_back(by_sequence(model, batch).front());
  }
  PhiloxStream draws(philox_key(3, 0, "compositions"));
  int64_t compared = 0;
  for (int composition = 0; composition < 16; ++composition) {
    data::RaggedBatch batch;
    std::vector<size_t> chosen;
    const uint64_t size = 1 + draws.below(40);
    for (uint64_t k = 0; k < size; ++k) {
      chosen.push_back(draws.below(static_cast<uint64_t>(features.size())));
      features.append(batch, static_cast<int64_t>(chosen.back()), static_cast<int64_t>(k), 0);
    }
    const auto together = by_sequence(model, batch);
    for (size_t k = 0; k < chosen.size(); ++k) {
      ASSERT_TRUE(same_bits(together[k], alone[chosen[k]]))
          << what << ": composition " << composition << ", sequence " << k << " of " << size;
      compared += static_cast<int64_t>(together[k].size());
    }
  }
  EXPECT_GT(compared, 500) << what;
}

TEST(Independence, LogitsOfFixtureModelsInFiftyBatchCompositions) {
  for (const std::string& name : single_and_mlm_names()) {
    const Model model = load_model(fixture_folder(name));
    for (const bool bf16 : {false, true}) {
      model.state().bf16 = bf16;
      expect_independent(model, RandomFeatures(model, 30, 40), name + (bf16 ? " in bf16" : " in fp32"));
    }
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& file, size_t n) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; lines.size() < n && std::getline(in, line);) lines.push_back(line);
  return lines;
}

class RealText : public testing::TestWithParam<bool> {};

TEST_P(RealText, LogitsOfTheBundledModelDoNotDependOnTheNeighbours) {
  const std::filesystem::path folder = GRAFT_SOURCE_DIR "/models/graft-mini";
  ModelOptions options;
  options.task = "sequence-classification";
  const Model model = Model::from_pretrained(folder, options);
  model.state().bf16 = GetParam();
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  std::vector<Encoding> texts =
      tokenizer->encode_batch(read_lines(fixture_path("golden/tokenizers/texts.txt"), 198), {},
                              {.truncation = Truncation::longest_first, .max_length = 128, .ids_only = true});
  PhiloxStream draws(philox_key(5, 0, "compositions"));
  std::vector<std::vector<float>> alone(texts.size());
  for (int composition = 0; composition < 50; ++composition) {
    data::RaggedBatch batch;
    std::vector<size_t> chosen;
    for (uint64_t k = 0, n = 1 + draws.below(64); k < n; ++k) {
      chosen.push_back(draws.below(texts.size()));
      batch.append(texts[chosen.back()], static_cast<int64_t>(k));
    }
    const auto together = by_sequence(model, batch);
    for (size_t k = 0; k < chosen.size(); ++k) {
      std::vector<float>& reference = alone[chosen[k]];
      if (reference.empty()) {
        data::RaggedBatch single;
        single.append(texts[chosen[k]], 0);
        reference = logits_of(model, single);
      }
      ASSERT_TRUE(same_bits(together[k], reference)) << "composition " << composition << ", sequence " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Independence, RealText, testing::Bool(),
                         [](const auto& info) { return info.param ? "bf16" : "fp32"; });

// Loss, logits and every gradient as one vector.
std::vector<float> everything(const Model& model, const tasks::Task& task, const data::RaggedBatch& batch) {
  Pass pass = run_pass(model, task, batch);
  std::vector<float> out = std::move(pass.gradients);
  out.insert(out.end(), pass.logits.begin(), pass.logits.end());
  out.push_back(static_cast<float>(pass.loss));
  return out;
}

TEST(Threads, FixtureModelsGiveTheSameBits) {
  for (const std::string& name : fixture_names()) {
    TempDir dir;
    copy_with_config(fixture_folder(name), dir / "m", [](Json& config) { set_dropout(config, 0.1); });
    const Model model = load_model(dir / "m");
    const auto task = make_task(model);
    const data::RaggedBatch batch = RandomFeatures(model, 30, 32).batch(30);
    for (const bool bf16 : {false, true}) {
      model.state().bf16 = bf16;
      expect_thread_free(name + (bf16 ? " in bf16" : ""), [&] { return everything(model, *task, batch); });
    }
  }
}

// One loaded model serves several threads of the caller at once: the same bits, and no gradient memory.
TEST(Threads, OneModelServesManyAtOnce) {
  for (const std::string& name : single_and_mlm_names()) {
    const Model model = load_model(fixture_folder(name));
    const RandomFeatures features(model, 48, 40);
    const Model other = load_model(fixture_folder(name));
    std::vector<data::RaggedBatch> batches(6);
    std::vector<std::vector<float>> expected;
    for (int64_t i = 0; i < 48; ++i) features.append(batches[static_cast<size_t>(i % 6)], i, i, 0);
    for (const data::RaggedBatch& b : batches) expected.push_back(logits_of(other, b));
    std::vector<int> wrong(6, 0);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < 5; ++round)
          wrong[t] += !same_bits(logits_of(model, batches[t]), expected[t]);
      });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, std::vector<int>(6, 0)) << name;
    EXPECT_FALSE(model.state().parameters.has_grads());
  }
}

TEST(Threads, BertTinyWith16kPackedTokensGivesTheSameBits) {
  GRAFT_SHARED_PATH(folder, "data/checkpoints/bert-tiny-novels");
  for (const char* task_name : {"sequence-classification", "masked-lm"}) {
    ModelOptions options;
    options.task = task_name;
    const Model model = Model::from_pretrained(folder, options);
    const auto task = make_task(model);
    data::RaggedBatch batch = RandomFeatures::of_length(model, 128, 128).batch(128);
    ASSERT_EQ(batch.rows(), 16384);
    if (batch.label_rows.size() > 600) batch.label_rows.resize(600), batch.labels.resize(600);
    for (const bool bf16 : {false, true}) {
      model.state().bf16 = bf16;
      expect_thread_free(std::string(task_name) + (bf16 ? " in bf16" : ""),
                         [&] { return everything(model, *task, batch); });
    }
  }
}

// RoBERTa has one token type: a tokenizer that numbers the second text of a pair 1 changes nothing.
TEST(TokenTypes, AModelWithOneTypeReadsNoOther) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"roberta/seqcls_single", "xlm-roberta/seqcls_single"}) {
    const Model model = load_model(golden / name);
    ASSERT_EQ(model.state().config.integer_or("type_vocab_size", 0), 1) << name;
    const std::vector<int32_t> ids = {5, 6, 7, 8}, types = {0, 0, 1, 1};
    data::RaggedBatch zeros, pair;
    zeros.append(ids.data(), nullptr, 4, 0);
    pair.append(ids.data(), types.data(), 4, 0);
    EXPECT_TRUE(same_bits(logits_of(model, zeros), logits_of(model, pair))) << name;
  }
}

// The encoder run for some rows only, against all rows of which those are taken.
TEST(LastLayer, PrunedGivesTheBitsOfTheWholeOne) {
  for (const std::string& name : single_and_mlm_names()) {
    const Model model = load_model(fixture_folder(name));
    const data::RaggedBatch batch = RandomFeatures(model, 40, 40).batch(40);
    engine::Arena arena;
    engine::Tape tape(engine::cpu_kernels(), arena, model.state().parameters, {});
    const models::Inputs inputs = models::make_inputs(tape, batch);
    std::vector<int32_t> rows;  // some of every sequence, none of a few, the first and the last of the batch
    for (int32_t r = 0; r < batch.rows(); ++r) {
      if (r % 5 == 0 || r + 1 == batch.rows()) rows.push_back(r);
    }
    const auto n = static_cast<int64_t>(rows.size());
    const models::Encoder& encoder = *model.state().network.encoder;
    const engine::Tensor some = encoder.encode(tape, inputs, {rows.data(), n, false})->data;
    const engine::Tensor all = encoder.encode(tape, inputs, models::all_rows(batch))->data;
    ASSERT_EQ(some.rows, n);
    ASSERT_EQ(all.rows, batch.rows());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_TRUE(std::equal(some.row(i), some.row(i) + some.cols, all.row(rows[static_cast<size_t>(i)])))
          << name << " row " << rows[static_cast<size_t>(i)];
    }
  }
}

// The gradient of the pruned pass equals that of a pass that computes every row and reads the same ones.
TEST(LastLayer, PrunedGivesTheGradientsOfTheWholeOne) {
  for (const std::string& name : single_and_mlm_names()) {
    TempDir dir;
    copy_with_config(fixture_folder(name), dir / "m", [](Json& config) { set_dropout(config, 0.1); });
    const Model model = load_model(dir / "m");
    models::State& state = model.state();
    const auto task = make_task(model);
    const data::RaggedBatch batch = RandomFeatures(model, 20, 40).batch(20);
    const Pass pruned = run_pass(model, *task, batch);

    state.parameters.clear_grads();
    engine::Arena arena;
    engine::Tape tape(engine::cpu_kernels(), arena, state.parameters, {true, true, 42, 0});
    const engine::Var logits = state.network.forward(tape, batch, {.every_row = true}).logits;
    const engine::Var loss = task->loss(tape, logits, batch, task->loss_terms(batch));
    tape.backward(loss);
    const std::vector<float> whole = all_gradients(state);
    EXPECT_EQ(static_cast<float>(pruned.loss), *loss->data.f32()) << name;
    EXPECT_LE(largest_difference(pruned.gradients, whole), 3e-6 * l2_norm(whole)) << name;
    EXPECT_GT(l2_norm(whole), 0.01) << name;
  }
}

TEST(HiddenStates, HaveTheEmbeddingsFirstAndTheLastLayerLast) {
  for (const std::string& name : single_and_mlm_names()) {
    const Model model = load_model(fixture_folder(name));
    const data::RaggedBatch batch = RandomFeatures(model, 7, 20).batch(7);
    engine::Arena arena;
    engine::Tape tape(engine::cpu_kernels(), arena, model.state().parameters, {});
    const models::Forward out =
        model.state().network.forward(tape, batch, {.hidden_states = true, .every_row = true});
    const std::vector<engine::Var>& hidden = out.hidden_states;
    const size_t layers = name.starts_with("modernbert") ? 4 : 2;
    ASSERT_EQ(hidden.size(), layers + 1) << name;  // embeddings and layers
    EXPECT_TRUE(model.state().network.forward(tape, batch).hidden_states.empty()) << name;
    for (const engine::Var h : hidden) {
      EXPECT_EQ(h->data.rows, batch.outputs().rows()) << name;
      EXPECT_EQ(h->data.cols, 32) << name;
    }
    EXPECT_NE(hidden[0]->data.row(0)[0], hidden[1]->data.row(0)[0]) << name;
  }
}

// A masked-lm batch in which no token is hidden: no logits, loss 0, gradient 0.
TEST(MaskedLm, ABatchWithoutLabelsIsNothing) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const Model model = load_model(folder);
  data::RaggedBatch batch = RandomFeatures(model, 4, 20).batch(4);
  batch.label_rows.clear();
  batch.labels.clear();
  const Pass pass = run_pass(model, *make_task(model), batch);
  EXPECT_TRUE(pass.logits.empty());
  EXPECT_EQ(pass.loss, 0);
  EXPECT_EQ(l2_norm(pass.gradients), 0);
}

}  // namespace
}  // namespace graft::test
