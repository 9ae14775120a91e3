// The functions of Tokenizer that use its virtual functions only.
#include "graft/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "base/error.h"
#include "base/threads.h"

namespace graft {

std::vector<Encoding> Tokenizer::encode_batch(const std::vector<std::string>& texts,
                                              const std::vector<std::string>& pairs,
                                              const EncodeOptions& options) const {
  if (!pairs.empty() && pairs.size() != texts.size())
    fail("encode_batch: {} texts, but {} pairs", texts.size(), pairs.size());
  std::vector<Encoding> out(texts.size());
  std::vector<std::exception_ptr> errors(texts.size() / 16 + 1);
  parallel_blocks(static_cast<int64_t>(texts.size()), 16, [&](int64_t begin, int64_t end) {
    try {
      for (int64_t i = begin; i < end; ++i)
        out[i] = pairs.empty() ? encode(texts[i], options) : encode_pair(texts[i], pairs[i], options);
    } catch (...) {
      errors[begin / 16] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return out;
}

std::vector<std::string> Tokenizer::tokens(const Encoding& encoding) const {
  std::vector<std::string> out;
  out.reserve(encoding.input_ids.size());
  for (const int32_t id : encoding.input_ids) out.push_back(id_to_token(id));
  return out;
}

int32_t Tokenizer::add_tokens(const std::vector<std::string>& tokens, bool special) {
  std::vector<NewToken> list;
  list.reserve(tokens.size());
  for (const std::string& token : tokens) list.push_back({token, special, false, false, false, !special});
  return add_new_tokens(list);
}

void Tokenizer::check_embedding(int64_t num_embeddings) const {
  constexpr int kShown = 12;
  std::string names;
  int64_t count = 0, first = -1;
  for (int64_t id = std::max<int64_t>(num_embeddings, 0); id < vocab_size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    const std::string source = token_source(token);
    if (source.empty()) continue;
    if (first < 0) first = id;
    if (++count <= kShown)
      names += fmt::format("{}{:?} ({})", names.empty() ? "" : ", ", id_to_token(token), source);
  }
  if (count == 0) return;
  if (count > kShown) names += fmt::format(", ... {} in all", count);
  const auto token = static_cast<int32_t>(first);
  fail_with("remove these tokens from the files named, or use the tokenizer of this checkpoint",
            "token {:?} has id {}, but the embedding has only {} rows; tokens beyond it: {}",
            id_to_token(token), first, num_embeddings, names);
}

std::vector<std::vector<uint8_t>> pad_batch(std::vector<Encoding>& batch, const PaddingBlock& padding) {
  size_t length = static_cast<size_t>(padding.fixed_length);
  if (length == 0)
    for (const Encoding& e : batch) length = std::max(length, e.input_ids.size());
  if (const auto m = static_cast<size_t>(padding.pad_to_multiple_of); m > 0)
    length = (length + m - 1) / m * m;
  std::vector<std::vector<uint8_t>> masks;
  for (Encoding& e : batch) {
    const size_t size = e.input_ids.size();
    const size_t extra = padding.enabled && size < length ? length - size : 0;
    const auto pad = [&](auto& values, const auto& value) {
      if (values.size() == size) values.insert(padding.left ? values.begin() : values.end(), extra, value);
    };
    std::vector<uint8_t> mask(size, 1);
    pad(mask, uint8_t{0});
    pad(e.token_type_ids, padding.pad_type_id);
    pad(e.offsets, std::pair<int32_t, int32_t>(0, 0));
    pad(e.word_ids, -1);
    pad(e.sequence_ids, -1);
    pad(e.special_tokens_mask, uint8_t{1});
    pad(e.input_ids, padding.pad_id);
    masks.push_back(std::move(mask));
  }
  return masks;
}

}  // namespace graft
