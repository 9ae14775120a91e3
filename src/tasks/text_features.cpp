#include "tasks/text_features.h"

#include <algorithm>

#include "base/error.h"
#include "base/shown.h"
#include "data/file_rows.h"
#include "data/problem_type.h"

namespace graft::tasks {
namespace {

// A sequence of no tokens has no row for the head to read.
[[noreturn]] void fail_empty(const Dataset& dataset, const Example& example, int64_t i) {
  const std::string origin = dataset.origin().empty() ? "the data" : dataset.origin();
  fail_with(
      "remove the row, or write a text: this tokenizer adds no special tokens, so the model would read "
      "nothing",
      "{}: {} {}: the text '{}' gives no tokens", origin, example.line > 0 ? "line" : "example",
      example.line > 0 ? example.line : i, shown(example.text));
}

// Encodes rows in pieces and gives each piece to `take`; its offsets are the ends of its rows among all.
class RowEncoder {
 public:
  using Take = std::function<void(const TextRows& piece)>;
  RowEncoder(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap* labels,
             int32_t max_seq_length, Take take)
      : dataset_(dataset), tokenizer_(tokenizer), labels_(labels), take_(std::move(take)) {
    options_.ids_only = true;
    options_.truncation = Truncation::longest_first;
    options_.max_length = max_seq_length;
    unknown_ = tokenizer.special_id("unk_token");
    piece_.offsets.own().clear();
  }
  EncodingCounts run() {
    dataset_.for_each([&](const Example& example) {
      examples_.push_back({});
      examples_.back().text = example.text;
      examples_.back().line = example.line;
      if (dataset_.has_pairs()) pairs_.push_back(example.text_pair);
      if (labels_) add_label(example);
      if (examples_.size() == kPiece) encode();
    });
    encode();
    return counts_;
  }

 private:
  static constexpr size_t kPiece = 4096;  // texts in flight

  void add_label(const Example& example) {
    const std::string& type = labels_->problem_type();
    if (type == data::problem_type::kRegression) {
      piece_.float_labels.push_back(labels_->score(example, dataset_));
    } else if (type == data::problem_type::kMultiLabel) {
      for (const float hot : labels_->multi_hot(example, dataset_)) piece_.float_labels.push_back(hot);
    } else {
      piece_.labels.push_back(labels_->id(example, dataset_));
    }
  }

  void encode() {
    std::vector<std::string> texts;
    for (const Example& example : examples_) texts.push_back(example.text);
    std::vector<int32_t>&ids = piece_.ids.own(), &types = piece_.types.own();
    size_t i = 0;
    for (const Encoding& e : tokenizer_.encode_batch(texts, pairs_, options_)) {
      if (e.input_ids.empty()) fail_empty(dataset_, examples_[i], num_rows_);
      ++i;
      ++num_rows_;
      ids.insert(ids.end(), e.input_ids.begin(), e.input_ids.end());
      types.insert(types.end(), e.token_type_ids.begin(), e.token_type_ids.end());
      types.resize(ids.size(), 0);
      piece_.offsets.push_back(counts_.tokens + static_cast<int64_t>(ids.size()));
      counts_.truncated_examples += e.num_truncated > 0;
      counts_.truncated_tokens += e.num_truncated;
      if (unknown_) counts_.unknown_tokens += std::count(e.input_ids.begin(), e.input_ids.end(), *unknown_);
    }
    counts_.tokens += static_cast<int64_t>(ids.size());
    take_(piece_);
    for (std::vector<int32_t>* values : {&ids, &types, &piece_.labels.own()}) values->clear();
    piece_.offsets.own().clear();
    piece_.float_labels.own().clear();
    examples_.clear();
    pairs_.clear();
  }

