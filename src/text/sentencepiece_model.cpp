#include "text/sentencepiece_model.h"

#include <cstring>

#include "base/error.h"
#include "base/utf8.h"

namespace graft::text {
namespace {

// The wire format: a message is a list of (field number, value).
class Reader {
 public:
  Reader(std::string_view bytes, size_t base, const std::string& where)
      : bytes_(bytes), base_(base), where_(where) {}

  struct Field {
    uint32_t number = 0;
    uint64_t value = 0;      // varint, or the bits of a fixed number
    std::string_view bytes;  // of a length-delimited field
    size_t base = 0;         // where `bytes` begins in the file
  };

  bool next(Field& field) {
    if (pos_ >= bytes_.size()) return false;
    const uint64_t tag = varint();
    field.number = static_cast<uint32_t>(tag >> 3);
    field.bytes = {};
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2: {
        const uint64_t size = varint();
        if (size > bytes_.size() - pos_) damaged("a field is longer than the file");
        field.base = base_ + pos_;
        field.bytes = bytes_.substr(pos_, size);
        pos_ += size;
        break;
      }
      case 5:
        field.value = fixed(4);
        break;
      default:
        damaged("unknown kind of field");
    }
    return true;
  }

 private:
  [[noreturn]] void damaged(const char* why) const {
    fail_with("the file is damaged or no sentencepiece model: download it again", "{}: byte {}: {}", where_,
              base_ + pos_, why);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (pos_ >= bytes_.size()) damaged("the file ends in a number");
      const auto b = static_cast<unsigned char>(bytes_[pos_++]);
      value |= uint64_t{b & 0x7Fu} << shift;
      if (b < 0x80) return value;
    }
    damaged("a number has more than 64 bits");
  }
  uint64_t fixed(size_t size) {
    if (size > bytes_.size() - pos_) damaged("the file ends in a number");
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + pos_, size);
    pos_ += size;
    return value;
  }

  std::string_view bytes_;
  size_t base_, pos_ = 0;
  const std::string& where_;
};

SentencePieceModel::Piece read_piece(const Reader::Field& message, const std::string& where) {
  SentencePieceModel::Piece piece;
  Reader reader(message.bytes, message.base, where);
  for (Reader::Field f; reader.next(f);) {
    if (f.number == 1) piece.text = f.bytes;
    if (f.number == 2) {
      const auto bits = static_cast<uint32_t>(f.value);
      std::memcpy(&piece.score, &bits, 4);
    }
    if (f.number == 3) piece.type = static_cast<int>(f.value);
  }
  if (utf8::find_invalid(piece.text) != std::string_view::npos)
    fail("{}: byte {}: a piece is not valid UTF-8", where, message.base);
  return piece;
}

}  // namespace

// Field numbers: sentencepiece_model.proto of google/sentencepiece.
SentencePieceModel read_sentencepiece(std::string_view bytes, const std::string& where) {
  SentencePieceModel model;
  Reader reader(bytes, 0, where);
  for (Reader::Field f; reader.next(f);) {
    if (f.number == 1) {
      model.pieces.push_back(read_piece(f, where));
      if (model.pieces.back().type == SentencePieceModel::unknown)
        model.unk_id = static_cast<int32_t>(model.pieces.size()) - 1;
    } else if (f.number == 2) {
      Reader trainer(f.bytes, f.base, where);
      for (Reader::Field t; trainer.next(t);) {
        if (t.number == 3) model.is_bpe = t.value == 2;
        if (t.number == 35) model.byte_fallback = t.value != 0;
        if (t.number == 3 && t.value > 2)
          fail("{}: a sentencepiece model of kind {} (graft reads unigram and BPE)", where, t.value);
      }
    } else if (f.number == 3) {
      Reader normalizer(f.bytes, f.base, where);
      for (Reader::Field n; normalizer.next(n);) {
        if (n.number == 2) model.charsmap = n.bytes;
        if (n.number == 3) model.add_dummy_prefix = n.value != 0;
      }
    }
  }
  if (model.pieces.empty()) fail_with("is this a sentencepiece model?", "{}: holds no pieces", where);
  return model;
}

}  // namespace graft::text
