#include "transfer/xling_few_shot.h"

#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/shown.h"
#include "train/arguments.h"
#include "train/train_state.h"
#include "train/trained_model.h"
#include "transfer/adapt_options.h"
#include "transfer/quiet_log.h"
#include "transfer/row_choice.h"

namespace graft::transfer {

TrainingArguments few_shot_arguments(const XlingJob& job) {
  // A few rows are a few steps: more epochs than the source has, and no row to select by.
  constexpr double kEpochs = 10;
  TrainingArguments a = job.job.arguments;
  a.num_train_epochs = kEpochs;
  a.max_steps = -1;
  a.average_checkpoints = 0;
  a.ema_decay = a.swa_start = a.swa_lr = 0;
  a.eval_strategy = a.save_strategy = a.logging_strategy = "no";
  a.eval_steps.reset();
  a.do_eval = false;
  a.eval_on_start = a.load_best_model_at_end = false;
  a.early_stopping_patience.reset();
  a.reinit_layers = 0;
  a.report_to = "none";
  set_arguments(a, "few_shot_arguments", job.few_shot_arguments);
  const auto refuse = [](bool given, const char* name, const char* why) {
    if (given)
      throw UsageError(fmt::format("--few_shot_arguments: {} is refused: {}", name, why), "leave it out");
  };
  const char* why = "a few rows leave none to choose a model by";
  refuse(a.eval_strategy != "no", "eval_strategy", why);
  refuse(a.load_best_model_at_end, "load_best_model_at_end", why);
  refuse(a.early_stopping_patience.has_value(), "early_stopping_patience", why);
  refuse(a.seed != job.job.arguments.seed, "seed", "the seeds are those of --seeds");
  a.log_level = "passive";
  return a;
}

std::vector<size_t> shot_candidates(const XlingJob& job, const LanguageRows& from, const Dataset& tested,
                                    bool of_labels, const std::vector<std::string>& known_labels,
                                    Shots& shots) {
  const auto& [file, rows] = from;
  if (rows.label_kind() == LabelKind::floats || rows.label_kind() == LabelKind::lists)
    throw UsageError(fmt::format("--few_shot is refused: the labels of {} are {}", file.file.string(),
                                 rows.label_kind() == LabelKind::floats ? "numbers" : "lists"),
                     "it draws rows of each label; --train_files trains on all of them");
  const auto keys = keys_of_rows(tested);
  std::vector<size_t> candidates;
  for (size_t i = 0; i < rows.size(); ++i)
    if (!keys.count(key_of_row(rows[i]))) candidates.push_back(i);
  shots.language = file.language;
  shots.left_out = static_cast<int64_t>(rows.size() - candidates.size());
  const int64_t most = job.few_shot.back();
  if (candidates.empty() ||
      draw_shots(rows, candidates, most, of_labels, 0).size() < static_cast<size_t>(most))
    fail_with(
        fmt::format("give a longer file, or a smaller --few_shot than {}", most),
        "--few_shot_files {}={}: {} rows are left to draw from, {} of its {} rows being in the test file",
        file.language, file.file.string(), candidates.size(), shots.left_out, rows.size());
  if (of_labels) {
    for (const std::string& label : known_labels) {
      int64_t count = 0;
      for (const size_t i : candidates) count += !rows[i].labels.empty() && rows[i].labels.front() == label;
      if (count >= most) continue;
      shots.short_labels +=
          fmt::format("{}{} of \"{}\"", shots.short_labels.empty() ? "" : ", ", count, shown(label));
    }
    if (!shots.short_labels.empty())
      log_warning("--few_shot_files {}={}: there are fewer rows than --few_shot {} of some labels: {}",
                  file.language, file.file.string(), most, shots.short_labels);
  }
  if (shots.left_out > 0)
    log_warning("--few_shot_files {}={}: {} of {} rows are in the test file too and are left out",
                file.language, file.file.string(), shots.left_out, rows.size());
  return candidates;
}

std::optional<double> train_shots(train::TrainJob job, const std::filesystem::path& folder, Dataset rows,
                                  const Hooks& hooks, const std::function<double(const Model&)>& score) {
  const QuietLog quiet;
  job.model = folder.string();
  job.config_name.clear();
  TaskData data;
  data.train = std::move(rows);
  data.tokenizer = Tokenizer::from_pretrained(folder);
  const std::filesystem::path run = job.arguments.output_dir;
  remove_tree(run);
  const Model model = train::load_model(job, folder, data);
  Trainer trainer(model, job.arguments, std::move(data));
  train::TrainState state;
  std::optional<double> value;
  if (!hooks.train(trainer, state).interrupted) value = score(model);
  remove_tree(run);
  return value;
}

}  // namespace graft::transfer
