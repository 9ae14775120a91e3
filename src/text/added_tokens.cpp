#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "text/unicode.h"

namespace graft::text {
namespace {

char32_t char_before(std::string_view text, size_t begin, size_t pos, size_t& start) {
  start = pos - 1;
  while (start > begin && is_continuation(text[start])) --start;
  size_t p = start;
  return next_char(text, p);
}

bool is_word_char(char32_t c) { return char_flags(c) & kWord; }

}  // namespace

void TokenFinder::add(const AddedToken& token, const std::string& pattern) {
  if (pattern.empty()) return;
  builder_.add(pattern, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(token);
  bool& first = first_[static_cast<unsigned char>(pattern[0])];
  num_first_ += !first;
  first = true;
  only_first_ = pattern[0];
  if (pattern.size() == 1)
    has_single_byte_ = true;
  else
    second_[static_cast<unsigned char>(pattern[1])] = true;
}

size_t TokenFinder::candidate(std::string_view text, size_t pos, size_t end) const {
  if (num_first_ == 0) return end;
  for (; pos < end; ++pos) {
    if (num_first_ == 1) {
      const void* at = std::memchr(text.data() + pos, only_first_, end - pos);
      if (!at) return end;
      pos = static_cast<size_t>(static_cast<const char*>(at) - text.data());
    }
    if (!first_[static_cast<unsigned char>(text[pos])]) continue;
    if (has_single_byte_ || (pos + 1 < end && second_[static_cast<unsigned char>(text[pos + 1])])) return pos;
  }
  return end;
}

bool TokenFinder::match(std::string_view text, size_t pos, size_t end, size_t& match_end,
                        const AddedToken*& token) const {
  uint32_t node = Trie::kRoot;
  bool found = false;
  for (size_t i = pos; i < end; ++i) {
    node = trie_.next(node, static_cast<unsigned char>(text[i]));
    if (node == Trie::kNone) break;
    if (const int32_t value = trie_.value(node); value >= 0) {
      token = &tokens_[static_cast<size_t>(value)];
      match_end = i + 1;
      found = true;
    }
  }
  return found;
}

void TokenFinder::find(std::string_view text, size_t begin, size_t end, std::vector<Section>& out) const {
  size_t done = begin;
  for (size_t pos = candidate(text, begin, end); pos < end;) {
    size_t stop = 0;
    const AddedToken* token = nullptr;
    if (!match(text, pos, end, stop, token)) {
      pos = candidate(text, pos + 1, end);
      continue;
    }
    size_t start = pos;
    pos = candidate(text, stop, end);
    size_t at = 0;
    if (splits_special_ && token->special) continue;
    if (token->single_word) {
      size_t next = stop;
      if ((start > begin && is_word_char(char_before(text, begin, start, at))) ||
          (stop < end && is_word_char(next_char(text, next))))
        continue;
    }
    if (token->lstrip)
      while (start > done && is_whitespace(char_before(text, begin, start, at))) start = at;
    if (token->rstrip)
      for (size_t next = stop; stop < end; stop = next)
        if (!is_whitespace(next_char(text, next))) break;
    if (start > done) out.push_back({done, start, -1});
    out.push_back({start, stop, token->id});
    done = stop;
    if (pos < stop) pos = candidate(text, stop, end);
  }
  if (done < end) out.push_back({done, end, -1});
}

void AddedTokens::add(AddedToken token) {
  const auto it = by_content_.find(token.content);
  if (it != by_content_.end()) {
    AddedToken& old = tokens_[it->second];
    by_id_.erase(old.id);
    by_id_[token.id] = it->second;
    old = std::move(token);
    return;
  }
  by_content_[token.content] = tokens_.size();
  by_id_[token.id] = tokens_.size();
  tokens_.push_back(std::move(token));
}

void AddedTokens::refresh(const Normalizer* normalizer) {
  raw_ = {};
  normalized_ = {};
  for (const AddedToken& token : tokens_) {
    if (!token.normalized) {
      raw_.add(token, token.content);
      continue;
    }
    AlignedText text;
    text.assign(token.content, 0);
    if (normalizer) normalizer->normalize(text);
    normalized_.add(token, text.text);
  }
  raw_.set_splits_special(splits_special_);
  normalized_.set_splits_special(splits_special_);
  raw_.finish();
  normalized_.finish();
}

const AddedToken* AddedTokens::by_id(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::by_content(const std::string& content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

}  // namespace graft::text
