// Labelled and unlabelled text from csv, tsv, jsonl, json and txt files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graft/export.h"

namespace graft {

namespace data {
class LabelTally;
struct FileRows;
}  // namespace data

// An answer to a question: its text, and where it begins in the context, in Unicode code points.
struct AnswerSpan {
  std::string text;
  int64_t start = 0;
};

// A word with its tag as the file has it.
struct TaggedWord {
  std::string text, tag;
  int64_t line = 0;  // in the file
};

// Characters [begin, end) of a text, in code points, and what they are.
struct TextSpan {
  int64_t begin = 0, end = 0;
  std::string label;
};

// How tags mark entities; none: they are classes of words, such as parts of speech.
enum class TagScheme { none, iob1, iob2, bioes, bilou };

// One row. Labels are the text of the file; LabelMap turns them into ids.
struct Example {
  std::string text;
  std::string text_pair;
  bool has_pair = false;
  std::vector<std::string> labels;  // one, or several for multi-label; empty = unlabelled
  int64_t line = 0;                 // first line of the row in its file (1-based; 0 = not from a file)
  bool no_label_applies = false;    // multi-label with an empty list: labelled, but with no label
  std::string target;               // text to text: what the model is to write
  bool has_target = false;
  std::vector<std::string> negatives;  // tuples of texts: those unlike `text`, which text_pair is like
  double score = 0;                    // tuples of texts: how alike text and text_pair are
  bool has_score = false;
  std::string id;                      // of a question, as its file has it; need not be unique
  std::vector<AnswerSpan> answers;     // of a question (text) on its context (text_pair)
  std::vector<std::string> choices{};  // of which the label is the index of the right one
  // token-classification: words with tags, or `text` with spans, sorted and without overlap.
  std::vector<TaggedWord> words;
  std::vector<TextSpan> spans;
  bool has_spans = false;

  bool has_label() const { return !labels.empty() || no_label_applies; }
};

// The type of a file's labels. The problem_type is inferred from it as in the reference.
enum class LabelKind { none, integers, strings, floats, lists };

// A label that occurs in a file.
struct LabelCount {
  std::string label;
  int64_t count = 0;
  int64_t line = 0;  // where it first occurs
};

struct DatasetOptions {
  std::string
      text_column{};  // "" = the first present of the usual ones: text, sentence, sentence1, premise, ...
  std::string text_pair_column{};  // "" = the usual partner (sentence2, hypothesis, ...) of a usual text
                                   // column; none where text_column was named
  std::string label_column{};      // "" = label or labels, when present
  bool require_label = false;      // a file without a label column, or a row without a label, is an error
  bool ignore_label = false;       // does not read the label column
  int64_t max_samples = -1;        // first N rows; -1 = all
  // Text to text: a row has a source (its text) and a target, which is a text too, and no label. Without
  // target_column the usual names of both are looked for (document + summary, source + target, ...), then a
  // label column, whose label is the target. ignore_label: sources only.
  bool text_to_text = false;
  std::string target_column{};
  // Questions: nested as SQuAD ("data", "paragraphs", "qas"), or rows with id, question, context and answers.
  // text_column names the question, text_pair_column the context, label_column the answers.
  bool questions = false;
  // Choices: rows with context, question and choices (a list), or with sent1, sent2, ending0, ending1, ... as
  // SWAG. The label is the index of the right one.
  bool choices = false;
  // Languages of rows {"translation": {"en": "...", "de": "..."}}, as run_translation has them.
  std::string source_lang{}, target_lang{};
  // Tuples of texts: a row has two texts that are alike (anchor + positive, sentence1 + sentence2, ...) and
  // either texts that are not (negative, negative_1, ...) or a score, a number in the column score, label,
  // ...
  bool tuples = false;
  // token-classification: rows hold words with tags, or a text with spans. text_column and label_column name
  // the columns of both; those of a CoNLL file by number from 1 (default: the first and the last).
  bool tagged_words = false;
  std::string tag_scheme{};  // iob1, iob2, bioes, bilou; "" = found from the tags
  bool repair_tags = false;  // tags that break the scheme are replaced; otherwise a warning counts them, and
                             // with a named scheme they are an error
  // Rows of texts and labels that may be larger than memory: they stay in the file, which is read again by
  // for_each. Only for sequence-classification.
  bool keep_in_file = false;
};

class GRAFT_API Dataset {
 public:
  Dataset() = default;
  // Reads by extension (.csv .tsv .jsonl .json .txt, each also .gz .zst .xz; "-" is standard input, a text a
  // line). Throws Error that names file, line, column and the fix.
  static Dataset from_file(const std::filesystem::path& path, const DatasetOptions& options = {});
  // Label kinds are inferred as for a csv; several labels in an example make them lists. Of examples with
  // words or spans the tags are the labels.
  explicit Dataset(std::vector<Example> examples, std::string origin = "");

  size_t size() const { return file_rows_ ? num_file_rows_ : examples_.size(); }
  // The rows in memory: all of them, or none with keep_in_file.
  const Example& operator[](size_t i) const { return examples_[i]; }
  const std::vector<Example>& examples() const { return examples_; }
  bool in_file() const { return file_rows_ != nullptr; }
  const data::FileRows& file_rows() const { return *file_rows_; }
  // Calls `see` for each row in order. Throws Error if a row in the file is there no more.
  void for_each(const std::function<void(const Example&)>& see) const;
  const std::string& origin() const { return origin_; }              // the file, for messages
  const std::string& label_column() const { return label_column_; }  // its name, for messages; "" = none
  LabelKind label_kind() const { return label_kind_; }
  // For lists the type of their items (integers or strings); else label_kind().
  LabelKind label_item_kind() const { return label_item_kind_; }
  // The distinct labels in order of appearance; empty for floats. They cover the whole file, also with
  // max_samples, as in the reference.
  const std::vector<LabelCount>& label_counts() const { return label_counts_; }
  // Of tagged words.
  TagScheme tag_scheme() const { return tag_scheme_; }
  bool has_pairs() const { return has_file_pairs_ || (!examples_.empty() && examples_.front().has_pair); }
  bool has_scores() const { return !examples_.empty() && examples_.front().has_score; }
  size_t num_negatives() const { return examples_.empty() ? 0 : examples_.front().negatives.size(); }
  bool has_targets() const { return !examples_.empty() && examples_.front().has_target; }

 private:
  static Dataset tagged_from_file(const std::filesystem::path& path, const DatasetOptions& options);
  void take_labels(const data::LabelTally& tally);
  void take_tags();

  std::vector<Example> examples_;
  std::shared_ptr<const data::FileRows> file_rows_;  // of keep_in_file
  size_t num_file_rows_ = 0;
  bool has_file_pairs_ = false;
  std::string origin_, label_column_;
  LabelKind label_kind_ = LabelKind::none;
  LabelKind label_item_kind_ = LabelKind::none;
  std::vector<LabelCount> label_counts_;
  TagScheme tag_scheme_ = TagScheme::none;
};

}  // namespace graft
