#include "cli/suggestions.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/nearest.h"

namespace graft::cli {
namespace {

using Candidates = std::vector<std::string>;  // in order of preference: the first that the command has
using Table = std::map<std::string, Candidates>;

// Names that the reference's scripts and pipelines use for options of graft.
const Table& aliases() {
  static const Table table = {
      {"model_name_or_path", {"model"}},
      {"pretrained_model_name_or_path", {"model"}},
      {"model_id", {"model"}},
      {"tokenizer", {"tokenizer_name"}},
      {"max_length", {"max_seq_length"}},
      {"max_source_length", {"max_seq_length"}},
      {"eval_file", {"validation_file"}},
      {"text_column_name", {"text_column"}},
      {"text_column_names", {"text_column"}},
      {"label_column_name", {"label_column"}},
      {"summary_column", {"target_column"}},
      {"source_column", {"text_column"}},
      {"eval_batch_size", {"per_device_eval_batch_size"}},
      {"per_gpu_eval_batch_size", {"per_device_eval_batch_size"}},
      {"threads", {"num_threads"}},
      {"preprocessing_num_workers", {"num_threads"}},
      {"input_file", {"input"}},
      {"output_file", {"output"}},
      {"topk", {"top_k"}},
  };
  return table;
}

const Table& misnomers() {
  static const Candidates train_data = {"train_file", "test_file", "input"};
  static const Candidates eval_data = {"validation_file", "test_file", "input"};
  static const Candidates test_data = {"test_file", "input"};
  static const Candidates any_data = {"input", "train_file", "test_file"};
  static const Candidates results = {"output_dir", "output"};
  static const Candidates batch = {"per_device_train_batch_size", "per_device_eval_batch_size"};
  static const Candidates length = {"max_seq_length", "model_max_length"};
  static const Table table = {
      {"data", train_data},
      {"dataset", train_data},
      {"dataset_name", train_data},
      {"train", train_data},
      {"train_data", train_data},
      {"train_file", test_data},
      {"training_file", train_data},
      {"corpus", train_data},
      {"dev", eval_data},
      {"dev_file", eval_data},
      {"eval_data", eval_data},
      {"eval_file", test_data},
      {"val_file", eval_data},
      {"valid_file", eval_data},
      {"validation", eval_data},
      {"validation_data", eval_data},
      {"validation_file", test_data},
      {"test", test_data},
      {"test_data", test_data},
      {"test_file", any_data},
      {"predict_file", test_data},
      {"file", any_data},
      {"files", any_data},
      {"input", any_data},
      {"input_file", any_data},
      {"text", {"input", "text_column"}},
      {"texts", {"input", "text_column"}},
      {"out", results},
      {"output", results},
      {"output_dir", results},
      {"output_file", results},
      {"save_dir", results},
      {"save_path", results},
      {"checkpoint", {"model"}},
      {"model_dir", {"model"}},
      {"model_name", {"model"}},
      {"model_path", {"model"}},
      {"config_file", {"config_name", "config"}},
      {"tokenizer_path", {"tokenizer_name", "model"}},
      {"task_name", {"task"}},
      {"lr", {"learning_rate"}},
      {"epochs", {"num_train_epochs"}},
      {"n_epochs", {"num_train_epochs"}},
      {"num_epochs", {"num_train_epochs"}},
      {"steps", {"max_steps"}},
      {"num_steps", {"max_steps"}},
      {"num_train_steps", {"max_steps"}},
      {"max_train_steps", {"max_steps"}},
      {"batch", batch},
      {"batch_size", batch},
      {"bs", batch},
      {"per_device_batch_size", batch},
      {"accumulation_steps", {"gradient_accumulation_steps"}},
      {"grad_accum", {"gradient_accumulation_steps"}},
      {"wd", {"weight_decay"}},
      {"decay", {"weight_decay"}},
      {"warmup", {"warmup_ratio"}},
      {"scheduler", {"lr_scheduler_type"}},
      {"lr_scheduler", {"lr_scheduler_type"}},
      {"clip", {"max_grad_norm"}},
      {"clip_grad_norm", {"max_grad_norm"}},
      {"block_size", length},
      {"max_len", length},
      {"max_length", length},
      {"max_seq_len", length},
      {"seq_len", length},
      {"seq_length", length},
      {"cpus", {"num_threads"}},
      {"jobs", {"num_threads"}},
      {"n_threads", {"num_threads"}},
      {"num_workers", {"num_threads"}},
      {"workers", {"num_threads"}},
      {"dtype", {"bf16"}},
      {"fp16", {"bf16"}},
      {"fp32", {"bf16"}},
      {"half", {"bf16"}},
      {"precision", {"bf16"}},
      {"torch_dtype", {"bf16"}},
      {"label", {"label_column"}},
      {"labels", {"label_column"}},
      {"eval", {"do_eval"}},
      {"evaluate", {"do_eval"}},
      {"overwrite", {"overwrite_output_dir"}},
      {"force", {"overwrite_output_dir"}},
      {"all_scores", {"return_all_scores"}},
      {"k", {"top_k"}},
      {"n_best", {"top_k"}},
      {"algorithm", {"type"}},
      {"model_type", {"type"}},
      {"tokenizer_type", {"type"}},
      {"vocabulary_size", {"vocab_size"}},
      {"fixtures", {"golden"}},
  };
  return table;
}

const Table& verb_misnomers() {
  static const Table table = {
      {"adapt", {"train"}},       {"classify", {"predict"}},
      {"download", {"pull"}},     {"encode", {"tokenize"}},
      {"eval", {"evaluate"}},     {"fetch", {"pull"}},
      {"fill-mask", {"predict"}}, {"fine-tune", {"train"}},
      {"finetune", {"train"}},    {"fit", {"train"}},
      {"get", {"pull"}},          {"infer", {"predict"}},
      {"inference", {"predict"}}, {"inspect", {"info"}},
      {"learn", {"train"}},       {"pretrain", {"train"}},
      {"run", {"predict"}},       {"score", {"evaluate"}},
      {"show", {"info"}},         {"test", {"evaluate"}},
      {"tokenise", {"tokenize"}}, {"tokenizer", {"train-tokenizer"}},
      {"valid", {"evaluate"}},    {"validate", {"evaluate"}},
  };
  return table;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string lower_case(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

// The first candidate of a row that is among `names`, or "".
std::string first_present(const Table& table, const std::string& name,
                          const std::vector<std::string>& names) {
  const auto row = table.find(name);
  if (row == table.end()) return "";
  for (const std::string& candidate : row->second) {
    if (contains(names, candidate)) return candidate;
  }
  return "";
}

}  // namespace

std::string option_of_alias(const std::string& name, const std::vector<std::string>& options) {
  // In training a batch size is ambiguous; elsewhere there is one.
  if (name == "batch_size" && !contains(options, "per_device_train_batch_size") &&
      contains(options, "per_device_eval_batch_size"))
    return "per_device_eval_batch_size";
  const std::string option = first_present(aliases(), name, options);
  return option.empty() ? name : option;
}

std::string suggested_option(const std::string& name, const std::vector<std::string>& options) {
  const std::string typed = lower_case(name), option = first_present(misnomers(), typed, options);
  return option.empty() ? nearest_name(typed, options) : option;
}

std::string suggested_verb(const std::string& name, const std::vector<std::string>& verbs) {
  std::string typed = lower_case(name);
  std::replace(typed.begin(), typed.end(), '_', '-');
  const std::string verb = first_present(verb_misnomers(), typed, verbs);
  return verb.empty() ? nearest_name(typed, verbs) : verb;
}

std::vector<std::string> known_misnomers() {
  std::vector<std::string> names = {"batch_size"};
  for (const Table* table : {&aliases(), &misnomers()}) {
    for (const auto& [name, candidates] : *table) names.push_back(name);
  }
  return names;
}

}  // namespace graft::cli
