#include "train/reports.h"

#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/nearest.h"
#include "train/arguments.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// Reports of the reference that send the log to a service or need a package of Python.
const std::vector<std::string>& foreign_reports() {
  static const std::vector<std::string> names = {"azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub",
                                                 "dvclive",  "flyte",   "kubeflow",   "mlflow",   "neptune",
                                                 "swanlab",  "trackio", "wandb"};
  return names;
}

bool is_any_of(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Sorts by time, so that the last of them is the newest.
std::string time_and_host() {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return fmt::format("{:%Y-%m-%d_%H-%M-%S}_{}", parts, host);
}

// A run that continues writes into the folder of its first part.
fs::path event_folder(const TrainingArguments& a, int64_t step) {
  if (!a.logging_dir.empty()) return a.logging_dir;
  const fs::path runs = fs::path(a.output_dir) / "runs";
  if (!a.run_name.empty()) return runs / a.run_name;
  fs::path newest;
  if (step > 0 && is_folder(runs)) {
    for (const fs::path& path : list_folder(runs))
      if (is_folder(path)) newest = path;
  }
  return newest.empty() ? runs / time_and_host() : newest;
}

// As the reference's rewrite_logs: eval_loss is eval/loss, loss is train/loss.
std::string tag_of(const std::string& name) {
  for (const char* part : {"eval", "test"})
    if (name.starts_with(std::string(part) + "_")) return std::string(part) + "/" + name.substr(5);
  return "train/" + name;
}

}  // namespace

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words(1);
  for (const char c : list) {
    if (c == ',' || c == ' ')
      words.emplace_back();
    else
      words.back() += c;
  }
  std::erase(words, "");
  return words;
}

std::set<std::string> parse_reports(const std::string& list) {
  std::set<std::string> out;
  const std::vector<std::string> words = words_of(list);
  if (words.size() > 1 && is_any_of(words, "none"))
    throw UsageError(fmt::format("--report_to {} contradicts itself", list),
                     "give none alone, or leave it out");
  for (const std::string& name : words) {
    if (name == "all") out.insert({"jsonl", "tensorboard"});
    if (name == "json") out.insert("jsonl");
    if (name == "jsonl" || name == "tensorboard") out.insert(name);
    if (is_any_of(foreign_reports(), name)) {
      throw UsageError(
          fmt::format("--report_to {} is refused: it needs a package of Python, which graft does not use",
                      name),
          "--report_to jsonl writes output_dir/runs/log.jsonl, which other programs can read");
    }
    if (is_any_of({"all", "json", "jsonl", "tensorboard", "none"}, name)) continue;
    const std::string near = nearest_name(name, {"all", "jsonl", "tensorboard", "none"});
    throw UsageError(
        fmt::format("--report_to {} is not known; there are: tensorboard, jsonl, all, none", name),
        near.empty() ? "" : "did you mean " + near + "?");
  }
  return out;
}

Reports::Reports(const TrainingArguments& arguments, int64_t step) {
  const std::set<std::string> reports = parse_reports(arguments.report_to);
  if (reports.contains("jsonl"))
    json_ = std::make_unique<report::JsonLog>(fs::path(arguments.output_dir) / "runs/log.jsonl", step);
  if (!reports.contains("tensorboard")) return;
  const fs::path folder = event_folder(arguments, step);
  events_ = std::make_unique<report::EventFile>(folder, step);
  events_->add_text("args", to_json(arguments).dump(2));
  log_info("report_to tensorboard: the event files are in {}", folder.string());
}

void Reports::add(const Json& line) {
  const auto write = [](auto& report, const auto& f) {
    if (!report) return;
    try {
      f();
    } catch (const Error& e) {
      log_warning("{}; training goes on, this report ends", e.what());
      report.reset();
    }
  };
  write(json_, [&] { json_->add(line); });
  write(events_, [&] {
    report::EventFile::Scalars scalars;
    for (const auto& [name, value] : line.items())
      if (name != "step" && value.is_number()) scalars.emplace_back(tag_of(name), value.get<double>());
    events_->add_scalars(line.at("step").get<int64_t>(), scalars);
  });
}

}  // namespace graft::train
