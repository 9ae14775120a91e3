// The files of a tokenizer, rewritten for a smaller or a larger vocabulary.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace graft::text {

// Pieces for the end of a vocabulary, with what their type of model needs.
struct AddedPieces {
  std::vector<std::string> pieces;
  std::vector<std::pair<std::string, std::string>> merges{};  // BPE: in order, behind the old ones
  std::vector<double> scores{};                               // Unigram: log probabilities, one a piece
};

// A folder as Tokenizer::save writes it. A text whose pieces all stay is cut into the same pieces afterwards:
// WordPiece takes the longest piece that there is, Unigram the best cut of those there are, and BPE needs the
// parts of its pieces, which parts_of() names.
class VocabularyFiles {
 public:
  // Throws Error for a folder without a tokenizer.json and for a type of model without pieces.
  explicit VocabularyFiles(std::filesystem::path folder);

  int32_t num_ids() const { return num_ids_; }  // one more than the highest id
  // The ids that stay whatever is kept: special and added tokens, bytes, single characters.
  const std::vector<bool>& required() const { return required_; }
  // BPE: the pieces from which `id` is merged, and their parts; empty elsewhere.
  std::vector<int32_t> parts_of(int32_t id) const;
  // Rewrites the files for these ids, ascending; the new id of ids[i] is i. Files that would contradict the
  // new ids and cannot be rewritten (a sentencepiece model) are removed.
  void keep(const std::vector<int32_t>& ids);
  // Adds pieces behind the others; their ids begin at num_ids(). Throws Error for a piece that is there, and
  // where added tokens lie behind a vocabulary whose ids are positions (vocab.txt, Unigram). A sentencepiece
  // model is removed.
  void append(const AddedPieces& added);
  const std::string& type() const { return type_; }  // "WordPiece", "BPE", "Unigram" or "WordLevel"
  // Unigram: the score of each id; empty elsewhere.
  std::vector<double> scores() const;
  // What stands before a piece inside a word ("##"), often nothing.
  std::string continuing_prefix() const;
  bool has(const std::string& piece) const { return ids_.contains(piece); }

 private:
  struct Merge {
    int32_t left, right;
  };
  void require(const Json& token);
  void require_id(int64_t id);
  void read_pieces();
  void read_merges();
  void require_special_tokens();
  int32_t id_of(const std::string& piece) const;
  void keep_tokenizer_json(const std::vector<int32_t>& new_ids);
  void remove_sentencepiece_models() const;
  void write_bpe_files() const;
  void keep_legacy_files(const std::vector<int32_t>& ids, const std::vector<int32_t>& new_ids) const;

  std::filesystem::path folder_;
  Json json_;  // tokenizer.json
  std::string type_;
  std::map<std::string, int32_t> ids_;
  std::map<int32_t, std::vector<Merge>> merges_;  // by the id of their result
  std::vector<bool> required_;
  int32_t num_ids_ = 0;
};

}  // namespace graft::text
