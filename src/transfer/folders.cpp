#include "transfer/folders.h"

#include <algorithm>

#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/shown.h"
#include "hub/sentence_transformers.h"
#include "hub/state_dict.h"
#include "models/adapter_folder.h"
#include "models/saved_model.h"
#include "models/weights.h"
#include "train/output.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

// The type in which the folder stores its weights: that of its largest tensor.
std::string stored_type(const fs::path& folder) {
  const hub::StateDict tensors = hub::read_checkpoint(folder);
  const auto largest = std::max_element(
      tensors.tensors().begin(), tensors.tensors().end(),
      [](const hub::TensorView& a, const hub::TensorView& b) { return a.num_bytes < b.num_bytes; });
  return largest->dtype == DType::f16 ? "float16" : largest->dtype == DType::bf16 ? "bfloat16" : "float32";
}

bool is_replaced(const std::string& name) {
  return hub::is_written_weights(name) || hub::is_sentence_transformers_file(name) ||
         name == "tokenizer.json" || name == "training_args.json" ||
         std::find(std::begin(kTokenizerFiles), std::end(kTokenizerFiles), name) != std::end(kTokenizerFiles);
}

}  // namespace

void check_finite(const Model& model, const fs::path& folder) {
  if (const auto bad = models::first_non_finite(model.state()))
    fail_with("copy or download the checkpoint again, or train it again",
              "{}: {}[{}] is {}: what is made of it would not be finite", folder.string(), bad->parameter,
              bad->index, bad->value);
}

void save_derived(const Model& model, const fs::path& from, const Tokenizer& tokenizer,
                  const fs::path& output_dir, const std::function<void(const fs::path&)>& change) {
  train::prepare_output(output_dir);
  StagedFiles staged(output_dir);
  tokenizer.save(staged.path());
  if (change) change(staged.path());
  models::ModelToSave files = models::model_to_save(model.state(), stored_type(from));
  // An encoder without modules.json stays one.
  files.has_modules = files.has_modules && !model.state().config.modules.folder.empty();
  models::write_model(files, staged.path());
  if (path_exists(from / "training_args.json"))
    write_file(staged.path() / "training_args.json", read_file(from / "training_args.json"));
  staged.publish("config.json", is_replaced);
}

void check_whole_model(const fs::path& folder) {
  if (!models::is_adapter_folder(folder)) return;
  throw UsageError(
      fmt::format("{}: holds adapters without their base, and a whole model is needed here", folder.string()),
      "`graft merge` adds LoRA and (IA)3 adapters to the weights of their base; for other adapters take the "
      "base");
}

void check_other_folder(const fs::path& from, const fs::path& output_dir) {
  std::error_code ignored;
  if (fs::equivalent(from, output_dir, ignored))
    throw UsageError(fmt::format("--output_dir {} is the folder of the model itself", output_dir.string()),
                     "choose another --output_dir");
}

void check_same_pieces(const fs::path& a, const fs::path& b) {
  const auto first = Tokenizer::from_pretrained(a), second = Tokenizer::from_pretrained(b);
  const int32_t n = std::max(first->vocab_size(), second->vocab_size());
  for (int32_t id = 0; id < n; ++id) {
    const std::string x = first->id_to_token(id), y = second->id_to_token(id);
    if (x == y) continue;
    fail_with("use models that were fine-tuned from one checkpoint",
              "{} and {}: their vocabularies differ: piece {} is \"{}\" and \"{}\"", a.string(), b.string(),
              id, shown(x), shown(y));
  }
}

uint64_t weight_bytes(const fs::path& folder) {
  uint64_t bytes = 0;
  const hub::StateDict tensors = hub::read_checkpoint(folder);
  for (const hub::TensorView& t : tensors.tensors()) bytes += t.num_bytes;
  return bytes;
}

}  // namespace graft::transfer
