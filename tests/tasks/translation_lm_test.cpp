// Pairs of sentences as sequences that are masked on both sides.
#include "tasks/translation_lm.h"

#include <set>

#include "models/registry.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::ElementsAre;
using testing::ElementsAreArray;

struct World {
  TinyRun run;
  Model model = run.model(models::kMaskedLm.task, {});
  std::vector<std::string> source = {"up red red", "down blue green ba be"},
                           target = {"down blue", "up ga ge"};
  FeatureSettings settings = [] {
    FeatureSettings s;
    s.max_seq_length = 40;
    return s;
  }();
  std::unique_ptr<Features> features() const {
    return translation_features(model, *run.tokenizer(), source, target, settings, "train");
  }
};

TEST(TranslationLm, APairIsOneSequenceAsTheTokenizerFormsIt) {
  World w;
  w.settings.mlm_probability = 1e-9;  // nothing is masked
  const auto features = w.features();
  ASSERT_EQ(features->size(), 2);
  data::RaggedBatch batch;
  features->append(batch, 1, 0, 0);
  const Encoding pair = w.run.tokenizer()->encode_pair(w.source[1], w.target[1]);
  EXPECT_THAT(batch.input_ids, ElementsAreArray(pair.input_ids));
  EXPECT_THAT(batch.token_type_ids, ElementsAreArray(pair.token_type_ids));
  EXPECT_EQ(features->length(1), std::ssize(pair.input_ids));
  // Positions count on through the target.
  EXPECT_EQ(batch.position_in_example.back(), std::ssize(pair.input_ids) - 1);
  EXPECT_TRUE(batch.labels.empty());
}

TEST(TranslationLm, TokensOfBothSentencesAreMaskedAndNoSpecialToken) {
  World w;
  const auto features = w.features();
  const Encoding pair = w.run.tokenizer()->encode_pair(w.source[0], w.target[0]);
  std::set<int32_t> rows;
  for (int64_t epoch = 0; epoch < 100; ++epoch) {
    data::RaggedBatch batch;
    features->append(batch, 0, 0, epoch);
    for (size_t i = 0; i < batch.label_rows.size(); ++i) {
      rows.insert(batch.label_rows[i]);
      EXPECT_EQ(batch.labels[i], pair.input_ids[static_cast<size_t>(batch.label_rows[i])]);
    }
  }
  EXPECT_THAT(rows, ElementsAre(1, 2, 3, 5, 6));  // [CLS] up red red [SEP] down blue [SEP]
}

TEST(TranslationLm, WholeWordsEndAtTheEndOfASentence) {
  World w;
  w.settings.whole_word_mask = true;
  w.settings.mlm_probability = 1;
  data::RaggedBatch batch;
  w.features()->append(batch, 0, 0, 0);
  EXPECT_THAT(batch.label_rows, ElementsAre(1, 2, 3, 5, 6));
}

TEST(TranslationLm, LongPairsLoseTokensOfTheLongerSide) {
  World w;
  w.settings.max_seq_length = 8;
  w.settings.mlm_probability = 1e-9;
  data::RaggedBatch batch;
  w.features()->append(batch, 1, 0, 0);
  EncodeOptions options;
  options.truncation = Truncation::longest_first;
  options.max_length = 8;
  EXPECT_THAT(batch.input_ids,
              ElementsAreArray(w.run.tokenizer()->encode_pair(w.source[1], w.target[1], options).input_ids));
}

}  // namespace
}  // namespace graft::tasks
