#include "cli/stage_hooks.h"

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

}  // namespace graft::cli
