#include "train/checkpoint.h"

#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/threads.h"
#include "hub/sha256.h"
#include "train/arguments.h"
#include "train/manifest.h"
#include "train/saved_state.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

constexpr const char *kOptimizer = "optimizer.safetensors", *kStateful = "stateful.safetensors",
                     *kTrainerState = "trainer_state.json";

hub::TensorToWrite to_write(StateTensor t, const std::string& prefix = "") {
  return {prefix + t.name, std::move(t.shape), t.dtype, nullptr, false, t.data};
}

StateTensor state_tensor(const hub::TensorView& t, const std::string& name) {
  return {name, t.shape, t.dtype, t.data};
}

// Of the memory that a tensor is read from.
uint64_t bytes_of(const hub::TensorToWrite& t) {
  if (t.bytes) return hub::stored_bytes(t);
  uint64_t n = sizeof(float);
  for (const int64_t d : t.shape) n *= static_cast<uint64_t>(d);
  return n;
}

uint64_t rounded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// In blocks, so that several threads share a large tensor.
void copy_bytes(std::byte* to, const void* from, uint64_t n) {
  constexpr int64_t kBlock = int64_t{4} << 20;
  parallel_blocks(static_cast<int64_t>(n), kBlock, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, static_cast<const std::byte*>(from) + begin, static_cast<size_t>(end - begin));
  });
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("checkpoint-{}", step); }

int64_t step_of_checkpoint(const std::string& name) {
  if (!name.starts_with("checkpoint-")) return 0;
  int64_t step = 0;
  const char *begin = name.data() + 11, *end = name.data() + name.size();
  const auto [parsed, error] = std::from_chars(begin, end, step);
  return error == std::errc() && parsed == end ? step : 0;
}

