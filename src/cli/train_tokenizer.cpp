// graft train-tokenizer: a new vocabulary from text.
#include "graft/train_tokenizer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "train/output.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

bool is_compressed(const fs::path& file) {
  const std::string e = file.extension().string();
  return e == ".gz" || e == ".zst" || e == ".xz";
}

// Decompresses a file into the output folder, because the trainer maps files into memory.
fs::path unpack(const fs::path& file, const fs::path& folder, size_t index) {
  fs::path out = folder / fmt::format(".text-{}.tmp", index);
  const auto from = data::open_stream(file);
  OutputStream to(out.string());
  std::string buffer(size_t{1} << 16, '\0');
  int64_t line = 1;
  size_t length = 0;  // of the line so far
  for (size_t n = from->read(buffer.data(), buffer.size()); n > 0;
       n = from->read(buffer.data(), buffer.size())) {
    const std::string_view bytes = std::string_view(buffer).substr(0, n);
    const size_t last = bytes.rfind('\n');
    length = last == std::string_view::npos ? length + n : n - last - 1;
    line += std::count(bytes.begin(), bytes.end(), '\n');
    if (length > kMaxRowBytes)
      fail_with("a text is one line: check that the file has line ends (U+000A)",
                "{}: line {}: longer than {} MiB", file.string(), line, kMaxRowBytes >> 20);
    to.write(bytes);
  }
  to.finish();
  return out;
}

// Refuses options without an effect for the type.
void check_type(const Options& options, const TrainTokenizerOptions& o) {
  struct Only {
    const char* option;
    bool asked;
    std::vector<std::string> types;
  };
  for (const Only& only : std::vector<Only>{{"lowercase", o.lowercase, {"wordpiece"}},
                                            {"add_prefix_space", o.add_prefix_space, {"bpe"}},
                                            {"extra_ids", o.extra_ids > 0, {"unigram"}},
                                            {"min_frequency", true, {"wordpiece", "bpe"}},
                                            {"limit_alphabet", true, {"wordpiece", "unigram"}},
                                            {"initial_alphabet", true, {"wordpiece", "unigram"}}}) {
    if (!options.given(only.option) || !only.asked) continue;
    if (std::find(only.types.begin(), only.types.end(), o.type) != only.types.end()) continue;
    throw UsageError(fmt::format("--{} is refused for --type {}: it is for {}", only.option, o.type,
                                 fmt::join(only.types, " and ")));
  }
}

struct Temporaries {
  std::vector<fs::path> files;
  ~Temporaries() {
    std::error_code ignored;
    for (const fs::path& f : files) fs::remove(f, ignored);
  }
};

}  // namespace

int train_tokenizer(int argc, char** argv) {
  TrainTokenizerOptions o;
  std::vector<std::string> files;
  std::string output_dir;
  int64_t vocab_size = o.vocab_size, limit_alphabet = 0, max_token_length = 0,
          model_max_length = o.model_max_length, extra_ids = 0;
  Options options(
      "train-tokenizer", "a new vocabulary from text: WordPiece, byte-level BPE or Unigram",
      {"graft train-tokenizer --train_file corpus.txt --type wordpiece --vocab_size 8_000 --output_dir "
       "tokenizer",
       "graft train-tokenizer --train_file en.txt.xz de.txt.xz --type unigram --output_dir tokenizer",
       "graft train-tokenizer --train_file en.txt --type bpe --special_tokens '<|endoftext|>' --output_dir "
       "gpt2-tokenizer",
       "graft train-tokenizer --train_file en.txt --type unigram --extra_ids 100 --output_dir t5-tokenizer"});
  options.list("train_file", files, "text, a line at a time; each also .gz .zst .xz");
  options.text("output_dir", output_dir, "folder for tokenizer.json and its kin", true);
  options.text("type", o.type, "wordpiece (as BERT), bpe (byte-level, as RoBERTa) or unigram (as T5, XLM-R)");
  options.integer("vocab_size", vocab_size, "tokens, special ones included", {1, 1e8});
  options.integer("min_frequency", o.min_frequency, "pairs that are rarer are not merged (wordpiece, bpe)",
                  {0, 1e12});
  options.list("special_tokens", o.special_tokens, "the first ids; default: those of the type's family");
  options.integer("extra_ids", extra_ids,
                  "unigram: > 0 makes a T5 tokenizer with as many sentinels <extra_id_0>, ...; T5 has 100",
                  {0, 1e4});
  options.integer("limit_alphabet", limit_alphabet, "most characters to keep; 0 = all", {0, 1e8});
  options.list("initial_alphabet", o.initial_alphabet, "characters that are kept however rare");
  options.integer("max_token_length", max_token_length, "characters; 0 = no limit (unigram: 16)", {0, 1e8});
  options.flag("lowercase", o.lowercase, "wordpiece: lower-case and strip accents");
  options.flag("add_prefix_space", o.add_prefix_space, "bpe: a space before the first word");
  options.integer("model_max_length", model_max_length, "written into tokenizer_config.json", {0, 1e8});
  options.threads();
  if (!options.parse(argc, argv, 2)) return 0;
  if (files.empty())
    throw UsageError("--train_file is needed", "graft train-tokenizer --help shows examples");
  o.vocab_size = static_cast<int32_t>(vocab_size);
  o.extra_ids = static_cast<int32_t>(extra_ids);
  o.limit_alphabet = static_cast<int32_t>(limit_alphabet);
  o.max_token_length = static_cast<int32_t>(max_token_length);
  o.model_max_length = static_cast<int32_t>(model_max_length);

  check_type(options, o);
  if (path_exists(fs::path(output_dir) / "config.json")) {
    fail_with("choose another --output_dir", "{}: holds a model, whose tokenizer would be replaced",
              output_dir);
  }
  train::prepare_output(output_dir);
  Temporaries temporaries;
  std::vector<fs::path> texts;
  for (const std::string& file : files) {
    warn_of_columns(file);
    texts.emplace_back(file);
    if (!is_compressed(file)) continue;
    temporaries.files.push_back(unpack(file, output_dir, temporaries.files.size()));
    texts.back() = temporaries.files.back();
  }
  const auto tokenizer = graft::train_tokenizer(texts, o);
  tokenizer->save(output_dir);
  TokenizerStats total;
  for (const fs::path& text : texts) total += tokenizer_stats(*tokenizer, text);
  fmt::print(
      "{} with {} tokens in {}: {:.2f} bytes a token, {:.2f} tokens a word, {:.3f} % unknown on its own "
      "text\n",
      tokenizer->kind(), tokenizer->vocab_size(), output_dir, total.bytes_per_token(), total.fertility(),
      100 * total.unknown_rate());
  return 0;
}

}  // namespace graft::cli
