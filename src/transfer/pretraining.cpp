#include "transfer/pretraining.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "models/registry.h"
#include "models/state.h"
#include "train/arguments.h"
#include "train/parts.h"
#include "train/saved_arguments.h"
#include "train/train_state.h"
#include "transfer/carry_over.h"
#include "transfer/contrastive.h"
#include "transfer/new_head.h"
#include "transfer/pretraining_text.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr const char *kSpanCorruption = "span-corruption", *kSimCse = "simcse", *kRtd = "rtd";

// The objectives of a family, its own first.
std::vector<Objective> objectives_of(const models::Family& family) {
  std::vector<Objective> out;
  for (const models::FamilyHead& head : family.heads) {
    if (head.kind->predicts_tokens) out.push_back({head.kind, head.kind->reads_target, false});
  }
  for (const models::FamilyHead& head : family.heads)
    if (head.kind == &models::kReplacedTokenDetection) out.push_back({head.kind, false, false, true});
  for (const models::FamilyHead& head : family.heads)
    if (head.kind->is_bare) out.push_back({head.kind, false, true});
  return out;
}

std::string name_of_objective(const Objective& o) {
  return o.contrastive       ? kSimCse
         : o.replaced_tokens ? kRtd
         : o.span_corruption ? kSpanCorruption
                             : o.head->task;
}

Json stored_scores(const HeldOutScores& p) {
  Json json = Json::object();
  if (p.domain) json[kDomain] = *p.domain;
  if (p.general) json[kGeneral] = *p.general;
  if (p.tlm) json[kTlm] = *p.tlm;
  for (const auto& [language, score] : p.languages)
    json["languages"].push_back({{"language", language}, {"score", score}});
  return json;
}

HeldOutScores scores_in(const Json& json) {
  HeldOutScores p;
  if (json.contains(kDomain)) p.domain = json.at(kDomain).get<double>();
  if (json.contains(kGeneral)) p.general = json.at(kGeneral).get<double>();
  if (json.contains(kTlm)) p.tlm = json.at(kTlm).get<double>();
  if (json.contains("languages"))
    for (const Json& one : json.at("languages"))
      p.languages.emplace_back(one.at("language").get<std::string>(), one.at("score").get<double>());
  return p;
}

Model load(const fs::path& folder, const PretrainingSettings& s) {
  ModelOptions options;
  options.task = s.objective.head->task;
  options.seed = s.arguments.seed;
  options.dropout = s.dropout;
  return Model::from_pretrained(folder, options);
}

Json key_of_pretraining(const fs::path& from, const PretrainingText& text, const PretrainingSettings& s,
                        const TrainingArguments& arguments) {
  Json dropout = Json::object();
  for (const auto& [name, p] : s.dropout) dropout[name] = p;
  Json key = {{"objective", name_of_objective(s.objective)},
              {"model", model_fingerprint(from)},
              {"dropout", dropout},
              {"arguments", deciding_arguments(arguments)}};
  if (s.objective.replaced_tokens) key["generator"] = model_fingerprint(s.generator);
  key.update(key_of(text));
  return key;
}

// Trains in the folder of the stage and completes it.
PretrainingResult run_stage(const std::string& name, const fs::path& from, const PretrainingText& text,
                            const PretrainingSettings& s, TrainingArguments arguments, const fs::path& root,
                            const Hooks& hooks) {
  Stage stage = open_stage(root, name, key_of_pretraining(from, text, s, arguments));
  PretrainingResult out;
  out.folder = stage.folder;
  if (stage.complete) {
    const Json results = read_json(stage.folder / "stage.json");
    out.before = scores_in(results.at("before"));
    out.after = scores_in(results.at("after"));
    out.seconds = results.at("seconds").get<double>();
    out.steps = results.at("steps").get<int64_t>();
    if (results.contains("mixture")) out.mixture = mixture_rows(results.at("mixture"));
    out.cached = true;
    log_info("{}: taken from the cache {}: every input byte is the same", name, stage.folder.string());
    return out;
  }
  arguments.output_dir = stage.folder.string();
  arguments.resume_from_checkpoint = resumption_of(stage);
  arguments.span_corruption = s.objective.span_corruption;
  arguments.do_eval = true;
  const Model model = load(from, s);
  if (s.objective.replaced_tokens) models::add_generator(model.state(), s.generator);
  if (hooks.loaded) hooks.loaded(model, fmt::format("{}, stage {}", from.string(), name));
  TaskData data = data_of(text, s.objective, from);
  if (has_new_head(model)) start_from_frequencies(model, *data.tokenizer, training_files(text));
  Trainer trainer(model, arguments, std::move(data));
  trainer.parts().job_options = {{"task", s.objective.head->task}, {"model", from.string()}};
  if (is_mixed(text)) {
    out.mixture = use_mixture(trainer, text);
    log_mixture(out.mixture, text, name);
  }
  out.before = scores_of(trainer.evaluate(), s.objective, text);
  train::TrainState state;
  const TrainResult result = hooks.train(trainer, state);
  out.seconds = result.seconds;
  out.steps = result.global_step;
  out.interrupted = result.interrupted;
  if (out.interrupted) return out;
  out.after = scores_of(result.metrics, s.objective, text);
  carry_over(from, stage.folder);
  Json results = {{"before", stored_scores(out.before)},
                  {"after", stored_scores(out.after)},
                  {"seconds", out.seconds},
                  {"steps", out.steps}};
  if (is_mixed(text)) results["mixture"] = to_json(out.mixture);
  write_json(stage.folder / "stage.json", results);
  complete_stage(stage);
  return out;
}

}  // namespace

