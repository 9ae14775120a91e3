#include "data/batch.h"

#include <gmock/gmock.h>

#include <limits>

#include "support/shared.h"

namespace graft::data {
namespace {

using testing::ElementsAre;

TEST(RaggedBatch, SequencesEndToEnd) {
  RaggedBatch batch;
  EXPECT_EQ(batch.size(), 0);
  EXPECT_EQ(batch.rows(), 0);
  Encoding a, b;
  a.input_ids = {101, 7, 102};
  a.token_type_ids = {0, 0, 1};
  b.input_ids = {101, 102};
  batch.append(a, 5);
  batch.append(b, 3);
  batch.append(Encoding{}, 9);
  EXPECT_EQ(batch.size(), 3);
  EXPECT_EQ(batch.rows(), 5);
  EXPECT_EQ(batch.max_len, 3);
  EXPECT_THAT(batch.input_ids, ElementsAre(101, 7, 102, 101, 102));
  EXPECT_THAT(batch.token_type_ids, ElementsAre(0, 0, 1, 0, 0));
  EXPECT_THAT(batch.position_in_example, ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 3, 5, 5));
  EXPECT_THAT(batch.example_index, ElementsAre(5, 3, 9));
}

TEST(RaggedBatch, ClearedBatchIsEmptyAndKeepsItsMemory) {
  RaggedBatch batch;
  Encoding a;
  a.input_ids = {1, 2, 3};
  batch.append(a, 0);
  batch.labels.push_back(1);
  batch.float_labels.push_back(1);
  const int32_t* memory = batch.input_ids.data();
  batch.clear();
  EXPECT_EQ(batch.size(), 0);
  EXPECT_EQ(batch.rows(), 0);
  EXPECT_EQ(batch.max_len, 0);
  EXPECT_TRUE(batch.labels.empty() && batch.float_labels.empty() && batch.example_index.empty());
  batch.append(a, 1);
  EXPECT_EQ(batch.input_ids.data(), memory);
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 3));
}

TEST(RaggedBatch, TypeIdsMustMatch) {
  RaggedBatch batch;
  Encoding a;
  a.input_ids = {1, 2, 3};
  a.token_type_ids = {0};
  EXPECT_THAT(test::error_of([&] { batch.append(a, 0); }),
              testing::HasSubstr("3 input_ids but 1 token_type_ids"));
}

TEST(RaggedBatch, LengthsThatAreNone) {
  RaggedBatch batch;
  const int32_t id = 1;
  EXPECT_THAT(test::error_of([&] { batch.append(&id, nullptr, -1, 0); }), testing::HasSubstr("-1 tokens"));
  batch.cu_seqlens.back() = std::numeric_limits<int32_t>::max();
  EXPECT_THAT(test::error_of([&] { batch.append(&id, nullptr, 1, 0); }),
              testing::AllOf(testing::HasSubstr("over 2^31 tokens"), testing::HasSubstr("smaller batch")));
}

}  // namespace
}  // namespace graft::data
