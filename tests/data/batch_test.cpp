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
  EXPECT_THAT(batch.sequence_keys, ElementsAre(5, 3, 9));
}

TEST(RaggedBatch, AnExampleMayHaveSeveralSequences) {
  RaggedBatch batch;
  const std::vector<int32_t> ids = {101, 7, 8, 102};
  batch.begin_example(12);
  batch.append_sequence(ids.data(), nullptr, 3, sequence_key(4, 0));
  batch.append_sequence(ids.data(), nullptr, 4, sequence_key(4, 1));
  batch.append(ids.data(), nullptr, 2, 9);
  EXPECT_EQ(batch.size(), 3);
  EXPECT_EQ(batch.num_examples(), 2);
  EXPECT_THAT(batch.examples, ElementsAre(12, 9));
  EXPECT_THAT(batch.cu_examples, ElementsAre(0, 2, 3));
  EXPECT_EQ(batch.example_of(0), 12);
  EXPECT_EQ(batch.example_of(1), 12);
  EXPECT_EQ(batch.example_of(2), 9);
  // Each sequence has a key of its own.
  EXPECT_THAT(batch.sequence_keys, ElementsAre(4 << 20, (4 << 20) + 1, 9));
  batch.clear();
  EXPECT_EQ(batch.num_examples(), 0);
  EXPECT_THAT(batch.cu_examples, ElementsAre(0));
  EXPECT_THAT(test::error_of([&] { batch.append_sequence(ids.data(), nullptr, 2, 0); }),
              testing::HasSubstr("begin_example first"));
}

TEST(RaggedBatch, KeysOfSequencesDoNotMeet) {
  EXPECT_LT(sequence_key(0, (1 << 20) - 1), sequence_key(1, 0));
  EXPECT_THAT(test::error_of([] { sequence_key(3, 1 << 20); }),
              testing::HasSubstr("example 3 has more than"));
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
  EXPECT_TRUE(batch.labels.empty() && batch.float_labels.empty() && batch.sequence_keys.empty());
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
