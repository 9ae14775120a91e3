// graft merge: several models of one architecture made into one, or adapters into their base model.
#include "transfer/merge.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/merge_adapter.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "train/output.h"
#include "transfer/folders.h"
#include "transfer/scoring.h"

namespace graft::cli {

namespace {

struct MergeCommand : transfer::MergeOptions {
  std::string output_dir, test_file, adapter;
  DatasetOptions columns;
  bool curve = false, json = false, overwrite = false;
};

std::vector<std::string> split(const std::vector<std::string>& values) {
  std::vector<std::string> out;
  for (const std::string& value : values)
    for (size_t begin = 0; begin <= value.size();) {
      const size_t end = std::min(value.find(',', begin), value.size());
      if (end > begin) out.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
  return out;
}

std::vector<double> numbers(const std::string& name, const std::vector<std::string>& values) {
  std::vector<double> out;
  for (const std::string& value : split(values)) out.push_back(train::parse_real(name, value));
  return out;
}

void check_command(const Options& options, const MergeCommand& o) {
  if (!o.curve)
    for (const char* name : {"text_column", "text_pair_column", "label_column", "target_column", "tag_scheme",
                             "repair_tags", "source_lang", "target_lang", "json"})
      if (options.given(name)) throw UsageError(fmt::format("--{} has no effect without --curve", name));
  if (o.curve && (o.models.size() != 2 || o.test_file.empty() || o.method == "task_arithmetic"))
    throw UsageError("--curve needs two models and --test_file: it is the score between them",
                     "--models A,B --curve --test_file dev.csv");
  if (!o.curve && !o.test_file.empty())
    throw UsageError("--test_file has no effect without --curve", "graft evaluate scores the merged model");
  if (o.output_dir.empty() && !o.curve)
    throw UsageError("--output_dir is needed", "graft merge --help shows examples");
  if (!o.output_dir.empty())
    for (const auto& model : o.models) transfer::check_other_folder(model, o.output_dir);
  for (const auto& model : o.models) transfer::check_whole_model(model);
  if (!o.output_dir.empty()) train::check_free_folder(o.output_dir, o.overwrite);
}

// The score at 0, 0.1, ... 1 of the way from the first model to the second one.
void print_curve(const MergeCommand& o, transfer::Merger& merger) {
  transfer::Scorer scorer(merger.model(), o.models.front(), o.test_file, o.columns);
  const std::string metric = scorer.metric();
  Json points = Json::array();
  if (!o.json) fmt::print("{:>6} {:>6} {:>10} {:>16}\n", "first", "second", "loss", metric);
  for (int i = 0; i <= 10; ++i) {
    const double second = i / 10.0, first = (10 - i) / 10.0;
    merger.set({first, second});
    const LogEntry scores = scorer.evaluate();
    const double loss = transfer::value_of(scores, "loss"), score = transfer::value_of(scores, metric);
    if (!o.json) fmt::print("{:>6.1f} {:>6.1f} {:>10.5f} {:>16.5f}\n", first, second, loss, score);
    points.push_back({{"weights", Json::array({first, second})}, {"loss", loss}, {metric.c_str(), score}});
  }
  if (o.json) fmt::print("{}\n", points.dump());
}

Options declare(MergeCommand& o, std::vector<std::string>& models, std::string& base) {
  Options options(
      "merge", "several models of one architecture made into one, or adapters into their base model",
      {"graft merge --models run1,run2,run3 --output_dir soup",
       "graft merge --models pretrained,fine-tuned --method linear --weights 0.3,0.7 --output_dir between",
       "graft merge --models A,B --curve --test_file dev.csv",
       "graft merge --models A,B --method task_arithmetic --base pretrained --scale 0.5 --output_dir both",
       "graft merge --adapter lora --output_dir merged"});
  options.list("models", models, "folders with the same head, separated by commas");
  options.text("adapter", o.adapter,
               "instead of --models: folder of adapters, adapter_config.json and adapter_model.safetensors");
  options.text(
      "method", o.method,
      "average; linear (with --weights); task_arithmetic (--base plus --scale times each difference)");
  options.value("weights", "linear: one a model, their sum is 1", "",
                [&o](const std::string& value) { o.weights = numbers("weights", {value}); });
  options.text("base", base, "task_arithmetic: the model from which the others were fine-tuned");
  options.value("scale", "task_arithmetic: of each difference; one number, or one a model", "1",
                [&o](const std::string& value) { o.scale = numbers("scale", {value}); });
  options.text("task", o.task, "default: that of the first model's head");
  options.flag("curve", o.curve, "show the score at 0, 0.1, ... 1 of the way between two models");
  options.text("test_file", o.test_file, "the data of --curve");
  options.columns(o.columns);
  options.text("output_dir", o.output_dir, "folder of the merged model");
  options.flag("overwrite_output_dir", o.overwrite, "write into a folder that holds files");
  options.flag("json", o.json, "the curve on stdout as json");
  options.threads();
  return options;
}

// Its options are the folder and where the merged model goes.
int merge_one_adapter(const Options& options, const MergeCommand& o) {
  for (const char* name :
       {"models", "method", "weights", "base", "scale", "task", "curve", "test_file", "json"})
    if (options.given(name)) throw UsageError(fmt::format("--{} is refused with --adapter", name));
  if (o.output_dir.empty()) throw UsageError("--output_dir is needed", "graft merge --help shows examples");
  merge_adapter_folder(o.adapter, o.output_dir);
  return 0;
}

}  // namespace

int merge(int argc, char** argv) {
  MergeCommand o;
  std::vector<std::string> models;
  std::string base;
  Options options = declare(o, models, base);
  if (!options.parse(argc, argv, 2)) return 0;
  if (!o.adapter.empty()) return merge_one_adapter(options, o);
  for (const std::string& model : split(models)) o.models.push_back(find_model(model));
  if (!base.empty()) o.base = find_model(base);
  check_command(options, o);
  if (options.given("scale") && o.method != "task_arithmetic")
    throw UsageError("--scale is refused: it is for --method task_arithmetic");
  // The two ends of a curve need no weights; what is saved beside it is the middle, or as --weights has it.
  transfer::Merger merger(o);
  if (o.curve) {
    print_curve(o, merger);
    merger.set(merger.factors());
  }
  if (o.output_dir.empty()) return 0;
  merger.save(o.output_dir);
  say(fmt::format("{} models are merged into {}", o.models.size(), o.output_dir));
  return 0;
}

}  // namespace graft::cli
