// graft tokenize: what a checkpoint's tokenizer makes of text, one json object a line.
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "graft/tokenizer.h"
#include "hub/resolve.h"

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
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

int tokenize(int argc, char** argv) {
  std::string name, input = "-", output = "-";
  bool add_special_tokens = true;
  Options options("tokenize", "ids, tokens and offsets (in code points) of texts, as jsonl",
                  {"graft tokenize --model bert-base-uncased --input texts.txt",
                   "echo 'Hello world' | graft tokenize --model DIR"});
  options.text("model", name, "folder with the tokenizer's files, or ORG/NAME[@revision] on the hub", true);
  options.text("input", input, "a text a line; - = standard input");
  options.text("output", output, "jsonl; - = standard output");
  options.flag("add_special_tokens", add_special_tokens, "with [CLS], <s>, ... as the model reads them");
  if (!options.parse(argc, argv, 2)) return 0;

  const auto tokenizer = Tokenizer::from_pretrained(hub::resolve_model(name));
  EncodeOptions encode;
  encode.add_special_tokens = add_special_tokens;
  RawLines lines(input);
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
