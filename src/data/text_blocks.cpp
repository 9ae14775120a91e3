#include "data/text_blocks.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "base/error.h"
#include "base/philox.h"
#include "base/shown.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "data/columns.h"
#include "data/rows.h"
#include "data/text_reader.h"

namespace graft::data {
namespace {

constexpr size_t kPieceLines = 8192;
constexpr size_t kPieceBytes = size_t{4} << 20;
constexpr int64_t kGrain = 32;  // lines a task

struct Line {
  std::string text;
  bool validation;
};

// The texts of files, one after the other, whatever their format.
class TextSource {
 public:
  TextSource(const std::vector<std::filesystem::path>& files, const TextBlockOptions& options)
      : files_(files), options_(options) {}

  // Fills `lines` with the next piece; blank lines are left out. False at the end.
  bool next(std::vector<Line>& lines, TextBlockCounts& counts) {
    lines.clear();
    size_t bytes = 0;
    while (lines.size() < kPieceLines && bytes < kPieceBytes) {
      if (!rows_ && !open_next()) break;
      if (!rows_->next(row_)) {
        rows_.reset();
        continue;
      }
      const int32_t percentage = options_.validation_split_percentage;
      const bool validation = in_validation_split(options_.seed, num_rows_++, percentage);
      for (const size_t column : {columns_.text, columns_.pair}) {
        if (column == Columns::kNone) continue;
        ++counts.lines;
        std::string text = take_text(column);
        if (is_blank(text)) {
          ++counts.empty_lines;
          continue;
        }
        counts.validation_lines += validation;
        bytes += text.size();
        lines.push_back({std::move(text), validation});
      }
    }
    return !lines.empty() || rows_ || file_ < files_.size();
  }

 private:
  bool open_next() {
    if (file_ == files_.size()) return false;
    path_ = files_[file_++];
    rows_ = open_rows(path_);
    DatasetOptions options = options_.columns;
    options.ignore_label = true;
    options.require_label = false;
    options.label_column.clear();
    columns_ = choose_columns(rows_->columns(), options, name_of(path_), rows_->separator());
    return true;
  }

  // A null is an empty line here: nothing is lost by it but its place.
  std::string take_text(size_t column) {
    if (column >= row_.cells.size()) return "";
    Cell& cell = row_.cells[column];
    if (cell.kind == Cell::Kind::list || cell.kind == Cell::Kind::object) {
      fail_with("write a text, or name another --text_column", "{}: line {}: column '{}' is {}, not a text",
                name_of(path_), row_.line, shown(rows_->columns()[column]),
                cell.kind == Cell::Kind::list ? "a list" : "an object");
    }
    return std::move(cell.text);
  }

