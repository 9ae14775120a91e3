#include "transfer/xling_data.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "transfer/languages.h"
#include "transfer/quiet_log.h"
#include "transfer/row_choice.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

std::string place_of(const LanguageFile& f) { return fmt::format("{}={}", f.language, f.file.string()); }

Dataset read(const XlingJob& job, const fs::path& file, int64_t max_samples) {
  DatasetOptions options = job.job.columns;
  tasks::set_layout(options, job.job.task->input);
  options.max_samples = max_samples;
  Dataset rows = Dataset::from_file(file, options);
  if (rows.size() == 0)
    fail_with("write labelled rows into it, or leave the file out", "{}: the file has no rows",
              file.string());
  return rows;
}

// Two files that must differ, because one decides and the other measures the decision.
void check_apart(const fs::path& decides, const char* option, const std::vector<LanguageFile>& tests,
                 const std::string& why) {
  for (const LanguageFile& test : tests)
    if (same_content(decides, test.file))
      throw UsageError(fmt::format("--{} {} holds the bytes of the test file {}: {}", option,
                                   decides.string(), place_of(test), why),
                       fmt::format("give --{} other rows than those that are scored", option));
}

void check_roles(const XlingJob& job, const std::vector<LanguageFile>& training,
                 const std::vector<LanguageFile>& tests, const std::vector<LanguageFile>& few_shot) {
  check_different_files(tests, "test_files");
  check_different_files(training, "train_files");
  check_different_files(few_shot, "few_shot_files");
  for (const std::string& file : job.job.validation_file)
    check_apart(file, "validation_file", tests, "a model that is chosen by it has seen its labels");
  for (const LanguageFile& f : training)
    check_apart(f.file, job.train_files.empty() ? "train_file" : "train_files", tests,
                "a score on rows of the training says nothing about other texts");
  for (const LanguageFile& f : few_shot)
    check_apart(f.file, "few_shot_files", tests, "no row is left to train on that is not scored");
  for (const LanguageFile& f : few_shot)
    if (std::none_of(tests.begin(), tests.end(),
                     [&](const LanguageFile& test) { return test.language == f.language; }))
      throw UsageError(fmt::format("--few_shot_files {}: --test_files has no file of {} to score it on",
                                   place_of(f), f.language),
                       fmt::format("add {}=FILE to --test_files, or leave it out here", f.language));
}

// Development rows that repeat those of a test file, or of a target's few-shot file, under another name or in
// another format. Of a target a tenth is too much: names and greetings may be the same in two languages.
void check_dev_rows(XlingData& data, const XlingJob& job) {
  const auto n = static_cast<int64_t>(data.dev.size());
  const auto check = [&](const LanguageRows& other, const char* role) {
    const auto keys = keys_of_rows(other.rows);
    int64_t shared = 0;
    for (const Example& e : data.dev.examples()) shared += keys.count(key_of_row(e)) ? 1 : 0;
    if (shared == 0) return;
    const std::string what =
        fmt::format("{} of its {} rows are in the {} {}", shared, n, role, place_of(other.file));
    const bool is_source = other.file.language == job.source_language;
    if (data.held_out == 0 && (is_source ? 2 : 10) * shared > n)
      throw UsageError(
          fmt::format("--validation_file {}: {}: a model that is chosen by it has seen their labels",
                      job.job.validation_file.front(), what),
          "give --validation_file other rows than those of the targets and those that are scored");
    if (data.held_out == 0) log_warning("--validation_file {}: {}", job.job.validation_file.front(), what);
    if (!is_source) data.dev_overlaps.push_back(what);
  };
  for (const LanguageRows& one : data.tests) check(one, "test file");
  for (const LanguageRows& one : data.few_shot)
    if (one.file.language != job.source_language) check(one, "few-shot file");
}

// Two languages whose files say the same in another format: with other line ends, or compressed.
void check_different_rows(const std::vector<LanguageRows>& all, const char* option) {
  std::vector<std::unordered_set<uint64_t>> keys;
  keys.reserve(all.size());
  for (const LanguageRows& one : all) keys.push_back(keys_of_rows(one.rows));
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (all[i].rows.size() == all[j].rows.size() && keys[i] == keys[j])
        throw UsageError(
            fmt::format("--{}: {} and {} hold the same rows, so that one of them is not a file of its "
                        "language",
                        option, place_of(all[j].file), place_of(all[i].file)),
            "name the file of each language");
}

