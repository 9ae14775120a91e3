#include "train/run_record.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/shown.h"
#include "hub/sha256.h"
#include "models/state.h"
#include "train/arguments.h"

namespace graft::train {
namespace {

using Names = std::vector<const char*>;

bool is_in(const Names& names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const char* n) { return name == n; });
}

// Arguments that decide which examples a step reads. The batch size is compared as examples of a step.
const Names& data_arguments() {
  static const Names names = {"seed", "data_seed", "train_sampling_strategy", "dataloader_drop_last",
                              "max_tokens_per_batch"};
  return names;
}

// Arguments that observe a run, or that are compared in another way. All others decide its course.
const Names& observing_arguments() {
  static const Names names = {"output_dir",
                              "do_train",
                              "do_eval",
                              "do_predict",
                              "per_device_train_batch_size",
                              "per_device_eval_batch_size",
                              "gradient_accumulation_steps",
                              "auto_find_batch_size",
                              "gradient_checkpointing",
                              "num_train_epochs",
                              "max_steps",
                              "eval_on_start",
                              "resume_from_checkpoint",
                              "ignore_data_skip",
                              "restore_callback_states_from_checkpoint",
                              "load_best_model_at_end",
                              "enable_jit_checkpoint",
                              "background_save",
                              "predict_with_generate",
                              "prediction_loss_only",
                              "report_to",
                              "run_name",
                              "disable_tqdm",
                              "log_level",
                              "cache_dir",
                              "overwrite_cache",
                              "debug",
                              "bf16_full_eval",
                              "label_names"};
  return names;
}

bool observes(const std::string& name) {
  for (const char* prefix : {"logging_", "eval_", "save_", "dataloader_num", "dataloader_pre", "include_",
                             "generation_", "skip_memory", "early_stopping_"})
    if (name.starts_with(prefix)) return true;
  return is_in(observing_arguments(), name);
}

void add(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

std::string change(const std::string& name, const Json& now, const Json& then) {
  const auto is_absent = [](const Json& value) {
    return value.is_null() || (value.is_string() && value.get<std::string>().empty());
  };
  const auto text = [](const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  if (is_absent(now)) return fmt::format("no --{} (it was {})", name, text(then));
  return fmt::format("--{} {} ({})", name, text(now),
                     is_absent(then) ? "it was not given" : "was " + text(then));
}

template <class T>
void put(std::string& bytes, const std::vector<T>& values) {
  const auto size = static_cast<uint64_t>(values.size());
  bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

int64_t examples_of_a_step(const Json& record) {
  const Json& a = record.at("arguments");
  return a.at("per_device_train_batch_size").get<int64_t>() *
         a.at("gradient_accumulation_steps").get<int64_t>() * record.at("ranks").get<int64_t>();
}

}  // namespace

std::string data_fingerprint(const tasks::Features& features) {
  const int64_t n = features.size(), every = std::max<int64_t>(1, n / 1024);
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < n; ++i) lengths.push_back(features.length(i));
  std::string bytes;
  put(bytes, lengths);
  data::RaggedBatch batch;
  for (int64_t i = 0; i < n; i += every) {
    batch.clear();
    features.append(batch, i, 0, 0);  // as the first epoch reads it: with its masks
    put(bytes, batch.input_ids);
    put(bytes, batch.decoder.input_ids);
    put(bytes, batch.token_type_ids);
    put(bytes, batch.labels);
    put(bytes, batch.float_labels);
    put(bytes, batch.start_positions);
    put(bytes, batch.end_positions);
  }
  return hub::sha256_of(bytes);
}

Json run_record(const Trainer::Parts& parts) {
  const models::State& state = parts.model.state();
  return {{"model",
           {{"model_type", state.config.model_type()},
            {"task", state.task},
            {"config_sha256", hub::sha256_of(state.config.json().dump())}}},
          {"data",
           {{"examples", parts.features.train->size()}, {"sha256", data_fingerprint(*parts.features.train)}}},
          {"ranks", parts.collective->size()},
          {"arguments", to_json(parts.arguments)},
          {"loss_options", parts.loss_options}};
}

void check_same_model(const Json& config, const Json& stored, const std::filesystem::path& folder) {
  // Keys that name where a file came from and how it is stored.
  const Names others = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"};
  constexpr size_t kShown = 3;  // keys
  const auto text = [](const Json& value) { return value.is_null() ? "absent" : shown(value.dump()); };
  std::string differ;
  size_t found = 0;
  const auto compare = [&](const Json& from, const Json& to, bool only_missing) {
    for (const auto& [key, value] : from.items()) {
      const auto it = to.find(key);
      if (is_in(others, key) || (it != to.end() && (only_missing || *it == value))) continue;
      const Json absent;
      const Json &then = only_missing     ? value
                         : it == to.end() ? absent
                                          : *it,
                 &now = only_missing ? absent : value;
      if (++found <= kShown)
        add(differ, fmt::format("\"{}\" is {} there and {} here", key, text(then), text(now)));
    }
  };
  // Another architecture has other keys altogether.
  if (const auto here = config.find("model_type"), there = stored.find("model_type");
      here != config.end() && there != stored.end() && !(*here == *there))
    add(differ, fmt::format("\"model_type\" is {} there and {} here", text(*there), text(*here)));
  if (differ.empty()) {
    compare(config, stored, false);
    compare(stored, config, true);
  }
  if (differ.empty()) return;
  if (found > kShown) differ += fmt::format(" and {} more", found - kShown);
  fail_with("resume with the model and the data of that run, or choose another --output_dir",
            "{}: is a checkpoint of another model: in config.json {}", folder.string(), differ);
}

Differences differences(const Json& record, const Json& now) {
  Differences out;
  const Json &then_args = record.at("arguments"), &now_args = now.at("arguments");
  const int64_t then_step = examples_of_a_step(record), now_step = examples_of_a_step(now);
  const char *batch = "per_device_train_batch_size", *steps = "gradient_accumulation_steps";
  const bool grouped = now_args.at("train_sampling_strategy") == Json("group_by_length");
  for (const char* name : {batch, steps}) {
    if (then_args.at(name) == now_args.at(name)) continue;
    if (then_step != now_step || (grouped && name == batch))
      add(out.data, change(name, now_args.at(name), then_args.at(name)));
    else
      out.accumulates = true;
  }
  if (record.at("ranks") != now.at("ranks") && then_step != now_step)
    add(out.data, fmt::format("{} processes (was {})", now.at("ranks").dump(), record.at("ranks").dump()));
  for (const auto& [name, value] : now_args.items()) {
    const auto it = then_args.find(name);
    if (it == then_args.end() || *it == value) continue;
    if (is_in(data_arguments(), name))
      add(out.data, change(name, value, *it));
    else if (!observes(name))
      add(out.course, change(name, value, *it));
  }
  const Json then_loss = record.value("loss_options", Json::object());
  for (const auto& [name, value] : now.at("loss_options").items())
    if (const auto it = then_loss.find(name); it != then_loss.end() && *it != value)
      add(out.course, change(name, value, *it));
  const Json &then_data = record.at("data"), &now_data = now.at("data");
  if (then_data.at("examples") != now_data.at("examples"))
    add(out.data, fmt::format("the training data have {} examples (was {})", now_data.at("examples").dump(),
                              then_data.at("examples").dump()));
  else if (then_data.at("sha256") != now_data.at("sha256"))
    add(out.data, "the training data, their tokens or their labels are others");
  return out;
}

}  // namespace graft::train
