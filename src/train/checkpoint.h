// The content of a checkpoint folder: collected from a run, written, found again and verified.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graft/tokenizer.h"
#include "models/saved_model.h"
#include "train/parts.h"
#include "train/train_state.h"

namespace graft::train {

// "checkpoint-N", and N of such a name; 0 for every other name.
std::string checkpoint_name(int64_t step);
int64_t step_of_checkpoint(const std::string& name);
// The steps of the folders checkpoint-N, ascending: by the number, whatever the clock was.
std::vector<int64_t> checkpoints_in(const std::filesystem::path& output_dir);
// A new run in a folder with checkpoints of an earlier one keeps them, and is not resumed from them: their
// names and the sha256 of their manifests are in earlier_checkpoints.json.
void mark_earlier_checkpoints(const std::filesystem::path& output_dir, const std::vector<int64_t>& steps);
bool is_earlier_checkpoint(const std::filesystem::path& folder);

// Memory in large pages, which are there when reserve() returns: a copy has no page faults.
class HostMemory {
 public:
  HostMemory() = default;
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  // At least `bytes`, whose content is lost where it grows. Throws Error where there is no memory.
  std::byte* reserve(uint64_t bytes);

 private:
  void* data_ = nullptr;
  uint64_t size_ = 0;
};

// Everything that a checkpoint holds. The tensors are views of the run, until copy_tensors().
class CheckpointFiles {
 public:
  // The model, tokenizer and arguments. `json`: trainer_state.json.
  CheckpointFiles(const Trainer::Parts& parts, Json trainer_state);
  // Adds optimizer.safetensors, stateful.safetensors and rng.json: what a run continues from.
  void add_run(TrainState& state);

  uint64_t bytes();  // of all tensors
  // Bytes that the tensors take in the files of write(); without the other files, which are small.
  uint64_t stored_bytes(bool with_run) const;
  // Copies the tensors into `memory`: the run may go on during write(). Returns their bytes.
  uint64_t copy_tensors(HostMemory& memory);
  // Writes all files into `folder`, synced, and a manifest, which records `run`. `with_run`: also what
  // add_run() added.
  void write(const std::filesystem::path& folder, const Json& run, bool with_run) const;

 private:
  // The tensors of all files by the memory they lie in: those that share it are copied once.
  std::map<const void*, std::vector<hub::TensorToWrite*>> tensors();

  models::ModelToSave model_;
  std::shared_ptr<Tokenizer> tokenizer_;
  bool prefixes_words_ = false;
  Json arguments_, trainer_state_, rng_;
  std::vector<hub::TensorToWrite> optimizer_, stateful_;
};

// The model with tokenizer and training_args.json, in the folder of a user.
void save_model(const Trainer::Parts& parts, const std::filesystem::path& folder);
// What training_args.json holds: repeats the run from its beginning.
Json arguments_to_save(const Trainer::Parts& parts);

// Fills weights, optimizer and state from a verified checkpoint.
void restore_run(Trainer::Parts& parts, const std::filesystem::path& folder, TrainState& state);

}  // namespace graft::train
