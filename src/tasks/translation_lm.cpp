#include "tasks/translation_lm.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "tasks/masked_lm.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

namespace {

// Pairs as ids, masked later.
struct EncodedPairs {
  data::TokenStore tokens;
  std::vector<int32_t> token_type_ids;
  int64_t truncated = 0, truncated_tokens = 0;

  void add(const Encoding& e, bool word_starts) {
    std::vector<int32_t>& ids = tokens.ids.own();
    ids.insert(ids.end(), e.input_ids.begin(), e.input_ids.end());
    token_type_ids.insert(token_type_ids.end(), e.token_type_ids.begin(), e.token_type_ids.end());
    token_type_ids.resize(ids.size(), 0);
    // Words are counted from 0 in each sentence; a special token (-1) stands between the two.
    for (size_t i = 0; word_starts && i < e.word_ids.size(); ++i)
      tokens.word_starts.push_back(e.word_ids[i] < 0 || i == 0 || e.word_ids[i] != e.word_ids[i - 1]);
    tokens.offsets.push_back(static_cast<int64_t>(ids.size()));
    truncated += e.num_truncated > 0;
    truncated_tokens += e.num_truncated;
  }
};

}  // namespace

std::unique_ptr<Features> translation_features(const Model& model, const Tokenizer& tokenizer,
                                               const std::vector<std::string>& source,
                                               const std::vector<std::string>& target,
                                               const FeatureSettings& settings, const char* part) {
  constexpr std::ptrdiff_t kPiece = 4096;  // pairs in flight
  const bool word_starts = settings.whole_word_mask || settings.span_mask;
  EncodeOptions options;
  options.ids_only = !word_starts;
  options.truncation = Truncation::longest_first;
  options.max_length = static_cast<int32_t>(settings.max_seq_length);
  EncodedPairs pairs;
  for (std::ptrdiff_t begin = 0; begin < std::ssize(source); begin += kPiece) {
    const std::ptrdiff_t end = std::min(std::ssize(source), begin + kPiece);
    for (const Encoding& e :
         tokenizer.encode_batch({source.begin() + begin, source.begin() + end},
                                {target.begin() + begin, target.begin() + end}, options)) {
      if (word_starts && e.word_ids.size() != e.input_ids.size())
        fail_with("leave whole-word masking off", "this tokenizer does not say which tokens make a word");
      check_ids(e.input_ids.data(), e.input_ids.size(), model, tokenizer, "the parallel text");
      pairs.add(e, word_starts);
    }
  }
  log_info("{} pairs: {} sequences of <= {} tokens; {} truncated, dropped {} tokens", part,
           pairs.tokens.size(), settings.max_seq_length, pairs.truncated, pairs.truncated_tokens);
  return std::make_unique<MaskedFeatures>(std::move(pairs.tokens), mlm_masker(model, tokenizer, settings),
                                          std::move(pairs.token_type_ids));
}

}  // namespace graft::tasks
