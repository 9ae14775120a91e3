// Text blocks and masks with a real tokenizer on a real corpus.
#include <gmock/gmock.h>

#include "data/mask.h"
#include "data/text_blocks.h"
#include "support/shared.h"

namespace graft::data {
namespace {

TEST(LanguageModelData, BertBlocksWithWholeWords) {
  GRAFT_SHARED_PATH(vocabulary, "data/tokenizers/bert-base-uncased");
  GRAFT_SHARED_PATH(corpus, "data/corpora/en/african_storybook.txt.xz");
  const auto tokenizer = Tokenizer::from_pretrained(vocabulary);
  TextBlockOptions options;
  options.max_seq_length = 128;
  options.word_starts = true;
  options.validation_split_percentage = 5;
  const TextBlocks blocks = read_text_blocks({corpus}, *tokenizer, options);
  ASSERT_GT(blocks.train.size(), 500);
  EXPECT_GT(blocks.validation.size(), 0);
  EXPECT_EQ(blocks.train.word_starts.size(), blocks.train.ids.size());
  const int32_t cls = tokenizer->special_id("cls_token").value(),
                sep = tokenizer->special_id("sep_token").value();
  EXPECT_EQ(blocks.train.ids[0], cls);
  for (size_t i = 1; i < blocks.train.ids.size(); ++i) {
    const int32_t id = blocks.train.ids[i];
    const bool continues = tokenizer->id_to_token(id).rfind("##", 0) == 0;
    ASSERT_EQ(blocks.train.word_starts[i], continues ? 0 : 1) << i;
    ASSERT_EQ(id == cls, blocks.train.ids[i - 1] == sep) << i;
  }
}

TEST(LanguageModelData, WordsAreMaskedWhole) {
  GRAFT_SHARED_PATH(vocabulary, "data/tokenizers/bert-base-uncased");
  GRAFT_SHARED_PATH(corpus, "data/corpora/en/african_storybook.txt.xz");
  const auto tokenizer = Tokenizer::from_pretrained(vocabulary);
  TextBlockOptions options;
  options.line_by_line = true;
  options.max_seq_length = 64;
  options.word_starts = true;
  options.max_train_samples = 2000;
  const TextBlocks blocks = read_text_blocks({corpus}, *tokenizer, options);
  ASSERT_EQ(blocks.train.size(), 2000);
  MlmOptions mlm;
  mlm.whole_word = true;
  const MlmMasker masker(*tokenizer, mlm);
  int64_t tokens = 0, chosen = 0;
  for (int64_t i = 0; i < blocks.train.size(); ++i) {
    std::vector<int32_t> ids(blocks.train.row(i), blocks.train.row(i) + blocks.train.length(i));
    const uint8_t* starts = blocks.train.row_word_starts(i);
    MaskedRows masked;
    masker.mask(0, i, ids.data(), starts, blocks.train.length(i), 0, masked);
    std::vector<bool> hidden(ids.size(), false);
    for (const int32_t row : masked.rows) hidden[static_cast<size_t>(row)] = true;
    for (size_t p = 1; p < ids.size(); ++p) {
      if (starts[p] == 0) {
        ASSERT_EQ(hidden[p], hidden[p - 1]) << i << " " << p;
      }
    }
    EXPECT_FALSE(hidden.front() || hidden.back());
    tokens += blocks.train.length(i) - 2;
    chosen += static_cast<int64_t>(masked.rows.size());
  }
  EXPECT_NEAR(static_cast<double>(chosen) / static_cast<double>(tokens), 0.15, 0.01);
}

}  // namespace
}  // namespace graft::data
