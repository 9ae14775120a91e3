// Every option of the reference (reference/training_args.tsv and its notes): it works, or the log names its
// lack of effect, or it is refused with the reason.
#include "train/reference_arguments.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "base/log.h"
#include "graft/error.h"
#include "support/shared.h"
#include "train/arguments.h"
#include "train/older_names.h"

namespace graft::train {
namespace {
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

struct Row {
  std::string name, type, advice;
};

// The table without its defaults, so that a clone without ../shared tests it too: name, first word of the
// type.
constexpr const char* kDo = R"(
output_dir str, per_device_train_batch_size int, num_train_epochs float, max_steps int,
learning_rate float, lr_scheduler_type enum, lr_scheduler_kwargs dict, warmup_steps float, optim enum,
optim_args str, weight_decay float, adam_beta1 float, adam_beta2 float, adam_epsilon float,
gradient_accumulation_steps int, max_grad_norm float, label_smoothing_factor float, bf16 bool,
bf16_full_eval bool, gradient_checkpointing bool, neftune_noise_alpha float, auto_find_batch_size bool,
logging_strategy enum, logging_steps float, logging_first_step bool, logging_nan_inf_filter bool,
include_num_input_tokens_seen str, log_level str, disable_tqdm bool, report_to str, run_name str,
eval_strategy enum, eval_steps float, eval_delay float, per_device_eval_batch_size int,
prediction_loss_only bool, eval_on_start bool, include_for_metrics list, save_only_model bool,
save_strategy enum, save_steps float, save_total_limit int, enable_jit_checkpoint bool,
load_best_model_at_end bool, metric_for_best_model str, greater_is_better bool, ignore_data_skip bool,
restore_callback_states_from_checkpoint bool, full_determinism bool, seed int, data_seed int, use_cpu bool,
dataloader_drop_last bool, dataloader_num_workers int, dataloader_prefetch_factor int, label_names list,
train_sampling_strategy enum, length_column_name str, debug str, skip_memory_metrics bool, do_train bool,
do_eval bool, do_predict bool, resume_from_checkpoint str, warmup_ratio float, logging_dir str,
)";
constexpr const char* kAccept = R"(
average_tokens_across_devices bool, tf32 bool, gradient_checkpointing_kwargs dict, use_cache bool,
torch_empty_cache_steps int, log_on_each_node bool, log_level_replica str, project str,
eval_do_concat_batches bool, eval_use_gather_object bool, eval_accumulation_steps int,
batch_eval_metrics bool, save_on_each_node bool, dataloader_pin_memory bool,
dataloader_persistent_workers bool, remove_unused_columns bool, local_rank int,
)";
constexpr const char* kReject = R"(
torch_compile bool, torch_compile_backend str, torch_compile_mode str, use_liger_kernel bool,
liger_kernel_config dict, trackio_space_id str, push_to_hub bool, hub_token str, hub_private_repo bool,
hub_model_id str, hub_strategy enum, hub_always_push bool, hub_revision str, accelerator_config dict,
parallelism_config obj, fsdp list, fsdp_config dict, deepspeed dict,
)";
constexpr const char* kLater = R"(
optim_target_modules str, fp16 bool, fp16_full_eval bool, ddp_find_unused_parameters bool,
ddp_bucket_cap_mb int, ddp_broadcast_buffers bool, ddp_backend str, ddp_timeout int,
)";

// Options of the advice "do" that are always so here: the log gives the reason why the value changes nothing.
const std::set<std::string>& always_so() {
  static const std::set<std::string> names = {
      "dataloader_num_workers",      // see Reporting.ABatchIsPreparedInASmallPartOfItsStep
      "dataloader_prefetch_factor",  // the same
      "full_determinism",            // results never depend on threads
      "include_for_metrics",         // metrics read what they need of the batch
      "length_column_name",          // lengths are counted
      "logging_nan_inf_filter",      // a loss that is not finite ends the run, with a diagnosis
      "use_cpu",                     // computes on the CPU
  };
  return names;
}

