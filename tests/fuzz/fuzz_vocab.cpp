// Legacy tokenizer folders. The first byte picks the kind ('v': vocab.txt, 'b': vocab.json + merges.txt); the
// rest is files, each ended by a zero byte: the kind's, then tokenizer_config.json, special_tokens_map.json,
// added_tokens.json (an empty one is not written), then a text.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "graft/error.h"
#include "graft/tokenizer.h"

namespace {

namespace fs = std::filesystem;

const fs::path& scratch_folder() {
  static const fs::path folder = [] {
    const fs::path memory = "/dev/shm";
    const fs::path in = fs::is_directory(memory) ? memory : fs::temp_directory_path();
    return in / ("graft_fuzz_vocab_" + std::to_string(::getpid()));
  }();
  return folder;
}

void encode_everything(const graft::Tokenizer& tokenizer, const std::string& text) {
  const graft::Encoding e = tokenizer.encode(text);
  for (const auto& [begin, end] : e.offsets)
    if (begin < 0 || end < begin) __builtin_trap();
  tokenizer.decode(e.input_ids);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::vector<const char*> names = {"vocab.txt"};
  if (data[0] == 'b') names = {"vocab.json", "merges.txt"};
  names.insert(names.end(), {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"});
  std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const fs::path& folder = scratch_folder();
  fs::create_directories(folder);
  for (const char* name : names) {
    const size_t end = std::min(rest.find('\0'), rest.size());
    if (end > 0) std::ofstream(folder / name, std::ios::binary).write(rest.data(), static_cast<long>(end));
    rest.erase(0, end + 1);
  }
  try {
    encode_everything(*graft::Tokenizer::from_pretrained(folder), rest.empty() ? "a b \xC3\xA9" : rest);
  } catch (const graft::Error&) {
  }
  fs::remove_all(folder);
  return 0;
}
