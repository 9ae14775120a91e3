// What a checkpoint folder holds, and how damage to it is found.
#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/folder.h"
#include "hub/sha256.h"
#include "models/model_case.h"
#include "train/manifest.h"
#include "train/output_lock.h"
#include "train/resume_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& path : list_folder(folder)) names.push_back(path.filename().string());
  return names;
}

class Checkpoint : public testing::Test {
 protected:
  // Three steps, with a checkpoint after each.
  fs::path saved(const std::function<void(TrainingArguments&)>& change = {}) {
    TrainingArguments a = run_.arguments("out");
    a.max_steps = 3;
    a.save_steps = 1;
    if (change) change(a);
    run_.trainer(a).train();
    return run_ / "out";
  }
  ResumeRun run_;
};

TEST_F(Checkpoint, HoldsTheWholeRun) {
  const fs::path folder = saved() / "checkpoint-2";
  EXPECT_THAT(names_in(folder),
              ElementsAre("config.json", "manifest.json", "model.safetensors", "optimizer.safetensors",
                          "rng.json", "tokenizer.json", "tokenizer_config.json", "trainer_state.json",
                          "training_args.json", "vocab.txt"));
  const Json manifest = verified_manifest(folder);
  EXPECT_EQ(manifest["files"].size(), 9u);
  const Json& model = manifest["files"]["model.safetensors"];
  EXPECT_EQ(model["size"], fs::file_size(folder / "model.safetensors"));
  EXPECT_EQ(model["sha256"], hub::sha256_of(read_file(folder / "model.safetensors")));
  EXPECT_EQ(manifest["run"]["data"]["examples"], 19);
  EXPECT_EQ(manifest["run"]["arguments"]["learning_rate"], 3e-3);
  const Json state = read_json(folder / "trainer_state.json");
  EXPECT_EQ(state["global_step"], 2);
  EXPECT_EQ(state["max_steps"], 3);
  EXPECT_EQ(read_json(folder / "rng.json")["seed"], 42);
}

// transformers' TrainerState(**json): a key that it does not have is an error there.
TEST_F(Checkpoint, TheStateHasTheReferencesKeysAlone) {
  const std::vector<std::string> known = {"epoch",
                                          "global_step",
                                          "max_steps",
                                          "logging_steps",
                                          "eval_steps",
                                          "save_steps",
                                          "train_batch_size",
                                          "num_train_epochs",
                                          "num_input_tokens_seen",
                                          "total_flos",
                                          "log_history",
                                          "best_metric",
                                          "best_global_step",
                                          "best_model_checkpoint",
                                          "is_local_process_zero",
                                          "is_world_process_zero",
                                          "is_hyper_param_search",
                                          "trial_name",
                                          "trial_params",
                                          "stateful_callbacks"};
  const Json state = read_json(saved() / "checkpoint-2/trainer_state.json");
  for (const auto& [key, value] : state.items())
    EXPECT_TRUE(std::find(known.begin(), known.end(), key) != known.end()) << key;
}

TEST_F(Checkpoint, WithTheModelAloneHasNoOptimizer) {
  const fs::path out = saved([](TrainingArguments& a) { a.save_only_model = true; });
  EXPECT_FALSE(fs::exists(out / "checkpoint-2/optimizer.safetensors"));
  verified_manifest(out / "checkpoint-2");
  TrainingArguments a = run_.arguments("out");
  a.resume_from_checkpoint = "true";
  EXPECT_THAT(error_of([&] { run_.trainer(a).train(); }),
              AllOf(HasSubstr("checkpoint-3"), HasSubstr("--save_only_model")));
}

TEST_F(Checkpoint, DamageIsNamedWithFileAndHash) {
  const fs::path folder = saved() / "checkpoint-2";
  const auto damaged = [&](const char* file, const std::function<void(const fs::path&)>& damage) {
    const fs::path copy = run_ / "copy";
    fs::remove_all(copy);
    fs::copy(folder, copy, fs::copy_options::recursive);
    damage(copy / file);
    return error_of([&] { verified_manifest(copy); });
  };
  const auto flip = [](const fs::path& file) {
    std::string bytes = read_file(file);
    bytes[bytes.size() / 2] ^= 1;
    write_file(file, bytes);
  };
  const auto cut = [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) - 1); };
  const auto remove = [](const fs::path& file) { fs::remove(file); };
  EXPECT_THAT(damaged("model.safetensors", flip),
              AllOf(HasSubstr("model.safetensors: has the sha256 "),
                    HasSubstr(hub::sha256_of_file(folder / "model.safetensors"))));
  EXPECT_THAT(damaged("optimizer.safetensors", cut), HasSubstr("optimizer.safetensors: has "));
  EXPECT_THAT(damaged("rng.json", remove), HasSubstr("rng.json: is missing"));
  EXPECT_THAT(damaged("manifest.json", remove), HasSubstr("manifest.json: is missing"));
  EXPECT_THAT(damaged("pytorch_model.bin", [](const fs::path& f) { write_file(f, "x"); }),
              HasSubstr("pytorch_model.bin: is not in the manifest"));
  EXPECT_THAT(damaged("manifest.json",
                      [](const fs::path& f) {
                        Json json = read_json(f);
                        json["files"]["../checkpoint-3/rng.json"] = {{"size", 1}, {"sha256", "00"}};
                        write_json(f, json);
                      }),
              HasSubstr("outside of the folder"));
  EXPECT_THAT(damaged("manifest.json",
                      [](const fs::path& f) {
                        Json json = read_json(f);
                        json["format"] = 99;
                        write_json(f, json);
                      }),
              HasSubstr("has format 99"));
}

