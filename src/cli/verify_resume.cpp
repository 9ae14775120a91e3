// graft verify-resume: runs the first steps of a training with and without an interruption and compares.
#include "train/verify_resume.h"

#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/train_options.h"
#include "cli/verbs.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

// Options of `graft train` that follow the training.
void explain_unused(const Options& options) {
  for (const char* name : {"test_file", "max_predict_samples", "do_predict", "overwrite_output_dir"})
    if (options.given(name)) say(fmt::format("--{} has no effect here: the runs end with their steps", name));
}

}  // namespace

int verify_resume(int argc, char** argv) {
  train::TrainJob job;
  int64_t steps = 10;
  bool json = false;
  Options options(
      "verify-resume",
      "prove on your own run that an interruption changes nothing\n\n"
      "Trains the first --verify_steps steps of the run twice: at once, and with an interruption in "
      "the middle and a\n"
      "restart from the checkpoint on disk. Then compares all bits of the weights, of the optimizer's "
      "state and of the log.\n"
      "Takes the options of graft train. Those about saving, early stopping and the best model have "
      "no effect and are\n"
      "named. Works in OUTPUT_DIR.verify-resume-PID, which is removed at the end; output_dir itself "
      "stays as it is.\n"
      "Exit code 0: the bits are identical; 1: they differ, and the first difference is named.",
      {"graft verify-resume --model DIR --task sequence-classification --train_file train.csv "
       "--output_dir results",
       "graft verify-resume --config results/training_args.json --verify_steps 50 --json"});
  declare_job(options, job);
  options.integer("verify_steps", steps, "optimizer steps; the interruption is in the middle", {2, 1e9});
  options.flag("json", json, "the result on stdout as json");
  if (!options.parse(argc, argv, 2)) return 0;
  const EndOnSignals ends(
      "\nStopped before the comparison. OUTPUT_DIR.verify-resume-* may be left; remove it.\n");
  explain_unused(options);
  train::check_job(job);
  const std::filesystem::path checkpoint = train::find_checkpoint(job, find_model);
  const std::filesystem::path tokenizer =
      job.tokenizer_name.empty() ? checkpoint : find_model(job.tokenizer_name);
  const auto make_trainer = [&](const TrainingArguments& arguments) {
    TaskData data = train::load_data(job, tokenizer);
    const Model model = train::load_model(job, checkpoint, data);
    return std::make_unique<Trainer>(model, arguments, std::move(data));
  };
  Observer observer;
  observer.on_step = show_progress;
  const train::ResumeReport report = train::verify_resume(make_trainer, job.arguments, steps, observer);
  end_progress();
  const bool same = report.difference.empty();
  if (json) {
    const Json out = {{"identical", same},
                      {"steps", report.steps},
                      {"interrupted_at", report.interrupted_at},
                      {"tensors", report.tensors},
                      {"values", report.values},
                      {"log_lines", report.log_lines},
                      {"difference", report.difference}};
    fmt::print("{}\n", out.dump());
  } else if (same) {
    fmt::print(
        "identical: {} steps at once and {} + {} steps with a restart from disk have the same bits\n"
        "compared: {} tensors of weights and optimizer ({} values) and {} lines of the log\n",
        report.steps, report.interrupted_at, report.steps - report.interrupted_at, report.tensors,
        report.values, report.log_lines);
  } else {
    fmt::print("DIFFERENT: {} steps at once and {} + {} steps with a restart from disk: {}\n", report.steps,
               report.interrupted_at, report.steps - report.interrupted_at, report.difference);
  }
  return same ? 0 : 1;
}

}  // namespace graft::cli