  const std::vector<std::filesystem::path>& files_;
  const TextBlockOptions& options_;
  size_t file_ = 0;
  std::filesystem::path path_;
  std::unique_ptr<RowReader> rows_;
  Columns columns_;
  Row row_;
  int64_t num_rows_ = 0;
};

std::vector<Encoding> encode_lines(const std::vector<Line>& lines, const EncodeText& encode_text,
                                   const EncodeOptions& options) {
  std::vector<Encoding> out(lines.size());
  std::vector<std::exception_ptr> errors(lines.size() / kGrain + 1);
  parallel_blocks(static_cast<int64_t>(lines.size()), kGrain, [&](int64_t begin, int64_t end) {
    try {
      for (int64_t i = begin; i < end; ++i) {
        out[static_cast<size_t>(i)] = encode_text(lines[static_cast<size_t>(i)].text, options);
      }
    } catch (...) {
      errors[static_cast<size_t>(begin / kGrain)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return out;
}

// Appends encodings to one store, a row each or packed.
class Filler {
 public:
  Filler(TokenStore& store, const TextBlockOptions& options, int64_t max_samples)
      : store_(store), options_(options), max_samples_(max_samples) {}

  int64_t size() const { return num_spilled_ + store_.size(); }
  int64_t tokens() const { return tokens_spilled_ + static_cast<int64_t>(store_.ids.size()); }
  bool full() const { return max_samples_ >= 0 && size() >= max_samples_; }

  void add(const Encoding& encoding) {
    if (full()) return;
    const size_t n = encoding.input_ids.size();
    if (options_.word_starts && encoding.word_ids.size() != n) {
      fail_with("leave whole-word masking off", "this tokenizer does not say which tokens make a word");
    }
    if (options_.documents) store_.documents.push_back(tokens());
    std::vector<int32_t>& ids = store_.ids.own();
    ids.insert(ids.end(), encoding.input_ids.begin(), encoding.input_ids.end());
    for (size_t i = 0; options_.word_starts && i < n; ++i) {
      const int32_t word = encoding.word_ids[i];
      store_.word_starts.push_back(word < 0 || i == 0 || word != encoding.word_ids[i - 1]);
    }
    if (options_.line_by_line) {
      end_row(tokens());
      return;
    }
    const int64_t length = options_.max_seq_length;
    while (tokens() - end_ >= length && !full()) end_row(end_ + length);
  }

  // Drops the tokens that fill no block; returns how many.
  int64_t finish() {
    const int64_t rest = tokens() - end_;
    if (rest > 0 && size() == 0 && !full()) {  // a short text is better than none
      end_row(tokens());
      return 0;
    }
    store_.ids.own().resize(static_cast<size_t>(end_ - tokens_spilled_));
    if (options_.word_starts) store_.word_starts.own().resize(store_.ids.size());
    return rest;
  }

  // Hands all complete rows over.
  void spill(bool validation, TextBlockSink& sink) {
    const auto done = static_cast<std::ptrdiff_t>(end_ - tokens_spilled_);
    TokenStore rows;
    const auto move = [](auto& from, auto& to, std::ptrdiff_t n) {
      auto& own = from.own();
      to.own().assign(own.begin(), own.begin() + n);
      own.erase(own.begin(), own.begin() + n);
    };
    move(store_.ids, rows.ids, done);
    if (options_.word_starts) move(store_.word_starts, rows.word_starts, done);
    std::vector<int64_t>& offsets = store_.offsets.own();
    rows.offsets.own().assign(offsets.begin() + 1, offsets.end());
    rows.documents.own().swap(store_.documents.own());
    num_spilled_ += store_.size();
    tokens_spilled_ = end_;
    offsets.assign(1, end_);
    sink.take(validation, rows);
  }

 private:
  void end_row(int64_t end) {
    store_.offsets.push_back(end);
    end_ = end;
  }

  TokenStore& store_;
  const TextBlockOptions& options_;
  int64_t max_samples_;
  int64_t num_spilled_ = 0, tokens_spilled_ = 0;
  int64_t end_ = 0;  // of the last row
};

void check(const std::vector<std::filesystem::path>& files, const TextBlockOptions& options) {
  if (files.empty()) fail("no files to read text from");
  if (options.max_seq_length < 4) {
    fail_with("--max_seq_length counts special tokens too; 128 and 512 are usual",
              "max_seq_length {} is too short", options.max_seq_length);
  }
  if (options.validation_split_percentage < 0 || options.validation_split_percentage > 99) {
    fail("validation_split_percentage {} is not between 0 and 99", options.validation_split_percentage);
  }
}

}  // namespace

std::vector<int32_t> TokenStore::lengths() const {
  std::vector<int32_t> out(static_cast<size_t>(size()));
  for (int64_t i = 0; i < size(); ++i) out[at(i)] = length(i);
  return out;
}

bool in_validation_split(uint64_t seed, int64_t index, int32_t percentage) {
  if (percentage <= 0) return false;
  const int64_t stretch = index * percentage / 100;
  const int64_t begin = (stretch * 100 + percentage - 1) / percentage;
  const int64_t end = ((stretch + 1) * 100 + percentage - 1) / percentage;
  PhiloxStream random(philox_key(seed, static_cast<uint64_t>(stretch), "validation_split"));
  return index == begin + static_cast<int64_t>(random.below(static_cast<uint64_t>(end - begin)));
}

TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                            const TextBlockOptions& options) {
  const auto encode_text = [&](std::string_view text, const EncodeOptions& o) {
    return tokenizer.encode(text, o);
  };
  return read_text_blocks(files, EncodeText(encode_text), options);
}

TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const EncodeText& encode_text,
                            const TextBlockOptions& options, TextBlockSink* sink) {
  check(files, options);
  TextBlocks blocks;
  TextBlockCounts& counts = blocks.counts;
  EncodeOptions encode;
  encode.ids_only = !options.word_starts;
  if (options.line_by_line) {
    encode.truncation = Truncation::longest_first;
    encode.max_length = options.max_seq_length;
  }
  Filler train(blocks.train, options, options.max_train_samples);
  Filler validation(blocks.validation, options, options.max_validation_samples);
  TextSource source(files, options);
  std::vector<Line> lines;
  while (!(train.full() && (validation.full() || options.validation_split_percentage == 0)) &&
         source.next(lines, counts)) {
    const std::vector<Encoding> encodings = encode_lines(lines, encode_text, encode);
    for (size_t i = 0; i < lines.size(); ++i) {
      const Encoding& encoding = encodings[i];
      counts.empty_lines += encoding.input_ids.empty();
      if (encoding.input_ids.empty()) continue;
      counts.truncated_lines += encoding.num_truncated > 0;
      counts.truncated_tokens += encoding.num_truncated;
      (lines[i].validation ? validation : train).add(encoding);
    }
    if (!sink) continue;
    train.spill(false, *sink);
    validation.spill(true, *sink);
  }
  counts.dropped_tokens = train.finish() + validation.finish();
  counts.tokens = train.tokens() + validation.tokens();
  if (sink) {
    train.spill(false, *sink);
    validation.spill(true, *sink);
  }
  if (train.size() == 0 && options.max_train_samples != 0) {
    fail_with("give a file with text, a sentence or paragraph a line",
              "{}: no text to train on ({} lines, {} empty)", files.front().string(), counts.lines,
              counts.empty_lines);
  }
  return blocks;
}

}  // namespace graft::data
