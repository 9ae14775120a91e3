// Tokens that are found in the text before the model sees it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/aligned_text.h"
#include "text/normalizer.h"
#include "text/trie.h"

namespace graft::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
  std::string source = "tokenizer.json";  // the file that gave the token

  bool has_same_flags(const AddedToken& o) const {
    return single_word == o.single_word && lstrip == o.lstrip && rstrip == o.rstrip &&
           normalized == o.normalized && special == o.special;
  }
};

// A stretch of text: an added token (id >= 0) or text between added tokens (id -1).
struct Section {
  size_t begin, end;
  int32_t id;
};

// Finds the leftmost, then longest of a set of added tokens.
class TokenFinder {
 public:
  void add(const AddedToken& token, const std::string& pattern);
  // Special tokens are read as text, like the rest (tokenizer_config.json's split_special_tokens).
  void set_splits_special(bool splits) { splits_special_ = splits; }
  void finish() { trie_ = builder_.build(); }  // call it after the last add()
  bool empty() const { return tokens_.empty(); }
  // Appends sections that cover text[begin, end). A token with lstrip or rstrip includes the white space
  // beside it.
  void find(std::string_view text, size_t begin, size_t end, std::vector<Section>& out) const;
  // First position at or behind `pos` where a token could begin, or `end`.
  size_t candidate(std::string_view text, size_t pos, size_t end) const;

 private:
  bool match(std::string_view text, size_t pos, size_t end, size_t& match_end,
             const AddedToken*& token) const;

  TrieBuilder builder_;
  Trie trie_;
  std::vector<AddedToken> tokens_;
  bool first_[256] = {};   // bytes that begin a token
  bool second_[256] = {};  // second bytes of tokens
  bool has_single_byte_ = false, splits_special_ = false;
  int num_first_ = 0;  // number of first bytes; only_first_ is one of them
  char only_first_ = 0;
};

// All added tokens of a tokenizer. Those with normalized=true are looked for in the normalized text.
class AddedTokens {
 public:
  // Replaces a token of the same content.
  void add(AddedToken token);
  void set_splits_special(bool splits) { splits_special_ = splits; }  // call refresh() afterwards
  void refresh(const Normalizer* normalizer);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const TokenFinder& raw() const { return raw_; }
  const TokenFinder& normalized() const { return normalized_; }
  const AddedToken* by_id(int32_t id) const;
  const AddedToken* by_content(const std::string& content) const;
  bool is_special(int32_t id) const {
    const AddedToken* token = by_id(id);
    return token && token->special;
  }

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  TokenFinder raw_, normalized_;
  bool splits_special_ = false;
};

}  // namespace graft::text
