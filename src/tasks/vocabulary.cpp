#include "tasks/vocabulary.h"

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "models/state.h"

namespace graft::tasks {

int64_t embedding_rows(const Model& model) {
  return model.state().network.encoder->word_embeddings()->rows();
}

void warn_of_excess_tokens(const Model& model, const Tokenizer& tokenizer) {
  const int64_t rows = embedding_rows(model);
  if (tokenizer.vocab_size() <= rows) return;
  int32_t first = static_cast<int32_t>(rows);
  while (first + 1 < tokenizer.vocab_size() && tokenizer.id_to_token(first).empty()) ++first;
  log_warning(
      "the tokenizer has ids up to {} but the model's embedding has {} rows: '{}' (id {}, from {}) is the "
      "first "
      "token without a row; a text that holds such a token is refused",
      tokenizer.vocab_size() - 1, rows, shown(tokenizer.id_to_token(first)), first,
      tokenizer.token_source(first));
}

void check_ids(const int32_t* ids, size_t count, const Model& model, const Tokenizer& tokenizer,
               const std::string& where) {
  const int64_t rows = embedding_rows(model);
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] >= 0 && ids[i] < rows) continue;
    const std::string source = tokenizer.token_source(ids[i]);
    fail_with(source.empty()
                  ? "use the tokenizer that belongs to the checkpoint"
                  : fmt::format(
                        "remove the tokens from id {} on from the tokenizer's {}: they were added after the "
                        "checkpoint was trained; or use the tokenizer that belongs to it",
                        rows, source),
              "{}the token '{}' has id {}, but the model's embedding has {} rows",
              where.empty() ? "" : where + ": ", shown(tokenizer.id_to_token(ids[i])), ids[i], rows);
  }
}

}  // namespace graft::tasks
