#include "text/token_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "text/json_text.h"

namespace graft::text {
namespace {

constexpr size_t kMaxDigits = 10;  // of a non-negative int32_t

char* write_number(char* at, int32_t n) { return std::to_chars(at, at + kMaxDigits, n).ptr; }

}  // namespace

TokenWriter::TokenWriter(const Tokenizer& tokenizer, bool add_special_tokens)
    : tokenizer_(dynamic_cast<const FileTokenizer&>(tokenizer)), add_special_tokens_(add_special_tokens) {
  const int32_t size = tokenizer.vocab_size();
  begin_.reserve(static_cast<size_t>(size) + 1);
  number_.resize(static_cast<size_t>(size));
  for (int32_t id = 0; id < size; ++id) {
    begin_.push_back(static_cast<uint32_t>(quoted_.size()));
    append_json_string(quoted_, tokenizer.id_to_token(id));
    quoted_ += ',';
    Text& text = number_[static_cast<size_t>(id)];
    char* end = write_number(text.bytes, id);
    *end++ = ',';
    text.size = static_cast<uint8_t>(end - text.bytes);
  }
  begin_.push_back(static_cast<uint32_t>(quoted_.size()));
  quoted_.append(Text::kMax + 1, '\0');  // append() reads beyond the last token
}

void LineBuffer::add(std::string_view text) {
  char* at = ask(text.size());
  std::memcpy(at, text.data(), text.size());
  take(at + text.size());
}

void LineBuffer::grow(size_t size) {
  if (sink_ && size_ > 1) {  // the last byte stays: drop_comma() may remove it
    sink_({bytes_.get(), size_ - 1});
    bytes_[0] = bytes_[size_ - 1];
    size_ = 1;
    if (size_ + size <= capacity_) return;
  }
  const size_t wanted = std::max({size_ + size, sink_ ? kSinkBytes : 2 * capacity_, size_t{4096}});
  auto bytes = std::make_unique_for_overwrite<char[]>(wanted);
  if (size_ > 0) std::memcpy(bytes.get(), bytes_.get(), size_);
  bytes_ = std::move(bytes);
  capacity_ = wanted;
}

int32_t TokenWriter::append(std::string_view text, LineBuffer& out) const {
  const auto write = [&](const SequenceTokens& tokens, const std::vector<TemplatePiece>& pieces) {
    // Calls see(ids, offsets) for each stretch of tokens; the offsets of special ones are nullptr.
    const auto for_each_stretch = [&](auto see) {
      for (const TemplatePiece& piece : pieces) {
        if (piece.sequence < 0)
          see(piece.ids.data(), static_cast<const std::pair<int32_t, int32_t>*>(nullptr), piece.ids.size());
        else
          see(tokens.ids.data(), tokens.offsets.data(), tokens.ids.size());
      }
    };
    out.add(R"({"input_ids":[)");
    for_each_stretch([&](const int32_t* ids, auto, size_t n) {
      for (size_t i = 0; i < n; ++i) {
        const Text& number = number_[static_cast<size_t>(ids[i])];
        char* at = out.ask(sizeof number);
        std::memcpy(at, &number, sizeof number);
        out.take(at + number.size);
      }
    });
    out.drop_comma();
    out.add(R"(],"tokens":[)");
    for_each_stretch([&](const int32_t* ids, auto, size_t n) {
      for (size_t i = 0; i < n; ++i) {
        const auto id = static_cast<size_t>(ids[i]);
        const size_t size = begin_[id + 1] - begin_[id];
        char* at = out.ask(std::max(size, sizeof(Text)));
        if (size <= sizeof(Text))
          std::memcpy(at, quoted_.data() + begin_[id], sizeof(Text));
        else
          std::memcpy(at, quoted_.data() + begin_[id], size);
        out.take(at + size);
      }
    });
    out.drop_comma();
    out.add(R"(],"offsets":[)");
    for_each_stretch([&](const int32_t*, const std::pair<int32_t, int32_t>* offsets, size_t n) {
      constexpr size_t kMaxPair = 2 * kMaxDigits + 4;
      for (size_t i = 0; i < n; ++i) {
        char* at = out.ask(kMaxPair);
        *at++ = '[';
        at = write_number(at, offsets ? offsets[i].first : 0);
        *at++ = ',';
        at = write_number(at, offsets ? offsets[i].second : 0);
        *at++ = ']';
        *at++ = ',';
        out.take(at);
      }
    });
    out.drop_comma();
    out.add("]}\n");
  };
  return tokenizer_.visit(text, add_special_tokens_, write);
}

}  // namespace graft::text
