#include "cli/stage_hooks.h"

#include "base/error.h"
#include "cli/console.h"
#include "train/train_state.h"

namespace graft::cli {

transfer::Hooks stage_hooks(const TrainingArguments& arguments) {
  transfer::Hooks hooks;
  hooks.train = [&arguments](Trainer& trainer, train::TrainState& state) {
    Observer observer;
    observer.on_log = say_log_entry;
    if (!arguments.disable_tqdm.value_or(false)) observer.on_step = show_progress;
    const StopOnSignals stop(trainer);
    TrainResult result = trainer.train(state, observer);
    end_progress();
    return result;
  };
  hooks.loaded = [&arguments](const Model& model, const std::string& name) {
    say_loaded(model, name, train::training_precision(arguments.bf16));
  };
  return hooks;
}

void refuse_no_training(const Options& options, const TrainingArguments& arguments) {
  if (options.typed("do_train") && !arguments.do_train)
    throw UsageError("--do_train false is refused: the command trains",
                     "graft evaluate gives the metrics of a model");
}

void refuse_resuming(const TrainingArguments& arguments, const char* cached) {
  if (!arguments.resume_from_checkpoint.empty())
    throw UsageError(fmt::format("--{} is refused: the same command continues an interrupted run",
                                 "resume_from_checkpoint"),
                     fmt::format("{} is cached in output_dir/stages", cached));
}

}  // namespace graft::cli
