#include "cli/train_options.h"

#include "models/config_keys.h"
#include "tasks/task_table.h"

namespace graft::cli {

void declare_job(Options& options, train::TrainJob& job) {
  constexpr train::Range kSamples{1, 1e12};
  options.text("model", job.model, "checkpoint: a folder, or ORG/NAME[@revision] on the hub");
  options.text("task", job.task_name, tasks::task_names());
  options.list("train_file", job.train_file,
               "training data: .csv .tsv .jsonl .json .txt .conll .conllu, each also .gz .zst .xz");
  options.list("validation_file", job.validation_file,
               "evaluation data; several sets have names: en=dev.en.csv,de=dev.de.csv give eval_en_loss, "
               "eval_de_loss, ...");
  options.list("test_file", job.test_file, "labelled data to be scored once, after training");
  options.columns(job.columns);
  options.integer("max_train_samples", job.max_train_samples, "use the first N training examples", kSamples);
  options.integer("max_eval_samples", job.max_eval_samples, "use the first N evaluation examples", kSamples);
  options.integer("max_predict_samples", job.max_predict_samples, "use the first N test examples", kSamples);
  options.flag("ignore_mismatched_sizes", job.ignore_mismatched_sizes,
               "reinitialize tensors of another shape, e.g. a head");
  options.text("config_name", job.config_name, "config.json (or its folder) to train from random weights");
  options.text("tokenizer_name", job.tokenizer_name, "folder of the tokenizer, where it is not the model's");
  options.text(
      "load_lang_adapter", job.load_lang_adapter,
      "with --peft_type seq_bn or double_seq_bn: a language adapter (of --peft_type seq_bn_inv), frozen "
      "below the task adapter that is trained; a folder, or ORG/NAME on the hub");
  for (const std::string& key : models::dropout_keys())
    options.value(key, "dropout of models whose config.json has this key; default: the checkpoint's", "",
                  [&job, key](const std::string& value) { train::override_dropout(job, key, value); });
  options.flag("overwrite_output_dir", job.overwrite_output_dir,
               "write into an output_dir that is not empty");
  options.threads();
  options.training_arguments(job.arguments);
}

}  // namespace graft::cli