// Sentence pairs with scores and pairs without are measured in different ways.
void check_same_measure(const XlingData& data, const XlingJob& job) {
  if (job.job.task->answer != tasks::Answer::embeddings) return;
  const bool scored = data.dev.has_scores();
  for (const LanguageRows& one : data.tests)
    if (one.rows.has_scores() != scored)
      fail_with(
          "give every file the same columns; --validation_file decides the measure where the training has "
          "another",
          "{}: its pairs have {}, and the development rows ({}) have {}: no metric is that of both",
          place_of(one.file), scored ? "no scores" : "scores", data.dev.origin(), scored ? "some" : "none");
}

std::vector<LanguageRows> read_all(const XlingJob& job, const std::vector<LanguageFile>& files,
                                   int64_t max_samples) {
  std::vector<LanguageRows> out;
  out.reserve(files.size());
  for (const LanguageFile& f : files) out.push_back({f, read(job, f.file, max_samples)});
  return out;
}

void hold_out_dev(XlingData& data, const XlingJob& job) {
  for (auto& [file, rows] : data.training) {
    if (file.language != job.source_language) continue;
    const RowSplit split = hold_out(rows, job.validation_split_percentage);
    if (split.held_out.empty())
      fail_with("give more rows, or development rows of their own as --validation_file",
                "{}: of its {} rows none can be held out: each is the last one of a label",
                file.file.string(), rows.size());
    data.held_out = static_cast<int64_t>(split.held_out.size());
    data.dev = rows_at(rows, split.held_out);
    rows = rows_at(rows, split.train);
  }
}

bool has_classes(const Dataset& rows, const XlingJob& job) {
  const tasks::Input input = job.job.task->input;
  return (input == tasks::Input::labelled_rows && rows.label_kind() != LabelKind::floats) ||
         input == tasks::Input::tagged_words;
}

std::string quoted(const std::vector<std::string>& labels) {
  constexpr size_t kShown = 5;
  std::string out;
  for (size_t i = 0; i < std::min(labels.size(), kShown); ++i)
    out += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", shown(labels[i]));
  return labels.size() > kShown ? out + fmt::format(" and {} more", labels.size() - kShown) : out;
}

void check_known(const LanguageRows& of, const std::set<std::string>& known, const XlingData& data,
                 const char* option) {
  std::vector<std::string> unseen;
  int64_t rows = 0, line = 0;
  for (const LabelCount& label : of.rows.label_counts()) {
    if (known.count(label.label)) continue;
    if (unseen.empty()) line = label.line;
    unseen.push_back(label.label);
    rows += label.count;
  }
  if (unseen.empty()) return;
  std::vector<std::string> files;
  for (const LanguageRows& one : data.training) files.push_back(one.file.file.string());
  const std::string near = nearest_name(unseen.front(), {known.begin(), known.end()});
  fail_with(near.empty() ? "give every language the same labels, or remove these rows"
                         : fmt::format("did you mean \"{}\"? Give every language the same labels, or remove "
                                       "these rows",
                                       shown(near)),
            "--{} {}: line {}: {} of its labels, which {} rows have, occur in no row of the training data "
            "({}): {}; no model that is trained on it can give them",
            option, place_of(of.file), line, unseen.size(), rows, enumeration(files), quoted(unseen));
}

std::vector<std::string> lacking(const Dataset& rows, const std::vector<std::string>& labels) {
  std::set<std::string> own;
  for (const LabelCount& label : rows.label_counts()) own.insert(label.label);
  std::vector<std::string> out;
  for (const std::string& label : labels)
    if (!own.count(label)) out.push_back(label);
  return out;
}

// A label that the cap has left out of the training.
void check_drawn_labels(const XlingData& data, const XlingJob& job, const Dataset& drawn, uint64_t seed) {
  if (!has_classes(drawn, job)) return;
  for (const LanguageRows& one : data.training) {
    std::vector<std::string> labels;
    for (const LabelCount& label : one.rows.label_counts()) labels.push_back(label.label);
    if (const auto without = lacking(drawn, labels); !without.empty())
      fail_with(
          "raise --max_rows_per_language, or leave it out",
          "--max_rows_per_language {}: of the rows that seed {} draws none has the label {}, which is in {}",
          job.max_rows_per_language, seed, quoted(without), place_of(one.file));
  }
}

}  // namespace

const LanguageRows* XlingData::test_of(const std::string& language) const {
  for (const LanguageRows& one : tests)
    if (one.file.language == language) return &one;
  return nullptr;
}

const LanguageRows& XlingData::source(const std::string& language) const {
  for (const LanguageRows& one : training)
    if (one.file.language == language) return one;
  fail("there are no training rows of {}", language);
}

