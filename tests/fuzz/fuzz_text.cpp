// Arbitrary text through the small tokenizers of tests/golden: offsets lie within it, both ways through a
// tokenizer agree. The first byte picks the tokenizer.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "graft/error.h"
#include "graft/tokenizer.h"

namespace {

const graft::Tokenizer& tokenizer_of(uint8_t choice) {
  static const std::vector<std::shared_ptr<graft::Tokenizer>> all = [] {
    std::vector<std::shared_ptr<graft::Tokenizer>> loaded;
    for (const char* name : {"small-bert-uncased", "small-bert-cased", "small-roberta", "small-gpt2",
                             "small-xlm-roberta", "small-t5", "small-llama", "small-modernbert"})
      loaded.push_back(graft::Tokenizer::from_pretrained(
          std::string(GRAFT_SOURCE_DIR "/tests/golden/tokenizers/") + name));
    return loaded;
  }();
  return *all[choice % all.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const graft::Tokenizer& tokenizer = tokenizer_of(data[0]);
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const graft::Encoding e = tokenizer.encode(text);
  const auto chars = static_cast<int32_t>(graft::utf8::length(graft::utf8::replace_invalid(text)));
  for (const auto& [begin, end] : e.offsets)
    if (begin < 0 || end < begin || end > chars) __builtin_trap();
  graft::EncodeOptions options;
  options.ids_only = true;
  if (tokenizer.encode(text, options).input_ids != e.input_ids) __builtin_trap();
  tokenizer.decode(e.input_ids);
  options.ids_only = false;
  options.max_length = 32;
  options.stride = 4;
  options.return_overflowing = true;
  const std::string first = text.substr(0, text.size() / 2), second = text.substr(text.size() / 2);
  options.truncation = graft::Truncation::only_second;
  if (tokenizer.encode_pair("a", second, options).input_ids.size() > 32) __builtin_trap();
  options.truncation = graft::Truncation::longest_first;
  try {
    if (tokenizer.encode_pair(first, second, options).input_ids.size() > 32) __builtin_trap();
  } catch (const graft::Error&) {  // two long texts have too many windows
  }
  return 0;
}