std::vector<Row> committed_rows() {
  std::vector<Row> rows;
  for (const auto& [text, advice] :
       {std::pair{kDo, "do"}, {kAccept, "accept"}, {kReject, "reject"}, {kLater, "later"}}) {
    std::istringstream words(text);
    for (std::string name, type; words >> name >> type;)
      rows.push_back({name, type.substr(0, type.find(',')), advice});
  }
  return rows;
}

struct Answer {
  std::string refusal, log;
  bool changed = false;  // of the arguments
};

Answer answer_to(const std::string& name, const std::string& value) {
  Answer out;
  TrainingArguments a;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { out.log += text + "\n"; });
  try {
    set_argument(a, name, value);
  } catch (const UsageError& e) {
    out.refusal = e.what();
  }
  set_log_sink(former);
  out.changed = !(to_json(a) == to_json(TrainingArguments()));
  return out;
}

bool in_argument_table(const std::string& name) {
  const auto& table = argument_table();
  return std::any_of(table.begin(), table.end(), [&](const Argument& a) { return name == a.name; });
}

// A value of the reference's type that is not the default.
std::string some_value(const Row& row) {
  if (row.name == "local_rank") return "0";
  if (row.name == "log_level_replica") return "error";
  if (row.type == "bool") return row.name == "skip_memory_metrics" ? "false" : "true";
  if (row.type == "int") return "2";
  if (row.type == "dict") return R"({"key": 1})";
  return row.type == "float" ? "0.5" : "epoch";
}

void expect_advice(const Row& row) {
  SCOPED_TRACE(row.name);
  const std::string value = some_value(row);
  const Answer answer = answer_to(row.name, value);
  const std::string no_effect = "--" + row.name + " " + value + " has no effect here: ";
  if (row.advice == "do") {
    EXPECT_NE(in_argument_table(row.name), always_so().contains(row.name));
    if (always_so().contains(row.name)) {
      EXPECT_THAT(answer.log, HasSubstr(no_effect));
    }
  } else if (row.advice == "accept") {
    EXPECT_EQ(answer.refusal, "");
    if (!in_argument_table(row.name)) {
      EXPECT_THAT(answer.log, HasSubstr(no_effect));
    }
  } else {
    EXPECT_THAT(answer.refusal, HasSubstr("--" + row.name + " " + value + " is refused: "));
    EXPECT_GT(answer.refusal.size(), row.name.size() + value.size() + 30) << answer.refusal;
    const bool later = answer.refusal.find("is refused: not yet implemented; ") != std::string::npos;
    EXPECT_EQ(later, row.advice == "later");
  }
}

TEST(ReferenceArguments, EveryRowFollowsItsAdvice) {
  const std::vector<Row> rows = committed_rows();
  EXPECT_EQ(rows.size(), 109u);
  for (const Row& row : rows) expect_advice(row);
}

TEST(ReferenceArguments, TheCommittedTableIsTheSharedOne) {
  GRAFT_SHARED_PATH(table, "reference/training_args.tsv");
  std::ifstream in(table);
  std::vector<std::pair<std::string, std::string>> shared, committed;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string group, name, type, fallback, advice;
    std::getline(fields, group, '\t');
    std::getline(fields, name, '\t');
    std::getline(fields, type, '\t');
    std::getline(fields, fallback, '\t');
    fields >> advice;
    shared.emplace_back(name, advice);
  }
  for (const Row& row : committed_rows()) committed.emplace_back(row.name, row.advice);
  std::sort(shared.begin(), shared.end());
  std::sort(committed.begin(), committed.end());
  EXPECT_EQ(committed, shared);
}

