// graft info: what a checkpoint is, and what it costs.
#include <fmt/ranges.h>

#include <cstdio>

#include "base/folder.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "data/problem_type.h"
#include "graft/error.h"
#include "hub/sentence_transformers.h"
#include "models/adapter_folder.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/task_table.h"
#include "train/memory_needs.h"
#include "train/sequence_length.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

// What training on batches of `sequences` x `length` tokens and predicting them take beside the loaded model.
struct Needs {
  train::MemoryNeeds train, predict;
};

Needs needs_of(const Model& model, bool bf16, int32_t sequences, int32_t length) {
  data::RaggedBatch batch;
  const std::vector<int32_t> ids(static_cast<size_t>(length), 0);
  for (int32_t b = 0; b < sequences; ++b) batch.append(ids.data(), nullptr, length, b);
  const tasks::TaskEntry& entry = tasks::task_of(model);
  entry.add_sample_labels(batch, model);
  const std::unique_ptr<tasks::Task> task = entry.make_task(model, LabelKind::integers);
  models::State& state = model.state();
  state.bf16 = bf16;
  Needs needs;
  needs.train = train::plan_pass(state, task.get(), batch, true);
  needs.train.include(train::plan_training(state));
  needs.predict = train::plan_pass(state, nullptr, batch, false);
  return needs;
}

std::vector<std::string> pooling_names(const hub::SentenceTransformer& modules) {
  std::vector<std::string> names;
  for (const hub::Pooling mode : modules.pooling) names.emplace_back(hub::pooling_name(mode));
  return names;
}

Json json_of(const hub::SentenceTransformer& modules) {
  Json out = Json::object();
  out["pooling_mode"] = pooling_names(modules);
  out["embedding_dimension"] = models::embedding_dimension(modules, modules.embedding_dimension);
  out["normalize"] = modules.normalize;
  out["max_seq_length"] = modules.max_seq_length ? Json(*modules.max_seq_length) : Json();
  if (!modules.other_modules.empty()) out["other_modules"] = modules.other_modules;
  return out;
}

// "mean of the tokens, length 1, 384 dimensions, at most 256 tokens"
std::string describe(const hub::SentenceTransformer& modules) {
  std::string out = modules.pooling.empty()
                        ? "no pooling"
                        : fmt::format("{} pooling", fmt::join(pooling_names(modules), " + "));
  for (const hub::DenseModule& dense : modules.dense)
    out += fmt::format(", then {} x {} feed-forward", dense.in_features, dense.out_features);
  if (modules.embedding_dimension > 0)
    out += fmt::format(", {} dimensions", models::embedding_dimension(modules, modules.embedding_dimension));
  if (modules.normalize) out += ", scaled to length 1";
  if (modules.max_seq_length) out += fmt::format(", at most {} tokens", *modules.max_seq_length);
  if (!modules.other_modules.empty())
    out += fmt::format("; then {} (not implemented)", fmt::join(modules.other_modules, ", "));
  return out;
}

// What the folder holds, and what the numbers below are for where that is something else.
std::string describe(const Model& model, const std::string& head, const fs::path& folder,
                     const models::ModelConfig& config) {
  if (head == model.task()) return fmt::format("{} for {} in {}", model.model_type(), head, folder.string());
  return fmt::format("{} in {}: {}; the numbers below are for training {}", model.model_type(),
                     folder.string(), models::head_in_words(config), model.task());
}

std::string megabytes(double bytes) { return fmt::format("{:.1f} MB", bytes / 1e6); }

}  // namespace

