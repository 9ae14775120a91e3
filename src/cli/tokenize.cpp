// graft tokenize: ids, tokens and offsets of texts, one json object per line.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/threads.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "graft/tokenizer.h"
#include "graft/train_tokenizer.h"
#include "models/adapter_folder.h"
#include "text/token_writer.h"

namespace graft::cli {
namespace {

// Reads the lines of a file in blocks. Lines end at U+000A only. Invalid UTF-8 is passed on; the tokenizer
// replaces it.
class LineBlocks {
 public:
  explicit LineBlocks(const std::string& path)
      : name_(path == "-" ? "standard input" : path), stream_(data::open_stream(path)) {}

  // All complete lines that are available without waiting, at least one. The last line of the file may lack
  // its U+000A. Valid until the next call. Empty at the end of the file.
  std::string_view next() {
    buffer_.erase(0, done_);
    done_ = 0;
    for (size_t searched = 0; done_ == 0;) {
      const std::string_view fresh = std::string_view(buffer_).substr(searched);
      const size_t last = fresh.rfind('\n');
      const bool has_newline = last != std::string_view::npos;
      if (searched + (has_newline ? fresh.find('\n') : fresh.size()) > kMaxRowBytes)
        fail_with("a text is one line: check that the file has line ends (U+000A)",
                  "{}: line {}: longer than {} MiB", name_, num_lines_ + 1, kMaxRowBytes >> 20);
      if (has_newline) {
        done_ = searched + last + 1;
      } else {
        searched = buffer_.size();
        if (!fill()) break;
      }
    }
    if (done_ == 0) done_ = buffer_.size();
    const std::string_view lines = std::string_view(buffer_).substr(0, done_);
    num_lines_ += std::count(lines.begin(), lines.end(), '\n');
    return lines;
  }

 private:
  static constexpr size_t kRead = size_t{1} << 20;

  bool fill() {
    const size_t size = buffer_.size();
    buffer_.resize(size + kRead);
    const size_t read = stream_->read(buffer_.data() + size, kRead);
    buffer_.resize(size + read);
    return read > 0;
  }

  std::string name_;
  std::unique_ptr<data::ByteStream> stream_;
  std::string buffer_;
  size_t done_ = 0;  // bytes of the buffer that were returned
  int64_t num_lines_ = 0;
};

// Calls see(line) for each line of a block, without its U+000A.
template <class See>
void for_each_line(std::string_view block, See see) {
  for (size_t pos = 0; pos < block.size();) {
    const size_t end = std::min(block.find('\n', pos), block.size());
    see(block.substr(pos, end - pos));
    pos = end + 1;
  }
}

// Writes the json lines of a block, computed in parallel. Returns the number of invalid UTF-8 sequences.
class BlockAnswer {
 public:
  BlockAnswer(const text::TokenWriter& writer, OutputStream& out) : writer_(writer), out_(out) {}

  int64_t write(std::string_view block) {
    constexpr size_t kLong = size_t{1} << 20;  // its json is written in pieces
    if (block.size() > 2 * kLong) {
      text::LineBuffer buffer;
      buffer.set_sink([this](std::string_view text) { out_.write(text); });
      int64_t replaced = 0;
      for_each_line(block, [&](std::string_view line) { replaced += writer_.append(line, buffer); });
      out_.write(buffer.text());
      return replaced;
    }
    const std::vector<size_t> bounds = cut(block);
    if (parts_.size() < bounds.size()) parts_ = std::vector<Part>(bounds.size());
    parallel_for(static_cast<int64_t>(bounds.size()) - 1, [&](int64_t i) {
      Part& part = parts_[static_cast<size_t>(i)];
      const size_t begin = bounds[static_cast<size_t>(i)], end = bounds[static_cast<size_t>(i) + 1];
      part.lines.clear();
      part.replaced = 0;
      part.error = nullptr;
      try {
        for_each_line(block.substr(begin, end - begin),
                      [&](std::string_view line) { part.replaced += writer_.append(line, part.lines); });
      } catch (...) {
        part.error = std::current_exception();
      }
    });
    int64_t replaced = 0;
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      if (parts_[i].error) std::rethrow_exception(parts_[i].error);
      out_.write(parts_[i].lines.text());
      replaced += parts_[i].replaced;
    }
    return replaced;
  }

 private:
  struct Part {
    text::LineBuffer lines;
    int64_t replaced = 0;
    std::exception_ptr error;
  };

  // Ends of lines about every 32 KiB.
  static std::vector<size_t> cut(std::string_view block) {
    constexpr size_t kPart = size_t{1} << 15;
    std::vector<size_t> bounds{0};
    while (bounds.back() < block.size()) {
      const size_t newline = block.find('\n', std::min(bounds.back() + kPart, block.size()));
      bounds.push_back(newline == std::string_view::npos ? block.size() : newline + 1);
    }
    return bounds;
  }

  const text::TokenWriter& writer_;
  OutputStream& out_;
  std::vector<Part> parts_;
};

// Statistics of the tokenizer on each file: a table, or one json object per file.
int print_stats(const Tokenizer& tokenizer, const std::vector<std::string>& files, bool json) {
  if (!json) {
    fmt::print("{:>12} {:>12} {:>10} {:>12} {:>12}  file\n", "tokens", "words", "tokens/word", "bytes/token",
               "unknown %");
  }
  for (const std::string& file : files) {
    LineBlocks blocks(file);
    TokenizerStats total;
    std::vector<std::string> texts;
    for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
      texts.clear();
      for_each_line(block, [&](std::string_view line) { texts.emplace_back(line); });
      total += tokenizer_stats(tokenizer, texts);
    }
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
  if (stats && options.given("add_special_tokens"))
    throw UsageError("--add_special_tokens is refused with --stats: it counts the tokens of the texts alone");
  refuse_same_file(inputs.front(), output);
  for (const std::string& input : inputs) warn_of_columns(input);

  const auto tokenizer = Tokenizer::from_pretrained(models::tokenizer_folder(find_model(name)));
  if (stats) return print_stats(*tokenizer, inputs, json);
  const text::TokenWriter writer(*tokenizer, add_special_tokens);
  LineBlocks blocks(inputs.front());
  OutputStream out(output);
  BlockAnswer answer(writer, out);
  int64_t replaced = 0;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    replaced += answer.write(block);
    out.flush();
  }
  out.finish();
  if (replaced > 0) say(fmt::format("warning: {} invalid stretches of UTF-8 were read as U+FFFD", replaced));
  return 0;
}

}  // namespace graft::cli
