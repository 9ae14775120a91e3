#include "transfer/mixture.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "support/shared.h"

namespace graft::transfer {
namespace {

using test::error_of;
using testing::HasSubstr;

// Example i is the token `first` + i, `length` times; the epoch that it gets is its label.
class Tokens : public tasks::Features {
 public:
  Tokens(int64_t size, int32_t first, int32_t length) : size_(size), first_(first), length_(length) {}
  int64_t size() const override { return size_; }
  int32_t length(int64_t i) const override { return length_ + (i == 0 ? 1 : 0); }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override {
    const std::vector<int32_t> ids(static_cast<size_t>(length(i)), first_ + static_cast<int32_t>(i));
    batch.append_sequence(ids.data(), nullptr, length(i), index);
    batch.labels.push_back(static_cast<int32_t>(epoch));
  }

 private:
  int64_t size_;
  int32_t first_, length_;
};

std::vector<MixturePart> parts_of(int64_t large, int64_t small) {
  std::vector<MixturePart> parts;
  parts.push_back({"en", std::make_unique<Tokens>(10, 100, 4), large});
  parts.push_back({"de", std::make_unique<Tokens>(4, 200, 4), small});
  return parts;
}

// (token, epoch that the part saw) of each example.
std::vector<std::pair<int32_t, int32_t>> epoch_of(const Mixture& mixture, int64_t epoch) {
  data::RaggedBatch batch;
  for (int64_t i = 0; i < mixture.size(); ++i) mixture.append(batch, i, i, epoch);
  EXPECT_EQ(batch.num_examples(), mixture.size());
  std::vector<std::pair<int32_t, int32_t>> out;
  for (int32_t i = 0; i < batch.size(); ++i)
    out.emplace_back(batch.input_ids[static_cast<size_t>(batch.cu_seqlens[static_cast<size_t>(i)])],
                     batch.labels[static_cast<size_t>(i)]);
  return out;
}

TEST(Mixture, APartReadsItsWholeSetOverTheEpochs) {
  const Mixture mixture(parts_of(5, 6), 1);
  ASSERT_EQ(mixture.size(), 11);
  std::set<int32_t> english;
  std::map<int32_t, int> german;
  std::set<std::pair<int32_t, int32_t>> seen;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const auto examples = epoch_of(mixture, epoch);
    for (size_t i = 0; i < examples.size(); ++i) {
      EXPECT_EQ(i < 5, examples[i].first < 200);  // an example belongs to one part in every epoch
      EXPECT_TRUE(seen.insert(examples[i]).second) << "the same example with the same masks";
      if (i < 5)
        english.insert(examples[i].first);
      else
        ++german[examples[i].first];
    }
  }
  EXPECT_EQ(english.size(), 10u);  // half of it in each epoch
  for (const auto& [token, times] : german) EXPECT_EQ(times, 3) << token;
  EXPECT_EQ(german.size(), 4u);
}

TEST(Mixture, IsAFunctionOfTheSeed) {
  const Mixture one(parts_of(5, 6), 1), same(parts_of(5, 6), 1), other(parts_of(5, 6), 2);
  EXPECT_EQ(epoch_of(one, 3), epoch_of(same, 3));
  EXPECT_NE(epoch_of(one, 3), epoch_of(other, 3));
}

TEST(Mixture, LengthsAreThoseOfTheExamplesOrTheLongest) {
  const Mixture whole(parts_of(10, 4), 1), part(parts_of(9, 4), 1);
  for (const int64_t epoch : {0, 1}) {
    data::RaggedBatch batch;
    for (int64_t i = 0; i < whole.size(); ++i) {
      batch.clear();
      whole.append(batch, i, i, epoch);
      EXPECT_EQ(batch.rows(), whole.length(i));
    }
  }
  EXPECT_EQ(part.length(8), 5);
}

TEST(Mixture, TheTableHasSharesOfTokens) {
  const std::vector<MixtureRow> rows = rows_of(parts_of(10, 8));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].tokens, 41);
  EXPECT_EQ(rows[1].tokens, 17);
  EXPECT_DOUBLE_EQ(rows[1].share_before, 17.0 / 58);
  EXPECT_DOUBLE_EQ(rows[1].share_after, 34.0 / 75);
  EXPECT_THAT(table_of(rows, "language"), HasSubstr("de                   17        29.3 %       45.3 %"));
  EXPECT_EQ(to_json(mixture_rows(to_json(rows))), to_json(rows));
  EXPECT_EQ(examples_of(Tokens(10, 0, 4), 82), 20);
  EXPECT_EQ(examples_of(Tokens(10, 0, 4), 0.1), 1);
}

TEST(Mixture, AnEmptySetIsNamed) {
  std::vector<MixturePart> parts = parts_of(1, 1);
  parts.push_back({"fr", std::make_unique<Tokens>(0, 0, 1), 1});
  EXPECT_THAT(error_of([&] { Mixture(std::move(parts), 1); }), HasSubstr("the set fr without examples"));
}

}  // namespace
}  // namespace graft::transfer
