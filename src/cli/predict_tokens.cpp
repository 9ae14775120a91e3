#include "cli/predict_tokens.h"

#include <fmt/format.h>

#include <vector>

#include "base/json.h"
#include "cli/output_stream.h"
#include "data/tagged_reader.h"
#include "graft/error.h"
#include "train/inference.h"

namespace graft::cli {
namespace {

Json entities_as_json(const std::vector<TextEntity>& entities, bool single_tokens) {
  Json list = Json::array();
  for (const TextEntity& e : entities) {
    Json entity = {{single_tokens ? "entity" : "entity_group", e.entity},
                   {"score", e.score},
                   {"word", e.word},
                   {"start", e.start},
                   {"end", e.end}};
    if (single_tokens) entity["index"] = e.index;
    list.push_back(std::move(entity));
  }
  return list;
}

std::string json_text(const Json& line) { return line.dump() + "\n"; }

class TokenStream {
 public:
  TokenStream(const TokenClassificationPipeline& pipeline, const std::string& input,
              const DatasetOptions& columns, const std::string& output, bool single_tokens)
      : pipeline_(pipeline),
        name_(data::name_of(input)),
        reader_(input, columns),
        out_(output),
        single_tokens_(single_tokens) {}

  void run(size_t batch_size) {
    for (Example row; reader_.next(row);) {
      rows_.push_back(std::move(row));
      if (rows_.size() == batch_size || !reader_.has_buffered_row()) hand_over();
    }
    hand_over();
    out_.finish();
  }

 private:
  // Adds file and line to an error in one text. The texts before it are answered first.
  void hand_over() {
    try {
      write(rows_.size());
    } catch (const train::TextError& e) {
      const size_t good = e.index();
      const int64_t line = rows_[good].line;
      write(good);
      throw Error(fmt::format("{}: line {}: {}", name_, line, e.reason()), e.hint());
    }
    rows_.clear();
  }

  // The answers for the first n rows.
  void write(size_t n) {
    if (n == 0) return;
    if (reader_.reads_texts()) {
      std::vector<std::string> texts;
      for (size_t i = 0; i < n; ++i) texts.push_back(rows_[i].text);
      for (const auto& entities : pipeline_.predict(texts))
        out_.write(json_text({{"entities", entities_as_json(entities, single_tokens_)}}));
    } else {
      std::vector<std::vector<std::string>> texts(n);
      for (size_t i = 0; i < n; ++i)
        for (TaggedWord& word : rows_[i].words) texts[i].push_back(word.text);
      for (const TaggedWords& tagged : pipeline_.predict_words(texts)) {
        Json tags = Json::array();
        for (const std::string& tag : tagged.tags) tags.push_back(tag.empty() ? Json() : Json(tag));
        out_.write(json_text(
            {{"tags", std::move(tags)}, {"entities", entities_as_json(tagged.entities, single_tokens_)}}));
      }
    }
    out_.flush();
  }

  const TokenClassificationPipeline& pipeline_;
  std::string name_;
  data::TaggedReader reader_;
  OutputStream out_;
  bool single_tokens_;
  std::vector<Example> rows_;
};

}  // namespace

void predict_tokens(const TokenClassificationPipeline& pipeline, const std::string& input,
                    const DatasetOptions& columns, const std::string& output, size_t batch_size) {
  DatasetOptions unlabelled = columns;
  unlabelled.ignore_label = true;
  TokenStream(pipeline, input, unlabelled, output, pipeline.aggregation() == Aggregation::none)
      .run(batch_size);
}

}  // namespace graft::cli
