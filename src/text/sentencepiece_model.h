// Reads sentencepiece .model files: a few fields of a protocol buffer.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text {

struct SentencePieceModel {
  enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    int type = normal;
  };
  std::vector<Piece> pieces;
  bool is_bpe = false;  // else unigram
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  int32_t unk_id = 0;
  std::string charsmap;  // the precompiled character map, may be empty
};

// Throws Error with `where` and the position of the invalid byte.
SentencePieceModel read_sentencepiece(std::string_view bytes, const std::string& where);

}  // namespace graft::text