TEST_F(Checkpoint, OldOnesAreDeletedByTheirBytes) {
  saved();
  uint64_t size = 0;
  for (const fs::path& path : list_folder(run_ / "out/checkpoint-2")) size += fs::file_size(path);
  fs::remove_all(run_ / "out");
  saved([&](TrainingArguments& a) { a.save_total_bytes = static_cast<int64_t>(size * 5 / 2); });
  EXPECT_EQ(checkpoints_in(run_ / "out"), (std::vector<int64_t>{2, 3}));
  fs::remove_all(run_ / "out");
  saved([](TrainingArguments& a) { a.save_total_bytes = 1; });
  EXPECT_EQ(checkpoints_in(run_ / "out"), (std::vector<int64_t>{3}));  // the newest stays
}

TEST_F(Checkpoint, InTheBackgroundIsTheSame) {
  saved();
  fs::rename(run_ / "out", run_ / "front");
  std::vector<int64_t> reported;
  TrainingArguments a = run_.arguments("out");
  a.max_steps = 3;
  a.save_steps = 1;
  a.background_save = true;
  Observer observer;
  observer.on_save = [&](const fs::path& folder, int64_t step) {
    if (folder != run_ / "out") reported.push_back(step);
  };
  const std::string log = log_of_run([&] { run_.trainer(a).train(observer); });
  EXPECT_THAT(log, HasSubstr("a copy of the checkpoint"));  // in the plan of the memory
  EXPECT_THAT(reported, ElementsAre(1, 2, 3));
  for (const char* name : {"checkpoint-1", "checkpoint-2", "checkpoint-3"})
    for (const char* file : {"model.safetensors", "optimizer.safetensors"})
      EXPECT_EQ(read_file(run_ / "out" / name / file), read_file(run_ / "front" / name / file)) << name;
}

// Another file where the output folder was: the write fails, the run says so.
TEST_F(Checkpoint, AnErrorInTheBackgroundIsThrownByTheRun) {
  TrainingArguments a = run_.arguments("out");
  a.max_steps = 30;
  a.save_steps = 2;
  a.background_save = true;
  Observer observer;
  observer.on_step = [&](const TrainProgress& p) {
    if (p.step != 1) return;
    fs::remove_all(run_ / "out");
    write_file(run_ / "out", "");
  };
  EXPECT_THAT(error_of([&] { run_.trainer(a).train(observer); }), HasSubstr("cannot"));
}

// A folder that vanishes during the run: later checkpoints are complete, in a new folder.
TEST_F(Checkpoint, AVanishedFolderIsMadeAgain) {
  TrainingArguments a = run_.arguments("out");
  a.max_steps = 6;
  a.save_steps = 1;
  a.save_total_limit = 2;
  Observer observer;
  observer.on_step = [&](const TrainProgress& p) {
    if (p.step == 4) fs::remove_all(run_ / "out");
  };
  run_.trainer(a).train(observer);
  EXPECT_EQ(checkpoints_in(run_ / "out"), (std::vector<int64_t>{5, 6}));
  verified_manifest(run_ / "out/checkpoint-6");
}

TEST(OutputLock, OneRunWritesIntoAFolder) {
  const ResumeRun run;
  TrainingArguments a = run.arguments("out");
  std::string refused;
  Observer observer;
  observer.on_step = [&](const TrainProgress& p) {
    if (p.step == 2) refused = error_of([&] { run.trainer(a).train(); });
  };
  run.trainer(a).train(observer);
  EXPECT_THAT(refused, AllOf(HasSubstr("the process " + std::to_string(::getpid())),
                             HasSubstr("choose another --output_dir")));
  EXPECT_FALSE(fs::exists(run / "out/LOCK"));
  write_file(run / "out/LOCK", "1\n");  // of a process that was killed
  a.max_steps = 1;
  run.trainer(a).train();
  EXPECT_FALSE(fs::exists(run / "out/LOCK"));
}

}  // namespace
}  // namespace graft::train