  const Dataset& dataset_;
  const Tokenizer& tokenizer_;
  const data::LabelMap* labels_;
  Take take_;
  EncodeOptions options_;
  std::optional<int32_t> unknown_;
  std::vector<Example> examples_;  // text and line
  std::vector<std::string> pairs_;
  TextRows piece_;
  EncodingCounts counts_;
  int64_t num_rows_ = 0;
};

constexpr int kFormat = 1;  // of the files, and of what the tokenizers make of a text
const std::vector<std::string> kArrays = {"ids", "types", "offsets", "labels", "float_labels"};

// The counts by name.
struct NamedCount {
  const char* name;
  int64_t EncodingCounts::*member;
};
constexpr NamedCount kCounts[] = {{"tokens", &EncodingCounts::tokens},
                                  {"unknown_tokens", &EncodingCounts::unknown_tokens},
                                  {"truncated_examples", &EncodingCounts::truncated_examples},
                                  {"truncated_tokens", &EncodingCounts::truncated_tokens}};

Json build_rows(const std::filesystem::path& folder, const Dataset& dataset, const Tokenizer& tokenizer,
                const data::LabelMap& labels, int32_t max_seq_length) {
  data::ArrayFiles files(folder, kArrays);
  files.append(2, std::vector<int64_t>{0});
  RowEncoder encoder(dataset, tokenizer, &labels, max_seq_length, [&](const TextRows& piece) {
    files.append(0, piece.ids);
    files.append(1, piece.types);
    files.append(2, piece.offsets);
    files.append(3, piece.labels);
    files.append(4, piece.float_labels);
  });
  const EncodingCounts counts = encoder.run();
  files.commit();
  Json json = Json::object();
  for (const NamedCount& c : kCounts) json[c.name] = counts.*c.member;
  return json;
}

}  // namespace

TextRows encode_text_rows(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap* labels,
                          int32_t max_seq_length) {
  TextRows rows;
  const auto append = [](auto& to, const auto& from) {
    to.own().insert(to.own().end(), from.begin(), from.end());
  };
  RowEncoder encoder(dataset, tokenizer, labels, max_seq_length, [&](const TextRows& piece) {
    append(rows.ids, piece.ids);
    append(rows.types, piece.types);
    append(rows.offsets, piece.offsets);
    append(rows.labels, piece.labels);
    append(rows.float_labels, piece.float_labels);
  });
  rows.counts = encoder.run();
  return rows;
}

TextRows cached_text_rows(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap& labels,
                          int32_t max_seq_length, const data::TokenCache& cache) {
  const data::FileRows& file = dataset.file_rows();
  const Json key = {{"format", kFormat},
                    {"rows", static_cast<int64_t>(dataset.size())},
                    {"file", data::key_of_file(file.path)},
                    {"text_column", file.options.text_column},
                    {"text_pair_column", file.options.text_pair_column},
                    {"label_column", file.options.label_column},
                    {"tokenizer", data::key_of_tokenizer(tokenizer, cache.folder)},
                    {"max_seq_length", max_seq_length},
                    {"labels", labels.names()},
                    {"problem_type", labels.problem_type()}};
  const data::CachedArrays arrays =
      data::open_array_cache(cache, key, kArrays, [&](const std::filesystem::path& folder) {
        return build_rows(folder, dataset, tokenizer, labels, max_seq_length);
      });
  TextRows rows;
  rows.ids = arrays.map<int32_t>("ids");
  rows.types = arrays.map<int32_t>("types");
  rows.offsets = arrays.map<int64_t>("offsets");
  rows.labels = arrays.map<int32_t>("labels");
  rows.float_labels = arrays.map<float>("float_labels");
  for (const NamedCount& c : kCounts) rows.counts.*c.member = arrays.counts.at(c.name).get<int64_t>();
  return rows;
}

int32_t TextFeatures::length(int64_t i) const {
  const int64_t* ends = rows_.offsets.read(static_cast<size_t>(i), 2);
  return static_cast<int32_t>(ends[1] - ends[0]);
}

void TextFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                    int64_t /*epoch*/) const {
  const auto row = static_cast<size_t>(i), at = static_cast<size_t>(rows_.offsets[row]),
             n = static_cast<size_t>(length(i));
  batch.append_sequence(rows_.ids.read(at, n), rows_.types.read(at, n), length(i), index);
  if (!rows_.labels.empty()) batch.labels.push_back(rows_.labels[row]);
  if (rows_.float_labels.empty()) return;
  const size_t width = rows_.float_labels.size() / static_cast<size_t>(size());
  const float* values = rows_.float_labels.read(row * width, width);
  batch.float_labels.insert(batch.float_labels.end(), values, values + width);
}

}  // namespace graft::tasks
