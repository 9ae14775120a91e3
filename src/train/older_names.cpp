#include "train/older_names.h"

#include <fmt/format.h>

#include "base/log.h"

namespace graft::train {
namespace {

constexpr const char* kFive = "5.0";
constexpr const char* kBoth = "4.57";  // or before
constexpr const char* kNothing = "nothing replaces it";
constexpr const char* kUseCpu = "now use_cpu";
constexpr const char* kAccelerator = "now accelerator_config";

}  // namespace

const std::vector<OlderName>& older_names() {
  static const std::vector<OlderName> table = {
      {"adafactor", kFive, "now optim adafactor"},
      {"dispatch_batches", kBoth, kAccelerator},
      {"evaluation_strategy", kBoth, "now eval_strategy"},
      {"fp16_backend", kFive, kNothing},
      {"fp16_opt_level", kFive, kNothing},
      {"fsdp_min_num_params", kFive, "now fsdp_config"},
      {"fsdp_transformer_layer_cls_to_wrap", kFive, "now fsdp_config"},
      {"group_by_length", kFive, "now train_sampling_strategy group_by_length"},
      {"half_precision_backend", kFive, kNothing},
      {"include_inputs_for_metrics", kFive, "now include_for_metrics inputs"},
      {"include_tokens_per_second", kFive, "now include_num_input_tokens_seen all"},
      {"jit_mode_eval", kFive, kNothing},
      {"logging_dir", kFive, "now the environment variable TENSORBOARD_LOGGING_DIR"},
      {"mp_parameters", kFive, kNothing},
      {"no_cuda", kFive, kUseCpu},
      {"overwrite_output_dir", kFive, "it always writes into output_dir"},
      {"past_index", kFive, kNothing},
      {"per_gpu_eval_batch_size", kFive, "now per_device_eval_batch_size"},
      {"per_gpu_train_batch_size", kFive, "now per_device_train_batch_size"},
      {"push_to_hub_model_id", kFive, "now hub_model_id"},
      {"push_to_hub_organization", kFive, "now hub_model_id"},
      {"push_to_hub_token", kFive, "now hub_token"},
      {"ray_scope", kFive, kNothing},
      {"save_safetensors", kFive, "it always writes safetensors"},
      {"split_batches", kBoth, kAccelerator},
      {"torchdynamo", kFive, "now torch_compile_backend"},
      {"tp_size", kBoth, "now parallelism_config"},
      {"tpu_metrics_debug", kFive, "now debug"},
      {"tpu_num_cores", kFive, kNothing},
      {"use_ipex", kBoth, kNothing},
      {"use_legacy_prediction_loop", kFive, kNothing},
      {"use_mps_device", kFive, kUseCpu},
      {"warmup_ratio", kFive, "now warmup_steps, below 1 a ratio of all steps"},
  };
  return table;
}

void note_older_name(const std::string& given) {
  for (const OlderName& older : older_names())
    if (given == older.name)
      log_info("--{} is taken here; transformers refuses it from version {} on: {}", given,
               older.refused_from, older.instead);
}

}  // namespace graft::train