std::vector<int64_t> checkpoints_in(const fs::path& output_dir) {
  std::vector<int64_t> steps;
  for (const fs::path& path : list_folder(output_dir))
    if (const int64_t step = step_of_checkpoint(path.filename().string()); step > 0 && is_folder(path))
      steps.push_back(step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

namespace {

constexpr const char* kEarlier = "earlier_checkpoints.json";

// "" without a manifest.
std::string manifest_hash(const fs::path& folder) {
  const fs::path file = folder / "manifest.json";
  return path_exists(file) ? hub::sha256_of_file(file) : "";
}

}  // namespace

void mark_earlier_checkpoints(const fs::path& output_dir, const std::vector<int64_t>& steps) {
  const fs::path file = output_dir / kEarlier;
  if (steps.empty()) {
    if (path_exists(file)) remove_file(file);
    return;
  }
  Json json = Json::object();
  for (const int64_t step : steps)
    json[checkpoint_name(step)] = manifest_hash(output_dir / checkpoint_name(step));
  write_json(file, json);
}

bool is_earlier_checkpoint(const fs::path& folder) {
  const fs::path file = folder.parent_path() / kEarlier;
  if (!path_exists(file)) return false;
  const Json json = read_json(file);
  const std::string name = folder.filename().string();
  return json.contains(name) && json.at(name) == manifest_hash(folder);
}

HostMemory::~HostMemory() {
  if (data_) ::munmap(data_, size_);
}

std::byte* HostMemory::reserve(uint64_t bytes) {
  if (bytes > size_) {
    if (data_) ::munmap(data_, size_);
    data_ = nullptr;
    void* fresh = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
      fail_with("--background_save false needs no copy", "no memory for a copy of {} bytes of a checkpoint",
                bytes);
    data_ = fresh;
    size_ = bytes;
    ::madvise(data_, size_, MADV_HUGEPAGE);
    auto* pages = static_cast<volatile std::byte*>(data_);
    for (uint64_t at = 0; at < size_; at += 4096) pages[at] = std::byte{0};
  }
  return static_cast<std::byte*>(data_);
}

namespace {

void save_tokenizer(const Tokenizer& tokenizer, bool prefixes_words, const fs::path& folder) {
  tokenizer.save(folder);
  if (!prefixes_words) return;
  const fs::path file = folder / "tokenizer_config.json";
  Json config = path_exists(file) ? read_json(file) : Json::object();
  config["add_prefix_space"] = true;
  write_json(file, config);
}

}  // namespace

CheckpointFiles::CheckpointFiles(const Trainer::Parts& parts, Json trainer_state)
    : model_(models::model_to_save(parts.model.state())),
      tokenizer_(parts.tokenizer),
      prefixes_words_(parts.prefixes_words),
      arguments_(arguments_to_save(parts)),
      trainer_state_(std::move(trainer_state)) {}

void CheckpointFiles::add_run(TrainState& state) {
  for (StateTensor& t : state.optimizer->save()) optimizer_.push_back(to_write(std::move(t)));
  for (const std::unique_ptr<Stateful>& part : state.stateful)
    for (StateTensor& t : part->tensors()) stateful_.push_back(to_write(std::move(t), part->key() + "/"));
  // Randomness is a function of these, of the step and of the example (docs/design.md, idea 6).
  rng_ = {{"generator", "philox"},
          {"seed", arguments_.at("seed")},
          {"data_seed",
           arguments_.at("data_seed").is_null() ? arguments_.at("seed") : arguments_.at("data_seed")}};
}

std::map<const void*, std::vector<hub::TensorToWrite*>> CheckpointFiles::tensors() {
  std::map<const void*, std::vector<hub::TensorToWrite*>> by_memory;
  const auto add = [&](std::vector<hub::TensorToWrite>& all) {
    for (hub::TensorToWrite& t : all) by_memory[t.bytes ? t.bytes : t.data].push_back(&t);
  };
  add(model_.weights.tensors);
  add(model_.generator.tensors);
  add(model_.adapter.tensors.tensors);
  add(model_.adapter.head.tensors);
  for (models::WeightsToWrite& dense : model_.dense) add(dense.tensors);
  add(optimizer_);
  add(stateful_);
  return by_memory;
}

uint64_t CheckpointFiles::bytes() {
  uint64_t sum = 0;
  for (const auto& [memory, sharing] : tensors()) sum += rounded(bytes_of(*sharing.front()));
  return sum;
}

uint64_t CheckpointFiles::stored_bytes(bool with_run) const {
  uint64_t sum = 0;
  const auto add = [&](const std::vector<hub::TensorToWrite>& all) {
    for (const hub::TensorToWrite& t : all) sum += hub::stored_bytes(t);
  };
  add(model_.weights.tensors);
  add(model_.generator.tensors);
  for (const models::WeightsToWrite& dense : model_.dense) add(dense.tensors);
  if (with_run) add(optimizer_);
  if (with_run) add(stateful_);
  return sum;
}

uint64_t CheckpointFiles::copy_tensors(HostMemory& memory) {
  const uint64_t size = bytes();
  std::byte* to = memory.reserve(size);
  for (const auto& [from, sharing] : tensors()) {
    const uint64_t n = bytes_of(*sharing.front());
    copy_bytes(to, from, n);
    for (hub::TensorToWrite* t : sharing) {
      if (t->bytes)
        t->bytes = to;
      else
        t->data = reinterpret_cast<const float*>(to);
    }
    to += rounded(n);
  }
  return size;
}

void CheckpointFiles::write(const fs::path& folder, const Json& run, bool with_run) const {
  models::write_model(model_, folder);
  if (tokenizer_) save_tokenizer(*tokenizer_, prefixes_words_, folder);
  if (tokenizer_ && !model_.generator_config.is_null()) tokenizer_->save(folder / models::kGeneratorFolder);
  write_json(folder / "training_args.json", arguments_);
  if (with_run) {
    hub::write_safetensors(folder / kOptimizer, optimizer_);
    if (!stateful_.empty()) hub::write_safetensors(folder / kStateful, stateful_);
    write_json(folder / "rng.json", rng_);
  }
  write_json(folder / kTrainerState, trainer_state_);
  write_manifest(folder, trainer_state_.at("global_step").get<int64_t>(), run);
  sync_folder(folder);
}

Json arguments_to_save(const Trainer::Parts& parts) {
  Json json = to_json(parts.arguments);
  json.update(parts.job_options);
  json["resume_from_checkpoint"] = "";
  return json;
}

void save_model(const Trainer::Parts& parts, const fs::path& folder) {
  parts.model.save_pretrained(folder);
  if (parts.tokenizer) save_tokenizer(*parts.tokenizer, parts.prefixes_words, folder);
  if (parts.tokenizer && parts.model.state().generator)
    parts.tokenizer->save(folder / models::kGeneratorFolder);
  write_json(folder / "training_args.json", arguments_to_save(parts));
}

namespace {

// Values and tensors of what a run carries beside weights and optimizer.
void restore_stateful(const fs::path& folder, const Json& json, TrainState& state) {
  hub::StateDict dict;
  if (path_exists(folder / kStateful)) dict = hub::read_safetensors(folder / kStateful);
  for (const std::unique_ptr<Stateful>& part : state.stateful) {
    const std::string prefix = part->key() + "/";
    std::vector<StateTensor> tensors;
    for (const hub::TensorView& t : dict.tensors())
      if (t.name.starts_with(prefix)) tensors.push_back(state_tensor(t, t.name.substr(prefix.size())));
    const Json* values = stateful_values(json, part->key());
    if (values)
      part->load(*values, tensors);
    else
      log_warning("{}: holds no {}: it begins at this step", folder.string(), part->key());
  }
}

}  // namespace

void restore_run(Trainer::Parts& parts, const fs::path& folder, TrainState& state) {
  const fs::path file = folder / kTrainerState;
  const Json json = read_json(file);
  if (!path_exists(folder / kOptimizer))
    fail_with("name another checkpoint, or use it as --model of a new run",
              "{}: holds no optimizer state (--save_only_model): no run can continue from it",
              folder.string());
  read_state(json, file.string(), state);
  const hub::StateDict dict = hub::read_safetensors(folder / kOptimizer);
  std::vector<StateTensor> moments;
  for (const hub::TensorView& t : dict.tensors()) moments.push_back(state_tensor(t, t.name));
  try {
    state.optimizer->load(moments, state.step - state.skipped_steps);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", (folder / kOptimizer).string(), e.what()),
                e.hint().empty() ? "resume with the optimizer and the frozen layers of that run" : e.hint());
  }
  models::restore_weights(parts.model.state(), folder);
  const auto& restore = parts.arguments.restore_callback_states_from_checkpoint;
  if (restore.value_or(true))
    restore_stateful(folder, json, state);
  else
    state.evaluations_without_gain = 0;
}

}  // namespace graft::train
