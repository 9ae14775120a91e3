#include "transfer/distill_texts.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "data/labels.h"
#include "data/text_reader.h"

namespace graft::transfer {

namespace {

constexpr int64_t kMaxHeldOut = 1000, kHeldOutShare = 20;  // one text of so many

bool is_full(const DistillationTexts& texts, const DistillOptions& options) {
  return options.max_train_samples >= 0 && texts.size() >= options.max_train_samples;
}

DistillationTexts read_plain_texts(const DistillOptions& options) {
  DistillationTexts all;
  data::TextReader reader(options.train_file, options.columns);
  for (std::string text; !is_full(all, options) && reader.next(text);) all.texts.push_back(std::move(text));
  return all;
}

void say_without_labels(const DistillOptions& options) {
  if (options.losses.alpha != DistillationLosses().alpha)
    throw UsageError(fmt::format("--alpha {}: it weighs the loss of the labels, and the texts have none",
                                 options.losses.alpha),
                     "--label_column names the column of the labels");
  log_info("the texts have no labels (--label_column): the student learns the scores of the teacher alone");
}

// Texts or pairs of them, some with a label.
DistillationTexts read_rows(const DistillOptions& options, const Teacher& teacher) {
  DistillationTexts all;
  const Model& model = teacher.model();
  for (const std::filesystem::path& file : options.train_file) {
    DatasetOptions columns = options.columns;
    columns.ignore_label = teacher.kind() == TargetKind::scores || options.losses.alpha == 0;
    const Dataset rows = Dataset::from_file(file, columns);
    const data::LabelMap labels =
        data::LabelMap::from_checkpoint({model.labels(), true, model.problem_type()}, rows.label_kind());
    for (const Example& e : rows.examples()) {
      if (is_full(all, options)) break;
      all.texts.push_back(e.text);
      all.pairs.push_back(e.text_pair);
      all.labels.push_back(e.has_label() && !columns.ignore_label ? labels.id(e, rows) : -1);
    }
  }
  if (std::all_of(all.pairs.begin(), all.pairs.end(), [](const std::string& text) { return text.empty(); }))
    all.pairs.clear();
  if (std::all_of(all.labels.begin(), all.labels.end(), [](int32_t label) { return label < 0; }))
    all.labels.clear();
  if (teacher.kind() == TargetKind::scores)
    log_info("the student learns the scores of the teacher; labels in the texts are not read");
  else if (options.losses.alpha > 0 && all.labels.empty())
    say_without_labels(options);
  return all;
}

// Every twentieth row, 1000 at most. Of a few rows none: the table then reads the texts of the training.
class HoldOut {
 public:
  explicit HoldOut(int64_t rows)
      : every_(std::max(kHeldOutShare, rows / kMaxHeldOut)), few_(rows < 2 * kHeldOutShare) {
    if (few_)
      log_warning("{} different texts are too few to hold some out: the table reads those of the training",
                  rows);
  }
  // The parts that a text of this row belongs to.
  bool trains(int64_t row) const { return few_ || row % every_ != every_ - 1; }
  bool held(int64_t row) const { return few_ || row % every_ == every_ - 1; }

 private:
  int64_t every_;
  bool few_;
};

// The number of each text, or pair, among the different ones.
std::vector<int64_t> numbers_of(const DistillationTexts& all, int64_t& different) {
  std::unordered_map<std::string, int64_t> number_of;
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < all.texts.size(); ++i) {
    std::string key = all.texts[i];
    if (!all.pairs.empty()) (key += '\0') += all.pairs[i];
    numbers.push_back(number_of.emplace(std::move(key), std::ssize(number_of)).first->second);
  }
  different = std::ssize(number_of);
  return numbers;
}

// Equal texts are on one side.
void split(const DistillationTexts& all, DistillCorpus& corpus) {
  int64_t different = 0;
  const std::vector<int64_t> numbers = numbers_of(all, different);
  const HoldOut hold(different);
  for (int64_t i = 0; i < all.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    for (DistillationTexts* part : {&corpus.train, &corpus.held}) {
      if (part == &corpus.held ? !hold.held(numbers[at]) : !hold.trains(numbers[at])) continue;
      part->texts.push_back(all.texts[at]);
      if (!all.pairs.empty()) part->pairs.push_back(all.pairs[at]);
      if (!all.labels.empty()) part->labels.push_back(all.labels[at]);
      part->rows.push_back(i);
    }
  }
}

// A row for each different first sentence, and for the texts of train_file.
DistillCorpus corpus_of_pairs(const ParallelText& pairs, const DistillationTexts& texts) {
  DistillCorpus corpus;
  std::unordered_map<std::string, int64_t> row_of;
  const auto row = [&](const std::string& source) {
    const auto [at, fresh] = row_of.emplace(source, std::ssize(corpus.teacher));
    if (fresh) corpus.teacher.push_back(source);
    return at->second;
  };
  std::vector<int64_t> rows;
  for (const std::string& source : pairs.source) rows.push_back(row(source));
  for (const std::string& text : texts.texts) row(text);
  const HoldOut hold(std::ssize(corpus.teacher));
  const auto add = [](DistillationTexts& part, const std::string& text, int64_t at) {
    part.texts.push_back(text);
    part.rows.push_back(at);
  };
  for (int64_t i = 0; i < std::ssize(corpus.teacher); ++i)
    if (hold.trains(i)) add(corpus.train, corpus.teacher[static_cast<size_t>(i)], i);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (hold.trains(rows[i])) add(corpus.train, pairs.target[i], rows[i]);
    if (hold.held(rows[i])) add(corpus.held, pairs.target[i], rows[i]);
  }
  return corpus;
}

}  // namespace

DistillCorpus read_distill_corpus(const DistillOptions& options, const Teacher& teacher,
                                  const ParallelText& pairs) {
  DistillationTexts all;
  if (!options.train_file.empty())
    all = teacher.kind() == TargetKind::embedding ? read_plain_texts(options) : read_rows(options, teacher);
  if (!pairs.source.empty()) return corpus_of_pairs(pairs, all);
  if (all.texts.empty())
    fail_with("give files with text (--train_file)", "{}: no text in it",
              options.train_file.front().string());
  DistillCorpus corpus;
  corpus.teacher = all.texts;
  corpus.teacher_pairs = all.pairs;
  split(all, corpus);
  return corpus;
}

}  // namespace graft::transfer
