// The tables of `graft xling`, as markdown that reads well in a terminal, and as json.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "tasks/task_table.h"
#include "transfer/languages.h"
#include "transfer/statistics.h"
#include "transfer/xling.h"

namespace graft::transfer {
namespace {

constexpr double kNoScore = std::numeric_limits<double>::quiet_NaN();

// Columns as wide as their widest cell; all but the first are aligned on the right.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const {
    std::vector<size_t> widths(rows_.front().size(), 3);
    for (const auto& row : rows_)
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], utf8::length(row[i]));
    std::string out = line(rows_.front(), widths);
    for (size_t i = 0; i < widths.size(); ++i)
      out += i == 0 ? "|" + std::string(widths[i] + 2, '-') : "|" + std::string(widths[i] + 1, '-') + ":";
    out += "|\n";
    for (size_t i = 1; i < rows_.size(); ++i) out += line(rows_[i], widths);
    return out;
  }

 private:
  static std::string line(const std::vector<std::string>& row, const std::vector<size_t>& widths) {
    std::string out;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - utf8::length(row[i]), ' ');
      out += i == 0 ? "| " + row[i] + padding + " " : "| " + padding + row[i] + " ";
    }
    return out + "|\n";
  }
  std::vector<std::vector<std::string>> rows_;
};

std::string number(double value, const char* sign = "") {
  if (!std::isfinite(value)) return "-";
  return *sign ? fmt::format("{:+.4f}", value) : fmt::format("{:.4f}", value);
}

double mean(const std::vector<double>& values) { return values.empty() ? kNoScore : mean_of(values); }

// Of each seed: the mean of the targets.
std::vector<double> averages(const XlingResult& r, std::vector<double> LanguageScores::*of) {
  std::vector<double> out;
  for (size_t seed = 0; seed < (r.targets.front().*of).size(); ++seed) {
    double sum = 0, n = 0;
    for (const LanguageScores& t : r.targets)
      if (std::isfinite(mean(t.scores))) sum += (t.*of)[seed], ++n;
    out.push_back(n > 0 ? sum / n : kNoScore);
  }
  return out;
}

// The targets whose metric is undefined.
std::vector<std::string> without_score(const XlingResult& r) {
  std::vector<std::string> out;
  for (const LanguageScores& t : r.targets)
    if (!std::isfinite(mean(t.scores))) out.push_back(t.file.language);
  return out;
}

// Of those with a score; the first where none has one.
const LanguageScores& worst(const XlingResult& r) {
  const LanguageScores* out = &r.targets.front();
  for (const LanguageScores& t : r.targets) {
    const double score = mean(t.scores), before = mean(out->scores);
    if (!std::isfinite(score)) continue;
    if (!std::isfinite(before) || (r.larger_is_better ? score < before : score > before)) out = &t;
  }
  return *out;
}

const std::vector<double>& source_scores(const XlingResult& r) { return r.source ? r.source->scores : r.dev; }

// What a target loses against the source; positive where it is worse.
double gap(const XlingResult& r, const std::vector<double>& scores) {
  const double lost = mean(source_scores(r)) - mean(scores);
  return r.larger_is_better ? lost : -lost;
}

double gain(const XlingResult& r, const std::vector<double>& average, const std::vector<double>& last) {
  if (last.empty()) return kNoScore;
  return r.larger_is_better ? mean(average) - mean(last) : mean(last) - mean(average);
}

bool has_average(const XlingResult& r) { return !r.dev_last.empty(); }

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::vector<std::string> row_of(const XlingResult& r, const std::string& name,
                                const std::vector<double>& scores, const std::vector<double>& last,
                                bool is_source, const LanguageText* text) {
  std::vector<std::string> row = {name, number(mean(scores)), number(standard_deviation(scores)),
                                  is_source ? "" : number(gap(r, scores), "+")};
  if (has_average(r)) {
    row.push_back(number(mean(last)));
    row.push_back(number(gain(r, scores, last), "+"));
  }
  if (!text) {
    row.insert(row.end(), 4, "");
    return row;
  }
  row.push_back(std::to_string(text->rows));
  row.push_back(percent(text->long_share()));
  row.push_back(percent(text->unknown_rate()));
  row.push_back(fmt::format("{:.2f}{}", text->tokens_per_word(), text->by_characters() ? " (c)" : ""));
  return row;
}