XlingData read_files(const XlingJob& job) {
  std::vector<LanguageFile> training = language_files(job.train_files, "train_files");
  if (training.empty()) training = {{job.source_language, job.job.train_file.front()}};
  std::vector<LanguageFile> tests = language_files(job.test_files, "test_files");
  const std::vector<LanguageFile> few_shot = language_files(job.few_shot_files, "few_shot_files");
  const auto is_source = [&](const LanguageFile& f) { return f.language == job.source_language; };
  if (std::none_of(training.begin(), training.end(), is_source))
    throw UsageError(fmt::format("--train_files has no file of the source language {}", job.source_language),
                     "name another --source_language, or add its file");
  if (std::all_of(tests.begin(), tests.end(), is_source))
    throw UsageError(fmt::format("--test_files has no language but the source, {}", job.source_language),
                     "add the languages that the model is used on: de=FILE,fr=FILE");
  std::stable_partition(tests.begin(), tests.end(), is_source);
  check_roles(job, training, tests, few_shot);
  XlingData data;
  data.training = read_all(job, training, job.job.max_train_samples);
  data.tests = read_all(job, tests, job.job.max_predict_samples);
  data.few_shot = read_all(job, few_shot, -1);
  if (job.job.validation_file.empty())
    hold_out_dev(data, job);
  else
    data.dev = read(job, job.job.validation_file.front(), job.job.max_eval_samples);
  check_different_rows(data.tests, "test_files");
  check_different_rows(data.training, "train_files");
  check_different_rows(data.few_shot, "few_shot_files");
  check_dev_rows(data, job);
  check_same_measure(data, job);
  return data;
}

std::vector<std::vector<std::string>> check_labels(const XlingData& data, const XlingJob& job,
                                                   const std::vector<std::string>& labels) {
  std::vector<std::vector<std::string>> missing(data.tests.size());
  if (!has_classes(data.training.front().rows, job)) return missing;
  std::set<std::string> known(labels.begin(), labels.end());
  std::vector<std::string> trained;
  for (const LanguageRows& one : data.training)
    for (const LabelCount& label : one.rows.label_counts()) {
      known.insert(label.label);
      if (std::find(trained.begin(), trained.end(), label.label) == trained.end())
        trained.push_back(label.label);
    }
  std::sort(trained.begin(), trained.end());
  for (const LanguageRows& one : data.tests) check_known(one, known, data, "test_files");
  for (const LanguageRows& one : data.few_shot) check_known(one, known, data, "few_shot_files");
  for (const LanguageRows& one : data.training)
    if (const auto labels_without = lacking(one.rows, trained); !labels_without.empty())
      log_warning("--train_files {}: no row has the labels {}, which other training languages have",
                  place_of(one.file), quoted(labels_without));
  for (size_t i = 0; i < data.tests.size(); ++i) {
    missing[i] = lacking(data.tests[i].rows, trained);
    if (!missing[i].empty())
      log_warning("--test_files {}: no row has the label{} {}: the score says nothing about {}",
                  place_of(data.tests[i].file), missing[i].size() > 1 ? "s" : "", quoted(missing[i]),
                  missing[i].size() > 1 ? "them" : "it");
  }
  return missing;
}

Dataset rows_of_run(const XlingData& data, const XlingJob& job, uint64_t seed, std::vector<int64_t>* counts) {
  std::vector<int64_t> capped;
  bool whole = data.training.size() == 1;
  for (const LanguageRows& one : data.training) {
    const auto n = static_cast<int64_t>(one.rows.size());
    capped.push_back(job.max_rows_per_language > 0 ? std::min(n, job.max_rows_per_language) : n);
    whole &= capped.back() == n;
  }
  const std::vector<int64_t> mixed = mixture_of(capped, job.sampling_temperature);
  if (counts) *counts = mixed;
  if (whole) return data.training.front().rows;
  std::vector<Example> examples;
  std::vector<std::string> origins;
  for (size_t i = 0; i < data.training.size(); ++i) {
    const auto& [file, rows] = data.training[i];
    // The rows under the cap, and of these as many as the mixture takes.
    const std::vector<size_t> under = sample_rows(rows.size(), capped[i], seed, "cap " + file.language);
    for (const size_t at : sample_rows(under.size(), mixed[i], seed, file.language))
      examples.push_back(rows[under[at]]);
    origins.push_back(file.file.string());
  }
  const QuietLog quiet;
  Dataset drawn(std::move(examples), enumeration(origins));
  if (job.max_rows_per_language > 0) check_drawn_labels(data, job, drawn, seed);
  return drawn;
}

}  // namespace graft::transfer
