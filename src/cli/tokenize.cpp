// graft tokenize: what a checkpoint's tokenizer makes of text, one json object a line.
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "graft/tokenizer.h"
#include "graft/train_tokenizer.h"

namespace graft::cli {
namespace {

// Lines end at U+000A only; bytes are left as they are, invalid UTF-8 too: the tokenizer replaces it.
class RawLines {
 public:
  explicit RawLines(const std::string& path) : stream_(data::open_stream(path)) {}

  // Whether next() would answer without reading.
  bool has_buffered_line() const { return buffer_.find('\n', pos_) != std::string::npos; }

  bool next(std::string& line) {
    line.clear();
    for (;;) {
      const size_t end = buffer_.find('\n', pos_);
      if (end != std::string::npos) {
        line.append(buffer_, pos_, end - pos_);
        pos_ = end + 1;
        return true;
      }
      line.append(buffer_, pos_);
      pos_ = 0;
      buffer_.resize(size_t{1} << 16);
      buffer_.resize(stream_->read(buffer_.data(), buffer_.size()));
      if (buffer_.empty()) return !line.empty();
    }
  }

 private:
  std::unique_ptr<data::ByteStream> stream_;
  std::string buffer_;
  size_t pos_ = 0;
};

std::string json_line(const Tokenizer& tokenizer, const Encoding& e) {
  Json offsets = Json::array();
  for (const auto& [begin, end] : e.offsets) offsets.push_back({begin, end});
  const Json line = {
      {"input_ids", e.input_ids}, {"tokens", tokenizer.tokens(e)}, {"offsets", std::move(offsets)}};
  return line.dump() + "\n";
}

// How the tokenizer fits each file (a language, a domain): a table, or one json object a file.
int print_stats(const Tokenizer& tokenizer, const std::vector<std::string>& files, bool json) {
  if (!json) {
    fmt::print("{:>12} {:>12} {:>10} {:>12} {:>12}  file\n", "tokens", "words", "tokens/word", "bytes/token",
               "unknown %");
  }
  for (const std::string& file : files) {
    RawLines lines(file);
    TokenizerStats total;
    std::vector<std::string> texts;
    const auto count = [&] {
      const TokenizerStats s = tokenizer_stats(tokenizer, texts);
      total.lines += s.lines, total.bytes += s.bytes, total.words += s.words, total.tokens += s.tokens;
      total.unknown_tokens += s.unknown_tokens, total.replaced += s.replaced,
          total.characters += s.characters;
      texts.clear();
    };
    for (std::string line; lines.next(line);) {
      texts.push_back(line);
      if (texts.size() == 4096) count();
    }
    count();
    if (json) {
      const Json line = {{"file", file},
                         {"lines", total.lines},
                         {"bytes", total.bytes},
                         {"characters", total.characters},
                         {"words", total.words},
                         {"tokens", total.tokens},
                         {"unknown_tokens", total.unknown_tokens},
                         {"unknown_rate", total.unknown_rate()},
                         {"fertility", total.fertility()},
                         {"bytes_per_token", total.bytes_per_token()},
                         {"replaced", total.replaced}};
      fmt::print("{}\n", line.dump());
    } else {
      fmt::print("{:>12} {:>12} {:>10.3f} {:>12.3f} {:>12.4f}  {}\n", total.tokens, total.words,
                 total.fertility(), total.bytes_per_token(), 100 * total.unknown_rate(), file);
    }
  }
  return 0;
}

}  // namespace

int tokenize(int argc, char** argv) {
  std::string name, output = "-";
  std::vector<std::string> inputs = {"-"};
  bool add_special_tokens = true, stats = false, json = false;
  Options options("tokenize", "ids, tokens and offsets (in code points) of texts, as jsonl",
                  {"graft tokenize --model bert-base-uncased --input texts.txt",
                   "echo 'Hello world' | graft tokenize --model DIR",
                   "graft tokenize --model xlm-roberta-base --stats --input en.txt de.txt.xz zh.txt"});
  options.text("model", name, "folder with the tokenizer's files, or ORG/NAME[@revision] on the hub", true);
  options.list("input", inputs, "a text a line, also .gz .zst .xz; - = standard input; several with --stats");
  options.text("output", output, "jsonl; - = standard output");
  options.flag("add_special_tokens", add_special_tokens, "with [CLS], <s>, ... as the model reads them");
  options.flag("stats", stats, "instead: tokens per word, bytes per token and unknown tokens of each input");
  options.flag("json", json, "--stats as json, one object a line");
  options.threads();
  if (!options.parse(argc, argv, 2)) return 0;
  if (inputs.size() > 1 && !stats) throw UsageError("--input takes one file; several are for --stats");
  if (stats && options.given("output"))
    throw UsageError("--output is refused with --stats: the table goes to standard output");
  if (!stats && options.given("json"))
    throw UsageError("--json is for --stats; the ids are json lines anyway");
  refuse_same_file(inputs.front(), output);

  const auto tokenizer = Tokenizer::from_pretrained(find_model(name));
  if (stats) return print_stats(*tokenizer, inputs, json);
  EncodeOptions encode;
  encode.add_special_tokens = add_special_tokens;
  RawLines lines(inputs.front());
  OutputStream out(output);
  constexpr size_t kPiece = 512;
  std::vector<std::string> texts;
  int64_t replaced = 0;
  const auto answer = [&] {
    for (const Encoding& e : tokenizer->encode_batch(texts, {}, encode)) {
      out.write(json_line(*tokenizer, e));
      replaced += e.num_replaced;
    }
    out.flush();
    texts.clear();
  };
  for (std::string line; lines.next(line);) {
    texts.push_back(line);
    if (texts.size() == kPiece || !lines.has_buffered_line()) answer();
  }
  answer();
  if (replaced > 0) say(fmt::format("warning: {} invalid stretches of UTF-8 were read as U+FFFD", replaced));
  return 0;
}

}  // namespace graft::cli