std::string matrix(const XlingResult& r, const XlingJob& job) {
  const bool windows = r.source_text.in_windows;
  std::vector<std::string> head = {"language", r.metric, "sd", "gap to " + job.source_language};
  if (has_average(r)) head.insert(head.end(), {"not averaged", "gain"});
  head.insert(head.end(), {"rows", windows ? "in windows" : "truncated", "unknown", "tokens/word"});
  Table table(std::move(head));
  if (r.source)
    table.add(row_of(r, job.source_language + " (source, test)", r.source->scores, r.source->last, true,
                     &r.source->text));
  else
    table.add(row_of(r, job.source_language + " (source, dev)", r.dev, r.dev_last, true, nullptr));
  for (const LanguageScores& t : r.targets)
    table.add(
        row_of(r, t.file.language + (t.trained_on ? " (trained on)" : ""), t.scores, t.last, false, &t.text));
  const std::string of = fmt::format("average of {}", r.targets.size() - without_score(r).size());
  table.add(row_of(r, of, averages(r, &LanguageScores::scores), averages(r, &LanguageScores::last), false,
                   nullptr));
  const LanguageScores& last = worst(r);
  table.add(row_of(r, "worst: " + last.file.language, last.scores, last.last, false, nullptr));
  return table.text();
}

std::string spread(const std::vector<double>& values) {
  if (values.empty()) return "-";
  return values.size() > 1 ? fmt::format("{} ± {:.4f}", number(mean(values)), standard_deviation(values))
                           : number(mean(values));
}

// Of each draw: the mean of the languages that have one.
std::vector<double> averages_of_shots(const XlingResult& r, int64_t k) {
  std::vector<double> out(r.shots.front().scores.at(k).size());
  for (const Shots& shots : r.shots)
    for (size_t i = 0; i < out.size(); ++i)
      out[i] += shots.scores.at(k)[i] / static_cast<double>(r.shots.size());
  return out;
}

std::string curves(const XlingResult& r, const XlingJob& job) {
  std::vector<std::string> head = {r.shots_of_labels ? "rows of each label" : "rows", "0"};
  for (const int64_t k : job.few_shot) head.push_back(std::to_string(k));
  Table table(std::move(head));
  const auto zero = [&](const std::string& language) -> const std::vector<double>& {
    if (r.source && r.source->file.language == language) return r.source->scores;
    return std::find_if(r.targets.begin(), r.targets.end(),
                        [&](const LanguageScores& t) { return t.file.language == language; })
        ->scores;
  };
  std::vector<double> start(job.seeds.size());
  for (const Shots& shots : r.shots) {
    std::vector<std::string> row = {shots.language, spread(zero(shots.language))};
    for (const auto& [k, scores] : shots.scores) row.push_back(spread(scores));
    for (size_t i = 0; i < start.size(); ++i)
      start[i] += zero(shots.language)[i] / static_cast<double>(r.shots.size());
    table.add(std::move(row));
  }
  if (r.shots.size() > 1) {
    std::vector<std::string> row = {fmt::format("average of {}", r.shots.size()), spread(start)};
    for (const int64_t k : job.few_shot) row.push_back(spread(averages_of_shots(r, k)));
    table.add(std::move(row));
  }
  return table.text() +
         fmt::format(
             "\n{} (mean ± sd) over {} seed{} x {} sampled set{} of rows; 0 rows: before training on the "
             "target, over the seeds. A set has the same rows for every seed.\n",
             r.metric, job.seeds.size(), job.seeds.size() > 1 ? "s" : "", job.few_shot_sets,
             job.few_shot_sets > 1 ? "s" : "");
}

std::string title(const XlingResult& r, const XlingJob& job) {
  std::string rows;
  bool mixed = false;
  for (const TrainingRows& t : r.training) {
    rows += fmt::format("{}{} ({} of {} rows of {})", rows.empty() ? "" : ", ", t.language, t.in_mixture,
                        t.rows, t.file);
    mixed |= t.in_mixture != t.rows;
  }
  std::string text = fmt::format("{}{}: trained on {}; {} over {} seed{}\n\n",
                                 r.training.size() > 1 ? "joint training" : "zero-shot transfer",
                                 r.shots.empty() ? "" : ", then few-shot", rows, r.metric, job.seeds.size(),
                                 job.seeds.size() > 1 ? "s" : "");
  if (!mixed) return text;
  return text + fmt::format("Rows of an epoch: {}temperature {:g}, drawn by the seed.\n\n",
                            job.max_rows_per_language > 0
                                ? fmt::format("at most {} of a language, ", job.max_rows_per_language)
                                : "",
                            job.sampling_temperature);
}

