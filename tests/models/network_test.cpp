// What a network refuses before it computes.
#include "models/network.h"

#include "models/model_case.h"
#include "models/weights.h"

namespace graft::test {
namespace {

// Its first row would be its neighbour's, or lie behind the batch.
TEST(Network, ASequenceWithoutTokensIsNamed) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"bert/seqcls_single", "distilbert/seqcls_single", "roberta/mlm"}) {
    const Model model = load_model(golden / name);
    const std::vector<int32_t> ids = {5, 6, 7};
    for (const int empty : {0, 1, 2}) {
      data::RaggedBatch batch;
      for (int i = 0; i < 3; ++i) batch.append(ids.data(), nullptr, i == empty ? 0 : 3, 40 + i);
      EXPECT_THAT(error_of([&] { logits_of(model, batch); }),
                  testing::HasSubstr("sequence " + std::to_string(empty) + " of the batch (example " +
                                     std::to_string(40 + empty) + ") has no tokens"))
          << name;
    }
  }
}

TEST(FirstNonFinite, NamesParameterIndexAndValue) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = load_model(folder);
  EXPECT_FALSE(models::first_non_finite(model.state()));
  engine::ParameterStore& store = model.state().parameters;
  store.value(*store.find("classifier.bias"))[2] = -INFINITY;
  const auto last = models::first_non_finite(model.state());
  ASSERT_TRUE(last);
  EXPECT_EQ(last->parameter, "classifier.bias");
  EXPECT_EQ(last->index, 2);
  EXPECT_EQ(last->value, -INFINITY);
  store.value(*store.find("bert.encoder.layer.0.attention.self.key.weight"))[35] = NAN;
  const auto first = models::first_non_finite(model.state());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->parameter, "bert.encoder.layer.0.attention.self.key.weight");
  EXPECT_EQ(first->index, 35);
}

}  // namespace
}  // namespace graft::test
