// Texts and words as tokens with labels: the first token of each word has the word's label, the others none.
#pragma once
#include <string>
#include <vector>

#include "data/labels.h"
#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "tasks/task.h"
#include "tasks/token_windows.h"

namespace graft::tasks {

// What encoding found, for the log. A line is that of the first case.
struct TaggedCounts {
  int64_t texts = 0, windowed_texts = 0, windows = 0, tokens = 0, unknown_tokens = 0;
  int64_t words = 0, words_without_tokens = 0, first_without_tokens = 0;
  int64_t spans = 0, cut_spans = 0, first_cut = 0, lost_spans = 0, first_lost = 0;
  std::string word_without_tokens, cut_span;
};

struct TaggedTextOptions {
  int64_t max_seq_length = 0;  // 0 = no limit
  int64_t stride = 0;
  bool label_all_tokens = false;  // further tokens of a word have its label, too; B- becomes I- (run_ner)
  bool windows_apart = false;     // each window is an example (training)
};

class SpanLabels;

// A text longer than max_seq_length is read in windows; each label is in one of them, the one with the most
// context. A word of which the tokenizer makes nothing has no label. Of a text with spans the words are those
// of the pre-tokenizer, cut at the ends of the spans; a token that a span cuts is part of it.
class TaggedFeatures : public Features {
 public:
  TaggedFeatures(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap& labels,
                 const TaggedTextOptions& options);

  int64_t size() const override { return static_cast<int64_t>(examples_.size()) - 1; }
  int32_t length(int64_t i) const override;
  const TaggedCounts& counts() const { return counts_; }
  const std::vector<int32_t>& ids() const { return ids_; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  struct Token {
    int32_t unit = -1;  // a word, or the part of one inside a span; -1: none
    int label = -1;     // of the unit
  };
  std::vector<Token> tokens_of_words(const Example& example, const Encoding& encoding,
                                     const WindowedText& text, const std::vector<int>& labels);
  std::vector<Token> tokens_of_spans(const Example& example, const Encoding& encoding,
                                     const WindowedText& text, SpanLabels& labels);
  void add(const WindowedText& text, const std::vector<Token>& tokens);
  void count_spans(const Example& example, const std::vector<uint8_t>& cut, const std::vector<uint8_t>& used);

  TaggedTextOptions options_;
  std::vector<int> inside_;  // of each label: that of a word's further tokens
  std::vector<int32_t> ids_, types_;
  std::vector<int64_t> sequences_{0};         // ends in ids_
  std::vector<int32_t> label_rows_, labels_;  // rows in their sequence
  std::vector<int64_t> label_ends_{0};        // of each sequence
  std::vector<int64_t> examples_{0};          // ends in sequences_
  TaggedCounts counts_;
};

// Encodes a set and logs what there is to say of it; `part` is the prefix of the lines.
std::unique_ptr<TaggedFeatures> encode_tagged(const std::string& part, const Dataset& dataset,
                                              const data::LabelMap& labels, const Model& model,
                                              const Tokenizer& tokenizer, const TaggedTextOptions& options);

}  // namespace graft::tasks