Objective choose_objective(const std::string& asked, const models::ModelConfig& config) {
  const std::vector<Objective> all = objectives_of(models::find_family(config));
  const std::string own = models::task_of_config(config);
  std::vector<std::string> names;
  for (const Objective& o : all) {
    if (asked.empty() && o.replaced_tokens && own == o.head->task) return o;
    names.push_back(name_of_objective(o));
  }
  for (const Objective& o : all)
    if (asked.empty() || asked == name_of_objective(o)) return o;
  throw UsageError(fmt::format(
      "--objective {}: model_type \"{}\" has {}", asked.empty() ? "(default)" : asked, config.model_type(),
      names.empty() ? "no head that learns from text" : fmt::format("{}", fmt::join(names, ", "))));
}

std::string in_words(const Objective& o) {
  return o.contrastive       ? "simcse (sentence-embedding, each text twice)"
         : o.replaced_tokens ? "rtd (replaced-token-detection, with a generator)"
         : o.span_corruption ? "span corruption (seq2seq-lm)"
                             : o.head->task;
}

Json deciding_arguments(const TrainingArguments& arguments) {
  // Where the results lie, what is shown and saved of a run, and how it is resumed.
  static const std::vector<std::string> without_effect = {"output_dir",
                                                          "do_train",
                                                          "do_eval",
                                                          "do_predict",
                                                          "disable_tqdm",
                                                          "log_level",
                                                          "report_to",
                                                          "run_name",
                                                          "logging_dir",
                                                          "logging_strategy",
                                                          "logging_steps",
                                                          "logging_first_step",
                                                          "save_strategy",
                                                          "save_steps",
                                                          "save_total_limit",
                                                          "save_total_bytes",
                                                          "save_only_model",
                                                          "enable_jit_checkpoint",
                                                          "background_save",
                                                          "tokenized_path",
                                                          "overwrite_cache",
                                                          "resume_from_checkpoint",
                                                          "include_num_input_tokens_seen",
                                                          "include_tokens_per_second",
                                                          "skip_memory_metrics",
                                                          "debug"};
  Json all = train::to_json(arguments);
  for (const std::string& name : without_effect) all.erase(name);
  all["bf16"] = train::training_precision(arguments.bf16).bf16;
  return all;
}

PretrainingResult pretrain(const std::string& name, const fs::path& from, const PretrainingText& text,
                           const PretrainingSettings& s, const fs::path& root, const Hooks& hooks) {
  const Model probe = load(from, s);
  if (!has_new_head(probe)) {
    for (const auto& [option, given] : {std::pair{"head_steps", s.head_steps != kHeadSteps},
                                        {"head_learning_rate", s.head_learning_rate != kHeadLearningRate}})
      if (given) log_info("--{} has no effect: no head is new for {}", option, in_words(s.objective));
    return run_stage(name, from, text, s, s.arguments, root, hooks);
  }
  // Adapters are saved over the checkpoint itself, with a new head beside them.
  if (s.head_steps == 0 || !s.arguments.peft_type.empty()) {
    PretrainingResult out = run_stage(name, from, text, s, s.arguments, root, hooks);
    out.new_head = true;
    return out;
  }
  log_info(
      "{}: the checkpoint has no head for {}: a new one, tied to its embeddings, is trained alone for {} "
      "steps "
      "before the body moves (--head_steps)",
      from.string(), in_words(s.objective), s.head_steps);
  TrainingArguments head = s.arguments;
  head.freeze = std::string(probe.state().family->base_prefix) + ".*";
  if (s.objective.replaced_tokens) head.freeze += fmt::format(",{}.*", models::kGeneratorScope);
  head.freeze_layers = head.reinit_layers = head.gradual_unfreezing = 0;
  head.layerwise_lr_decay = 1;
  head.max_steps = s.head_steps;
  head.learning_rate = s.head_learning_rate;
  head.num_train_epochs = TrainingArguments().num_train_epochs;  // not given: --max_steps decides
  head.save_strategy = "no";
  head.save_total_limit.reset();
  PretrainingResult of_head = run_stage(name + "-head", from, text, s, head, root, hooks);
  if (of_head.interrupted) return of_head;
  PretrainingSettings whole = s;
  if (s.objective.replaced_tokens) whole.generator = of_head.folder / models::kGeneratorFolder;
  PretrainingResult out = run_stage(name, of_head.folder, text, whole, s.arguments, root, hooks);
  out.new_head = true;
  out.head_seconds = of_head.seconds;
  return out;
}

}  // namespace graft::transfer
