#include "graft/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/shown.h"
#include "data/choice_reader.h"
#include "data/example_reader.h"
#include "data/file_rows.h"
#include "data/question_reader.h"

namespace graft {
namespace {

template <class Reader>
std::vector<Example> read_all(const std::filesystem::path& path, const DatasetOptions& options) {
  Reader reader(path, options);
  std::vector<Example> examples;
  for (Example e; (options.max_samples < 0 || std::ssize(examples) < options.max_samples) && reader.next(e);)
    examples.push_back(std::move(e));
  return examples;
}

}  // namespace

Dataset Dataset::from_file(const std::filesystem::path& path, const DatasetOptions& options) try {
  if (options.questions) return Dataset(read_all<data::QuestionReader>(path, options), data::name_of(path));
  if (options.choices) return Dataset(read_all<data::ChoiceReader>(path, options), data::name_of(path));
  if (options.tagged_words) return tagged_from_file(path, options);
  data::ExampleReader reader(path, options);
  const std::string name = data::name_of(path), column = reader.label_column();
  data::LabelTally tally(name, column.empty() ? "label" : column, reader.untyped());
  const bool labelled = reader.has_label_column() && !options.tuples;  // a score is no label
  const auto keeps = [&](int64_t i) { return options.max_samples < 0 || i < options.max_samples; };
  if (options.keep_in_file && (options.text_to_text || options.tuples || path == "-"))
    fail("{}: keep_in_file is for files of texts and labels", name);
  Dataset dataset;
  Example example;
  // Rows beyond max_samples are read for the list of labels only.
  for (int64_t i = 0; (keeps(i) || labelled) && reader.next(example); ++i) {
    if (labelled && !tally.add(reader.label(), example.line, example) && options.require_label) {
      fail_with("write the label, or remove the row", "{}: line {}: column '{}': the label is missing", name,
                example.line, shown(column));
    }
    if (!keeps(i)) continue;
    if (options.keep_in_file)
      ++dataset.num_file_rows_;
    else
      dataset.examples_.push_back(std::move(example));
  }
  tally.finish();
  dataset.has_file_pairs_ = options.keep_in_file && reader.has_pairs();
  if (options.keep_in_file)
    dataset.file_rows_ = std::make_shared<data::FileRows>(data::FileRows{path, options, tally});
  dataset.origin_ = name;
  dataset.label_column_ = column;
  dataset.take_labels(tally);
  return dataset;
} catch (...) {
  rethrow_as_error();
}

Dataset::Dataset(std::vector<Example> examples, std::string origin)
    : examples_(std::move(examples)), origin_(std::move(origin)) {
  if (std::any_of(examples_.begin(), examples_.end(),
                  [](const Example& e) { return e.has_spans || !e.words.empty(); })) {
    take_tags();
    return;
  }
  const bool lists = std::any_of(examples_.begin(), examples_.end(),
                                 [](const Example& e) { return e.labels.size() > 1 || e.no_label_applies; });
  data::LabelTally tally(origin_, "label", true);
  for (const Example& e : examples_) tally.add_strings(e, lists);
  tally.finish();
  take_labels(tally);
}

void Dataset::for_each(const std::function<void(const Example&)>& see) const {
  if (!file_rows_) {
    for (const Example& example : examples_) see(example);
    return;
  }
  data::ExampleReader reader(file_rows_->path, file_rows_->options);
  data::LabelTally tally(origin_, label_column_.empty() ? "label" : label_column_, reader.untyped());
  Example example;
  for (size_t i = 0; i < num_file_rows_; ++i) {
    if (!reader.next(example))
      fail("{}: has {} rows now, but had {} at the first reading", origin_, i, num_file_rows_);
    if (reader.has_label_column()) tally.add(reader.label(), example.line, example);
    for (std::string& label : example.labels) label = file_rows_->tally.canonical(label);
    see(example);
  }
}

void Dataset::take_labels(const data::LabelTally& tally) {
  for (Example& e : examples_) {
    for (std::string& label : e.labels) label = tally.canonical(label);
  }
  label_kind_ = tally.kind();
  label_item_kind_ = tally.item_kind();
  label_counts_ = tally.counts();
}

}  // namespace graft
