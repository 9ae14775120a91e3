// Tokenizer files of every kind and texts: the first byte picks the reader, a zero byte ends the file, the
// rest is text.
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/utf8.h"
#include "graft/error.h"
#include "graft/tokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_json.h"

namespace {

void read_and_encode(const std::string& file, const std::string& text) {
  const auto tokenizer = graft::text::tokenizer_from_json(file, "fuzz.json");
  const graft::Encoding e = tokenizer->encode(text);
  for (const auto& [begin, end] : e.offsets)
    if (begin < 0 || end < begin) __builtin_trap();
  tokenizer->decode(e.input_ids);
  graft::EncodeOptions options;
  options.max_length = 8;
  options.stride = 1;
  options.return_overflowing = true;
  const std::string first = text.substr(0, text.size() / 2), second = text.substr(text.size() / 2);
  options.truncation = graft::Truncation::only_second;
  tokenizer->encode_pair("", second, options);
  options.truncation = graft::Truncation::longest_first;
  tokenizer->encode_pair(first, second, options);  // an Error where two long texts have too many windows
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = data[0] == 'm' ? all.size() : std::min(all.find('\0'), all.size());
  const std::string file = all.substr(0, cut), text = cut < all.size() ? all.substr(cut + 1) : "a b \xC3\xA9";
  try {
    if (data[0] == 'm')
      graft::text::read_sentencepiece(file, "fuzz.model");
    else
      read_and_encode(file, text);
  } catch (const graft::Error&) {
  }
  return 0;
}