int info(int argc, char** argv) {
  std::string name, task;
  bool json = false;
  Options options("info", "parameters, sizes, tokenizer and memory of a checkpoint",
                  {"graft info --model bert-base-uncased"});
  options.text("model", name, "checkpoint: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("task", task,
               fmt::format("head to look at; default: that of the checkpoint, else {}",
                           tasks::default_task().head->task));
  options.flag("json", json, "one json object on stdout");
  if (!options.parse(argc, argv, 2)) return 0;

  const fs::path folder = find_model(name);
  const models::ModelConfig config = train::config_of(folder);
  const std::string head = train::head_task(folder, config);
  ModelOptions model_options;
  model_options.task = !task.empty()  ? models::canonical_task(task)
                       : head.empty() ? tasks::default_task().head->task
                                      : head;
  const Model model = Model::from_pretrained(folder, model_options);
  const bool has_limit = model.max_positions() > 0;
  const double parameters = static_cast<double>(model.num_parameters());
  const auto limit = static_cast<int32_t>(train::smaller_limit(128, model.max_positions()));
  Json out = {{"model_type", model.model_type()},
              {"task", model.task()},
              {"head", head.empty() ? Json() : Json(head)},
              {"folder", folder.string()},
              {"parameters", model.num_parameters()},
              {"weights_fp32_bytes", model.num_parameters() * 4},
              {"max_positions", has_limit ? Json(model.max_positions()) : Json()}};
  if (model.task() == head && tasks::task_of(model).head->has_labels) out["labels"] = model.labels();
  out["missing"] = model.load_report().missing;
  out["unexpected"] = model.load_report().unexpected;
  const hub::DescribedModel described{
      folder / "config.json", model.state().config.size_or(model.state().family->sizes.hidden_size, 0),
      model.max_positions()};
  try {
    const auto tokenizer = Tokenizer::from_pretrained(models::tokenizer_folder(folder));
    out["tokenizer"] = {{"kind", tokenizer->kind()},
                        {"vocab_size", tokenizer->vocab_size()},
                        {"model_max_length", tokenizer->model_max_length()}};
  } catch (const Error& e) {
    out["tokenizer"] = {{"error", e.what()}};
  }
  const auto sentence = hub::read_sentence_transformer(is_folder(name) ? fs::path(name) : folder);
  if (sentence) {
    out["sentence_transformer"] = json_of(*sentence);
    for (const std::string& warning : hub::contradictions(*sentence, described)) say("warning: " + warning);
  }
  // The model is loaded: what is resident now is in every total.
  const uint64_t resident = resident_memory();
  const Needs fp32 = needs_of(model, false, 8, limit), bf16 = needs_of(model, true, 8, limit);
  const auto total = [&](const train::MemoryNeeds& needs) {
    return static_cast<int64_t>(resident + needs.total());
  };
  out["training_state_bytes"] =
      model.num_parameters() * 4 + static_cast<int64_t>(fp32.train.gradients + fp32.train.moments);
  out[fmt::format("step_bytes_8x{}", limit)] = static_cast<int64_t>(fp32.train.arena.total());
  for (const auto& [precision, needs] : {std::pair{"fp32", &fp32}, {"bf16", &bf16}}) {
    out[fmt::format("train_bytes_8x{}_{}", limit, precision)] = total(needs->train);
    out[fmt::format("predict_bytes_8x{}_{}", limit, precision)] = total(needs->predict);
  }
  if (json) {
    fmt::print("{}\n", out.dump());
    return 0;
  }
  fmt::print("{}\n", describe(model, head, folder, config));
  fmt::print("  parameters         {} ({:.1f} M, {} in fp32)\n", model.num_parameters(), parameters / 1e6,
             megabytes(parameters * 4));
  fmt::print("  positions          {}\n", has_limit ? std::to_string(model.max_positions()) : "no limit");
  if (out.contains("labels")) fmt::print("  labels             {}\n", out["labels"].dump());
  if (out["tokenizer"].contains("kind")) {
    fmt::print("  tokenizer          {}, {} tokens\n", out["tokenizer"]["kind"].get<std::string>(),
               out["tokenizer"]["vocab_size"].get<int>());
  } else {
    fmt::print("  tokenizer          {}\n", out["tokenizer"]["error"].get<std::string>());
  }
  if (sentence) fmt::print("  sentence embedding {}\n", describe(*sentence));
  for (const auto& [precision, needs] : {std::pair{"fp32", &fp32}, {"bf16", &bf16}}) {
    fmt::print("  memory to train    {} in {}, batches of 8 x {} tokens ({} loaded, {})\n",
               format_bytes(resident + needs->train.total()), precision, limit, format_bytes(resident),
               needs->train.text());
  }
  fmt::print("  memory to predict  {} in fp32, {} in bf16\n", format_bytes(resident + fp32.predict.total()),
             format_bytes(resident + bf16.predict.total()));
  if (!model.load_report().missing.empty())
    fmt::print("  new head           {} tensors not in the checkpoint\n", model.load_report().missing.size());
  if (const auto& unused = model.load_report().unexpected; !unused.empty()) {
    constexpr size_t kShown = 8;
    const std::vector<std::string> first(
        unused.begin(), unused.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, unused.size())));
    fmt::print("  not used           {} tensors of the checkpoint: {}{}\n", unused.size(),
               fmt::join(first, ", "), unused.size() > kShown ? ", ..." : "");
  }
  return 0;
}

}  // namespace graft::cli
