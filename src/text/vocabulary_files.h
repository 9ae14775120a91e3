// The files of a tokenizer, rewritten for a smaller vocabulary.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::text {

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
  // WordPiece: adds pieces behind the others. Throws Error for another type, and for a piece that is there.
  void append(const std::vector<std::string>& pieces);
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
