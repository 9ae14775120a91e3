#include "data/batch.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace graft::data {

void Sequences::clear() {
  input_ids.clear();
  token_type_ids.clear();
  position_in_example.clear();
  cu_seqlens.assign(1, 0);
  max_len = 0;
}

void Sequences::add(const int32_t* ids, const int32_t* types, int32_t length) {
  if (length < 0) fail("a sequence of {} tokens", length);
  if (length > std::numeric_limits<int32_t>::max() - rows()) {
    fail_with("use a smaller batch size", "a batch over 2^31 tokens");
  }
  input_ids.insert(input_ids.end(), ids, ids + length);
  if (types) {
    token_type_ids.insert(token_type_ids.end(), types, types + length);
  } else {
    token_type_ids.resize(token_type_ids.size() + static_cast<size_t>(length), 0);
  }
  for (int32_t i = 0; i < length; ++i) position_in_example.push_back(i);
  cu_seqlens.push_back(cu_seqlens.back() + length);
  max_len = std::max(max_len, length);
}

void RaggedBatch::clear() {
  Sequences::clear();
  decoder.clear();
  sequence_keys.clear();
  examples.clear();
  cu_examples.assign(1, 0);
  labels.clear();
  label_rows.clear();
  float_labels.clear();
  step_labels = 0;
  start_positions.clear();
  end_positions.clear();
}

void RaggedBatch::append(const Encoding& encoding, int64_t index) {
  const size_t n = encoding.input_ids.size();
  const bool typed = !encoding.token_type_ids.empty();
  if (typed && encoding.token_type_ids.size() != n) {
    fail("an encoding has {} input_ids but {} token_type_ids", n, encoding.token_type_ids.size());
  }
  if (n > static_cast<size_t>(std::numeric_limits<int32_t>::max())) fail("a sequence over 2^31 tokens");
  append(encoding.input_ids.data(), typed ? encoding.token_type_ids.data() : nullptr, static_cast<int32_t>(n),
         index);
}

void RaggedBatch::append(const int32_t* ids, const int32_t* types, int32_t length, int64_t index) {
  begin_example(index);
  append_sequence(ids, types, length, index);
}

void RaggedBatch::begin_example(int64_t example) {
  examples.push_back(example);
  cu_examples.push_back(size());
}

void RaggedBatch::append_sequence(const int32_t* ids, const int32_t* types, int32_t length, int64_t key) {
  if (examples.empty()) fail("append_sequence: the batch has no example; call begin_example first");
  add(ids, types, length);
  sequence_keys.push_back(key);
  cu_examples.back() = size();
}

int64_t RaggedBatch::example_of(int32_t sequence) const {
  const auto behind = std::upper_bound(cu_examples.begin(), cu_examples.end(), sequence);
  return examples[static_cast<size_t>(behind - cu_examples.begin()) - 1];
}

int64_t sequence_key(int64_t example, int64_t sequence) {
  constexpr int64_t kSequences = int64_t{1} << 20;
  if (sequence >= kSequences) fail("example {} has more than {} sequences", example, kSequences);
  return example * kSequences + sequence;
}

}  // namespace graft::data
