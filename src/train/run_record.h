// What a run was, as manifest.json records it: its model, its data, its arguments. Decides whether a
// checkpoint can be continued here.
#pragma once
#include <filesystem>
#include <string>

#include "base/json.h"
#include "train/parts.h"
#include "train/plan.h"

namespace graft::train {

// {"model": ..., "data": ..., "ranks": ..., "arguments": ...}
Json run_record(const Trainer::Parts& parts);

// The sha256 of the number of examples, their lengths, and the ids and labels of at most 1024 of them: of
// data that are only in part in memory, no more is read.
std::string data_fingerprint(const tasks::Features& features);

// Throws Error if the checkpoint in `folder` is of another model: names the keys of config.json that differ.
void check_same_model(const Json& config, const Json& stored, const std::filesystem::path& folder);

// How the run at hand differs from the one that wrote `record`.
struct Differences {
  // Of what decides which examples a step reads, in words; "" = the cursor is valid.
  std::string data;
  // Of what decides the course of training otherwise: "--learning_rate 2e-05 (was 3e-05)".
  std::string course;
  // gradient_accumulation_steps differs and the examples of a step do not.
  bool accumulates = false;
};
Differences differences(const Json& record, const Json& now);

}  // namespace graft::train