// What chose the model. That no row of a target did is said where it was checked.
std::string development(const XlingResult& r, const XlingJob& job) {
  std::string text =
      r.held_out > 0
          ? fmt::format("{} rows held out of the training file of {}", r.held_out, job.source_language)
          : fmt::format("{}{}", job.job.validation_file.front(),
                        job.validation_file_is_named
                            ? ""
                            : fmt::format(", taken as text in {}", language_name(job.source_language)));
  if (r.dev_overlaps.empty()) return fmt::format("development: {}; no row of a target chose anything", text);
  return fmt::format("warning: development: {}; {}", text, fmt::join(r.dev_overlaps, "; "));
}

// Of weights, in words.
std::string average(const XlingResult& r, const XlingJob& job) {
  const TrainingArguments& a = job.job.arguments;
  if (a.ema_decay > 0)
    return fmt::format("the moving average of {} steps (--ema_decay {})", r.averaged, a.ema_decay);
  if (a.swa_start > 0)
    return fmt::format("the average of {} epochs or steps (--swa_start {})", r.averaged, a.swa_start);
  return fmt::format("the average of those at {} evenly spaced points of the run", r.averaged);
}

std::string notes(const XlingResult& r, const XlingJob& job) {
  std::string text;
  const auto note = [&](const std::string& line) { text += "- " + line + "\n"; };
  note(r.source ? fmt::format("gap: against the test file of {}, {}", job.source_language,
                              r.source->file.file.string())
                : fmt::format("gap: against the development rows of {}, because --test_files has no {}",
                              job.source_language, job.source_language));
  note(development(r, job));
  if (has_average(r)) {
    note(fmt::format("the weights are {}; \"not averaged\": those at the end of the run", average(r, job)));
    if (const double dev = gain(r, r.dev, r.dev_last); dev < 0)
      note(fmt::format(
          "on the development rows of {} the average is worse by {:.4f}, as after short runs: compare "
          "{}, which keeps the weights of the end",
          job.source_language, -dev,
          job.job.arguments.average_checkpoints > 0
              ? "with --average_checkpoints 0"
              : "with --average_checkpoints 0 instead of that average"));
  }
  if (r.source_text.max_length > 0)
    note(fmt::format("the model reads {} tokens at once; longer rows are {}", r.source_text.max_length,
                     r.source_text.in_windows ? "read in windows" : "truncated"));
  bool characters = false;
  const auto each = [&](const LanguageScores& t) {
    characters |= t.text.by_characters();
    const std::string& l = t.file.language;
    if (const std::string why = tokenizer_complaint(t.text, r.source_text); !why.empty())
      note(fmt::format("warning: {}: {}", l, why));
    for (const std::string& why : script_complaints(t.text, l)) note(fmt::format("warning: {}: {}", l, why));
    if (t.rows_in_training > 0)
      note(fmt::format("warning: {}: {} of {} test rows also occur in the training data", l,
                       t.rows_in_training, t.text.rows));
    if (!t.missing_labels.empty())
      note(fmt::format("{}: {} of the training labels occur in no test row: {}", l, t.missing_labels.size(),
                       enumeration(t.missing_labels)));
  };
  if (r.source) each(*r.source);
  for (const LanguageScores& t : r.targets) each(t);
  for (const Shots& shots : r.shots) {
    if (shots.left_out > 0)
      note(fmt::format("{}: {} few-shot rows are in the test file too and were left out", shots.language,
                       shots.left_out));
    if (!shots.short_labels.empty())
      note(fmt::format("{}: fewer rows than --few_shot {} of some labels: {}", shots.language,
                       job.few_shot.back(), shots.short_labels));
  }
  if (const std::string without = enumeration(without_score(r)); !without.empty())
    note(fmt::format(
        "{} has no defined {} (its labels, or the predictions, are all the same): neither an average "
        "nor the worst counts it",
        without, r.metric));
  if (tasks::find_task(r.task).input == tasks::Input::questions)
    note("answers are compared by the rules of the language of their test file");
  if (characters) note("(c): tokens per character, in a script without spaces between words");
  std::string time =
      fmt::format("time: training {:.0f} s, scores {:.0f} s", r.train_seconds, r.evaluation_seconds);
  if (!r.shots.empty()) time += fmt::format(", few-shot {:.0f} s", r.few_shot_seconds);
  if (r.cached_seeds > 0)
    time += fmt::format(" ({} of {} seeds from the cache)", r.cached_seeds, job.seeds.size());
  note(time);
  return text;
}

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double v : values) out.push_back(number_or_null(v));
  return out;
}

