// Blocks of texts to sequences whose tokens predict each other, and what the model makes of them.
#include "tasks/causal_lm.h"

#include <cmath>

#include "models/model_case.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::ElementsAre;
using testing::IsEmpty;

// Texts of 3, 1, 4 and 5 tokens in blocks of 6 (the last token is dropped).
data::TokenStore store() {
  data::TokenStore tokens;
  tokens.ids = {10, 11, 12, 20, 30, 31, 32, 33, 40, 41, 42, 43};
  tokens.offsets = {0, 6, 12};
  tokens.documents = {0, 3, 4, 8};
  return tokens;
}

TEST(CausalFeatures, TextsOfABlockAreSequencesOfTheirOwn) {
  const CausalFeatures features(store());
  ASSERT_EQ(features.size(), 2);
  data::RaggedBatch batch;
  features.append(batch, 0, 0, 0);
  features.append(batch, 1, 1, 0);
  // The text of one token predicts nothing and is left out; 30 31 | 32 33 is cut by the block.
  EXPECT_THAT(batch.input_ids, ElementsAre(10, 11, 12, 30, 31, 32, 33, 40, 41, 42, 43));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 3, 5, 7, 11));
  EXPECT_THAT(batch.position_in_example, ElementsAre(0, 1, 2, 0, 1, 0, 1, 0, 1, 2, 3));
  EXPECT_THAT(batch.label_rows, ElementsAre(0, 1, 3, 5, 7, 8, 9));
  EXPECT_THAT(batch.labels, ElementsAre(11, 12, 31, 33, 41, 42, 43));
  std::vector<int64_t> keys = batch.sequence_keys;
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::unique(keys.begin(), keys.end()), keys.end());  // dropout of their own
  EXPECT_EQ(CausalLm().loss_terms(batch), 7);
}

TEST(CausalFeatures, WithoutDocumentsABlockIsOneSequence) {
  data::TokenStore tokens = store();
  tokens.documents.clear();
  data::RaggedBatch batch;
  CausalFeatures(std::move(tokens)).append(batch, 0, 0, 0);
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 6));
  EXPECT_THAT(batch.labels, ElementsAre(11, 12, 20, 30, 31));
}

TEST(CausalFeatures, ABlockOfSingleTokensHasARowAndNoLabel) {
  data::TokenStore tokens;
  tokens.ids = {7, 8};
  tokens.offsets = {0, 2};
  tokens.documents = {0, 1};
  data::RaggedBatch batch;
  CausalFeatures(std::move(tokens)).append(batch, 0, 0, 0);
  EXPECT_THAT(batch.input_ids, ElementsAre(7));
  EXPECT_THAT(batch.labels, IsEmpty());
}

// The loss of a block is that of its texts one by one, to the bit.
TEST(CausalLm, TextsOfABlockDoNotReadEachOther) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  const Model model = load_model(golden);
  const CausalFeatures features(store());
  const auto losses = [&](const data::RaggedBatch& batch) {
    train::StepMemory memory(model.state().parameters.device());
    const CausalLm task;
    memory.prepare(model.state(), &task, batch, false);
    double total = 0;
    const auto metrics = task.metrics();
    train::evaluate_batch(model.state(), task, batch, metrics.get(), total, memory);
    return total;
  };
  data::RaggedBatch block, first, second, joined;
  features.append(block, 0, 0, -1);
  const std::vector<int32_t> ids = {10, 11, 12, 30, 31};
  for (data::RaggedBatch* batch : {&first, &second, &joined}) batch->begin_example(0);
  append_predicted(first, ids.data(), 3, 0);
  append_predicted(second, ids.data() + 3, 2, 0);
  EXPECT_NEAR(losses(block), losses(first) + losses(second), 1e-12);
  append_predicted(joined, ids.data(), 5, 0);
  EXPECT_GT(std::fabs(losses(joined) - losses(block)), 0.1);
}

TEST(CausalLm, PerplexityIsInfiniteWhereItOverflows) {
  EXPECT_NEAR(CausalLm().metrics_of_loss(2).front().second, std::exp(2.0), 1e-12);
  EXPECT_TRUE(std::isinf(CausalLm().metrics_of_loss(1e4).front().second));
}

// Without stored logits the metrics are those of stored ones.
TEST(CausalLm, CountsAndLogitsGiveTheSameAccuracy) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  const Model model = load_model(golden);
  const data::RaggedBatch batch = RandomFeatures(model, 40, 40).batch(40);
  const CausalLm task;
  train::StepMemory memory(model.state().parameters.device());
  memory.prepare(model.state(), nullptr, batch, false);
  const auto stored = task.metrics(), counted = task.metrics();
  stored->add(batch, train::predict_batch(model.state(), batch, memory));
  double total = 0;
  memory.prepare(model.state(), &task, batch, false);
  train::evaluate_batch(model.state(), task, batch, counted.get(), total, memory);
  EXPECT_EQ(stored->values(), counted->values());
}

}  // namespace
}  // namespace graft::tasks