TEST(ReferenceArguments, EveryRowOfTheTableIsHonestAboutItsAcceptedValues) {
  for (const ReferenceArgument& a : reference_arguments()) {
    EXPECT_GT(std::string(a.reason).size(), 10u) << a.name;
    std::istringstream words(a.accepted);
    for (std::string value; words >> value;) {
      if (value == "*") value = a.kind == ReferenceArgument::Kind::integer ? "3" : "true";
      const Answer answer = answer_to(a.name, value);
      EXPECT_EQ(answer.refusal, "") << a.name << " " << value;
      EXPECT_FALSE(answer.changed) << a.name;
      EXPECT_THAT(answer.log, HasSubstr(std::string("--") + a.name + " " + value + " has no effect here: "));
    }
    EXPECT_FALSE(in_argument_table(a.name)) << a.name;
  }
}

// Names of 4.x (reference/training_args_notes.md): they have a meaning here or a reason, and the log names
// the release that refuses them.
TEST(ReferenceArguments, OlderNamesAreTakenAndTheReleasesThatRefuseThemAreNamed) {
  const std::vector<std::string> names = {
      "evaluation_strategy",
      "group_by_length",
      "adafactor",
      "half_precision_backend",
      "fp16_backend",
      "fp16_opt_level",
      "no_cuda",
      "use_mps_device",
      "jit_mode_eval",
      "use_ipex",
      "past_index",
      "tpu_num_cores",
      "tpu_metrics_debug",
      "tp_size",
      "fsdp_min_num_params",
      "fsdp_transformer_layer_cls_to_wrap",
      "use_legacy_prediction_loop",
      "include_inputs_for_metrics",
      "overwrite_output_dir",
      "save_safetensors",
      "per_gpu_train_batch_size",
      "per_gpu_eval_batch_size",
      "torchdynamo",
      "ray_scope",
      "mp_parameters",
      "push_to_hub_model_id",
      "push_to_hub_organization",
      "push_to_hub_token",
      "include_tokens_per_second",
      "split_batches",
      "dispatch_batches",
      "logging_dir",
      "warmup_ratio",
  };
  EXPECT_EQ(names.size(), older_names().size());
  int taken = 0;
  for (const std::string& name : names) {
    const Answer answer = answer_to(name, "1");
    EXPECT_THAT(answer.refusal, AnyOf("", HasSubstr("is refused: "), HasSubstr("--" + name + " 1"))) << name;
    EXPECT_THAT(answer.refusal, Not(HasSubstr("not known"))) << name;
    const bool noted =
        answer.log.find("--" + name + " is taken here; transformers refuses it from version") !=
        std::string::npos;
    EXPECT_EQ(noted, answer.refusal.empty()) << name;
    taken += answer.refusal.empty();
  }
  EXPECT_GE(taken, 12);
  EXPECT_THAT(answer_to("warmup_ratio", "0.1").log,
              AllOf(HasSubstr("from version 5.0 on"), HasSubstr("now warmup_steps")));
  EXPECT_THAT(answer_to("evaluation_strategy", "no").log,
              AllOf(HasSubstr("from version 4.57 on"), HasSubstr("now eval_strategy")));
  EXPECT_EQ(answer_to("eval_strategy", "no").log, "");
}

TEST(ReferenceArguments, DefaultsAreKnown) {
  for (const auto& [name, value] : {std::pair{"dataloader_pin_memory", "True"},
                                    {"dataloader_num_workers", "0"},
                                    {"fp16", "False"},
                                    {"ddp_timeout", "1800"},
                                    {"hub_strategy", "every_save"}})
    EXPECT_TRUE(is_reference_default(name, value)) << name;
  for (const auto& [name, value] : {std::pair{"dataloader_pin_memory", "false"},
                                    {"dataloader_num_workers", "4"},
                                    {"fp16", "true"},
                                    {"deepspeed", ""},
                                    {"learning_rate", "5e-05"},
                                    {"nonsense", "0"}})
    EXPECT_FALSE(is_reference_default(name, value)) << name;
}

}  // namespace
}  // namespace graft::train