Json summary(const std::vector<double>& scores, const std::vector<double>& last) {
  Json json = {{"scores", numbers(scores)},
               {"mean", number_or_null(mean(scores))},
               {"sd", number_or_null(standard_deviation(scores))}};
  if (!last.empty()) json["not_averaged"] = numbers(last);
  return json;
}

Json json_of(const XlingResult& r, const LanguageScores& t, bool is_source) {
  Json json = summary(t.scores, t.last);
  json["language"] = t.file.language;
  json["name"] = language_name(t.file.language);
  json["file"] = t.file.file.string();
  if (!is_source) json["gap"] = number_or_null(gap(r, t.scores));
  if (!t.last.empty()) json["gain_of_averaging"] = number_or_null(gain(r, t.scores, t.last));
  json["trained_on"] = t.trained_on;
  json["text"] = to_json(t.text);
  json["rows_in_training"] = t.rows_in_training;
  json["missing_labels"] = t.missing_labels;
  if (const std::string why = tokenizer_complaint(t.text, r.source_text); !why.empty()) json["warning"] = why;
  Json metrics = Json::array();
  for (Json one : t.metrics) {
    for (const char* time : {"runtime", "samples_per_second"}) one.erase(time);
    metrics.push_back(std::move(one));
  }
  json["metrics"] = std::move(metrics);
  return json;
}

}  // namespace

std::string table_of(const XlingResult& r, const XlingJob& job) {
  std::string text = title(r, job) + matrix(r, job) + "\n";
  if (!r.shots.empty()) text += curves(r, job) + "\n";
  return text + notes(r, job);
}

Json to_json(const XlingResult& r, const XlingJob& job) {
  Json training = Json::array(), targets = Json::array();
  for (const TrainingRows& t : r.training)
    training.push_back(
        {{"language", t.language}, {"file", t.file}, {"rows", t.rows}, {"rows_of_an_epoch", t.in_mixture}});
  for (const LanguageScores& t : r.targets) targets.push_back(json_of(r, t, false));
  const std::vector<double> scores = averages(r, &LanguageScores::scores);
  Json average = summary(scores, averages(r, &LanguageScores::last));
  average["gap"] = number_or_null(gap(r, scores));
  Json out = {
      {"task", r.task},
      {"metric", r.metric},
      {"larger_is_better", r.larger_is_better},
      {"seeds", job.seeds},
      {"source_language", job.source_language},
      {"gap_against", r.source ? "test" : "development"},
      {"training", training},
      {"development", summary(r.dev, r.dev_last)},
      {"held_out_rows", r.held_out},
      {"averaged_places", r.averaged},
      {"targets", targets},
      {"average", average},
      {"worst", worst(r).file.language},
      {"seconds",
       {{"training", r.train_seconds}, {"scores", r.evaluation_seconds}, {"few_shot", r.few_shot_seconds}}}};
  if (r.source) out["source"] = json_of(r, *r.source, true);
  if (r.shots.empty()) return out;
  Json curves = Json::array();
  for (const Shots& shots : r.shots) {
    Json points = Json::object();
    for (const auto& [k, values] : shots.scores) points[std::to_string(k)] = summary(values, {});
    curves.push_back({{"language", shots.language}, {"left_out_rows", shots.left_out}, {"curve", points}});
  }
  out["few_shot"] = {
      {"of_each_label", r.shots_of_labels}, {"sets", job.few_shot_sets}, {"languages", curves}};
  return out;
}

}  // namespace graft::transfer
