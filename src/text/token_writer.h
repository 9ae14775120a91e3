// Texts as lines of json: {"input_ids":[...],"tokens":[...],"offsets":[[begin,end],...]}. They are written
// directly from the tokenizer's working memory, without an Encoding.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/file_tokenizer.h"

namespace graft::text {

// A growing buffer of bytes. Reserved memory is not initialised.
class LineBuffer {
 public:
  std::string_view text() const { return {bytes_.get(), size_}; }
  void clear() { size_ = 0; }
  // Returns room for `size` bytes; call take() with the end of the written bytes. With a sink, a full buffer
  // is written to the sink first.
  char* ask(size_t size) {
    if (size_ + size > capacity_) grow(size);
    return bytes_.get() + size_;
  }
  void take(const char* end) { size_ = static_cast<size_t>(end - bytes_.get()); }
  void add(std::string_view text);
  void set_sink(std::function<void(std::string_view)> sink) { sink_ = std::move(sink); }
  // Removes a comma at the end.
  void drop_comma() { size_ -= size_ > 0 && bytes_[size_ - 1] == ','; }

 private:
  void grow(size_t size);

  static constexpr size_t kSinkBytes = size_t{1} << 20;
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0, capacity_ = 0;
  std::function<void(std::string_view)> sink_;
};

class TokenWriter {
 public:
  // The tokenizer must outlive the writer and may not change.
  TokenWriter(const Tokenizer& tokenizer, bool add_special_tokens);
  // Appends the line of `text`, with its newline. Returns how many invalid stretches of UTF-8 were replaced.
  // Thread-safe for different `out`.
  int32_t append(std::string_view text, LineBuffer& out) const;

 private:
  // A short string of fixed capacity. All its bytes are copied, whatever its size.
  struct Text {
    static constexpr size_t kMax = 15;
    char bytes[kMax];
    uint8_t size;
  };

  const FileTokenizer& tokenizer_;
  bool add_special_tokens_;
  std::string quoted_;           // the tokens as json strings, each followed by a comma
  std::vector<uint32_t> begin_;  // the start of each in quoted_
  std::vector<Text> number_;     // the ids, each followed by a comma
};

}  // namespace graft::text
