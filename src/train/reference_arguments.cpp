#include "train/reference_arguments.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "train/argument_values.h"

namespace graft::train {
namespace {

using enum ReferenceArgument::Status;
using enum ReferenceArgument::Kind;

constexpr const char* kOneProcess = "graft trains in one process";
constexpr const char* kStreamed = "metrics are streamed, batch by batch; no logits are kept";
// tests/train/reporting_test.cpp measures it.
constexpr const char* kFastBatches =
    "a batch is prepared in a small part of its step; workers would gain nothing";
constexpr const char* kCpu = "graft computes on the CPU";
constexpr const char* kNoCompile = "it steers PyTorch's compiler; graft is compiled already";
constexpr const char* kNoUpload = "it steers the upload to the hub, which graft does not do";
constexpr const char* kNoAccelerate =
    "it steers PyTorch's accelerate and its sharding, which graft does not use";
constexpr const char* kNoTpu = "it steers PyTorch on TPUs, which graft does not use";
constexpr const char* kNoApex =
    "it steers PyTorch's mixed precision; graft's is --bf16 true, in fp32 otherwise";

}  // namespace

// Sources: shared table of the reference's arguments (transformers 5.24) and the names of 4.x.
const std::vector<ReferenceArgument>& reference_arguments() {
  static const std::vector<ReferenceArgument> table = {
      {"average_tokens_across_devices", no_effect, boolean, "*", kOneProcess},
      {"batch_eval_metrics", no_effect, boolean, "*", kStreamed},
      {"dataloader_in_order", no_effect, boolean, "*", "batches always come in the order of the sampler"},
      {"dataloader_multiprocessing_context", no_effect, text, "*", "data is read without worker processes"},
      {"dataloader_num_workers", no_effect, integer, "*", kFastBatches},
      {"dataloader_persistent_workers", no_effect, boolean, "*", "data is read without worker processes"},
      {"dataloader_pin_memory", no_effect, boolean, "*", kCpu},
      {"dataloader_prefetch_factor", no_effect, integer, "*", kFastBatches},
      {"eval_accumulation_steps", no_effect, integer, "*", kStreamed},
      {"eval_do_concat_batches", no_effect, boolean, "*", kStreamed},
      {"eval_use_gather_object", no_effect, boolean, "*", kOneProcess},
      {"full_determinism", no_effect, boolean, "*", "results never depend on threads or order of work"},
      {"gradient_checkpointing_kwargs", no_effect, text, "*",
       "it steers PyTorch's way of computing activations again"},
      {"include_for_metrics", no_effect, text, "*",
       "the metrics of a task always read the inputs and the loss that they need"},
      {"include_inputs_for_metrics", no_effect, boolean, "*",
       "the metrics of a task always read the inputs that they need"},
      {"length_column_name", no_effect, text, "*",
       "--train_sampling_strategy group_by_length counts the tokens itself"},
      {"local_rank", no_effect, integer, "-1 0",
       "graft trains in one process; N processes of a launcher would train N separate models"},
      {"log_level_replica", no_effect, text, "debug info warning error critical passive", kOneProcess},
      {"log_on_each_node", no_effect, boolean, "*", kOneProcess},
      {"logging_nan_inf_filter", no_effect, boolean, "*", "training stops at a loss that is not finite"},
      {"no_cuda", no_effect, boolean, "*", kCpu},
      {"overwrite_output_dir", no_effect, boolean, "true",
       "a Trainer writes into its output_dir whatever the folder holds"},
      {"past_index", no_effect, integer, "-1", "no model here has a memory of earlier steps"},
      {"project", no_effect, text, "*", "it names a project of trackio; see --report_to and --run_name"},
      {"ray_scope", no_effect, text, "last", "there is no hyperparameter search"},
      {"remove_unused_columns", no_effect, boolean, "*", "only the columns of texts and labels are read"},
      {"save_on_each_node", no_effect, boolean, "*", kOneProcess},
      {"save_safetensors", no_effect, boolean, "true", "weights are always written as safetensors"},
      {"tf32", no_effect, boolean, "*", kCpu},
      {"torch_empty_cache_steps", no_effect, integer, "*", "a step's memory is allocated once"},
      {"use_cache", no_effect, boolean, "*", "it is for generation"},
      {"use_cpu", no_effect, boolean, "*", kCpu},

      {"ddp_backend", later, text, "", kOneProcess},
      {"ddp_broadcast_buffers", later, boolean, "", kOneProcess},
      {"ddp_bucket_cap_mb", later, integer, "", kOneProcess},
      {"ddp_find_unused_parameters", later, boolean, "false", kOneProcess},
      {"ddp_static_graph", later, boolean, "false", kOneProcess},
      {"ddp_timeout", later, integer, "1800", kOneProcess},
      {"fp16", later, boolean, "false", "--bf16 true computes in half precision"},
      {"fp16_full_eval", later, boolean, "false", "--bf16 true computes in half precision"},
      {"optim_target_modules", later, text, "", "all parameters are trained"},

      {"accelerator_config", never, text, "", kNoAccelerate},
      {"deepspeed", never, text, "", kNoAccelerate},
      {"dispatch_batches", never, boolean, "false", kNoAccelerate},
      {"fp16_backend", never, text, "auto", kNoApex},
      {"fp16_opt_level", never, text, "O1", kNoApex},
      {"fsdp", never, text, "", kNoAccelerate},
      {"fsdp_config", never, text, "", kNoAccelerate},
      {"fsdp_min_num_params", never, integer, "0", kNoAccelerate},
      {"fsdp_transformer_layer_cls_to_wrap", never, text, "", kNoAccelerate},
      {"half_precision_backend", never, text, "auto", kNoApex},
      {"hub_always_push", never, boolean, "false", kNoUpload},
      {"hub_model_id", never, text, "", kNoUpload},
      {"hub_private_repo", never, boolean, "false", kNoUpload},
      {"hub_revision", never, text, "", kNoUpload},
      {"hub_strategy", never, text, "every_save", kNoUpload},
      {"hub_token", never, text, "", kNoUpload},
      {"jit_mode_eval", never, boolean, "false", kNoCompile},
      {"liger_kernel_config", never, text, "", "it steers kernels for PyTorch, which graft does not use"},
      {"mp_parameters", never, text, "", "it steers PyTorch on SageMaker, which graft does not use"},
      {"parallelism_config", never, text, "", kNoAccelerate},
      {"push_to_hub", never, boolean, "false", kNoUpload},
      {"push_to_hub_model_id", never, text, "", kNoUpload},
      {"push_to_hub_organization", never, text, "", kNoUpload},
      {"push_to_hub_token", never, text, "", kNoUpload},
      {"split_batches", never, boolean, "false", kNoAccelerate},
      {"torch_compile", never, boolean, "false", kNoCompile},
      {"torch_compile_backend", never, text, "", kNoCompile},
      {"torch_compile_mode", never, text, "", kNoCompile},
      {"torchdynamo", never, text, "", kNoCompile},
      {"tp_size", never, integer, "0 1", kNoAccelerate},
      {"tpu_metrics_debug", never, boolean, "false", kNoTpu},
      {"tpu_num_cores", never, integer, "", kNoTpu},
      {"trackio_bucket_id", never, text, "", kNoUpload},
      {"trackio_space_id", never, text, "trackio", kNoUpload},
      {"trackio_static_space_id", never, text, "", kNoUpload},
      {"use_ipex", never, boolean, "false", kNoCompile},
      {"use_legacy_prediction_loop", never, boolean, "false", "there is one loop of evaluation"},
      {"use_liger_kernel", never, boolean, "false",
       "it steers kernels for PyTorch, which graft does not use"},
      {"use_mps_device", never, boolean, "false", kCpu},
  };
  return table;
}

const ReferenceArgument* find_reference_argument(const std::string& name) {
  for (const ReferenceArgument& a : reference_arguments()) {
    if (name == a.name) return &a;
  }
  return nullptr;
}

namespace {

// A value in one spelling: "True" and "1" are "true" for a boolean, "0.0" is "0" for a number.
std::string canonical_value(const ReferenceArgument& a, const std::string& given, const std::string& value) {
  switch (a.kind) {
    case boolean:
      return parse_switch(given, value) ? "true" : "false";
    case integer:
      return std::to_string(parse_integer(given, value));
    case number:
      return fmt::format("{}", parse_real(given, value));
    case text:
      return value;
  }
  return value;
}

bool accepts(const ReferenceArgument& a, const std::string& value) {
  if (std::string(a.accepted) == "*") return true;
  std::istringstream words(a.accepted);
  for (std::string word; words >> word;) {
    std::string lower = value;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (word == value || word == lower) return true;
  }
  return false;
}

// Defaults of the arguments that are accepted with other values too (transformers 5.24). Text arguments that
// are null by default are not here.
constexpr std::pair<const char*, const char*> kDefaults[] = {
    {"average_tokens_across_devices", "true"},
    {"batch_eval_metrics", "false"},
    {"dataloader_in_order", "true"},
    {"dataloader_num_workers", "0"},
    {"dataloader_persistent_workers", "false"},
    {"dataloader_pin_memory", "true"},
    {"eval_do_concat_batches", "true"},
    {"eval_use_gather_object", "false"},
    {"full_determinism", "false"},
    {"include_inputs_for_metrics", "false"},
    {"length_column_name", "length"},
    {"local_rank", "-1"},
    {"log_level_replica", "warning"},
    {"log_on_each_node", "true"},
    {"logging_nan_inf_filter", "true"},
    {"no_cuda", "false"},
    {"past_index", "-1"},
    {"project", "huggingface"},
    {"ray_scope", "last"},
    {"remove_unused_columns", "true"},
    {"save_on_each_node", "false"},
    {"save_safetensors", "true"},
    {"use_cache", "false"},
    {"use_cpu", "false"},
};

}  // namespace

bool is_reference_default(const std::string& name, const std::string& value) {
  const ReferenceArgument* a = find_reference_argument(name);
  if (!a) return false;
  std::string text = value;
  if (a->kind == boolean)
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  // Of a refused argument the values that are accepted are its defaults.
  if (a->status != no_effect) return a->accepted[0] != '\0' && accepts(*a, text);
  return std::any_of(std::begin(kDefaults), std::end(kDefaults),
                     [&](const auto& d) { return name == d.first && text == d.second; });
}

void take_reference_argument(const ReferenceArgument& a, const std::string& given, const std::string& value) {
  const std::string shown = fmt::format("--{}{}{}", given, value.empty() ? "" : " ", value);
  // A value that is refused whatever it is needs no check of its kind.
  const bool taken = a.accepted[0] != '\0' && accepts(a, canonical_value(a, given, value));
  if (taken) return log_info("{} has no effect here: {}", shown, a.reason);
  const std::string why = a.status == later ? "not yet implemented; " : "";
  const std::string others =
      a.accepted[0] == '\0' ? "" : fmt::format("accepted, without effect: --{} {}", given, a.accepted);
  throw UsageError(fmt::format("{} is refused: {}{}", shown, why, a.reason), others);
}

}  // namespace graft::train
