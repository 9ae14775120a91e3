#include "graft/model.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "hub/sentence_transformers.h"
#include "models/adapter_folder.h"
#include "models/config_keys.h"
#include "models/language_adapter.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/saved_model.h"
#include "models/selection.h"
#include "models/state.h"
#include "models/weights.h"

namespace graft {
namespace fs = std::filesystem;
using models::FamilyHead;
using models::ModelConfig;
using models::State;

namespace {

void apply_options(ModelConfig& config, const ModelOptions& options) {
  if (!options.labels.empty()) {
    if (options.num_labels > 0 && options.num_labels != static_cast<int>(options.labels.size())) {
      fail("num_labels is {} but {} label names were given", options.num_labels, options.labels.size());
    }
    config.set_labels(options.labels);
  } else if (const size_t known = config.label_names().size();
             options.num_labels > 0 ? known != static_cast<size_t>(options.num_labels) : known == 0) {
    std::vector<std::string> names(static_cast<size_t>(options.num_labels > 0 ? options.num_labels : 2));
    for (size_t i = 0; i < names.size(); ++i) names[i] = "LABEL_" + std::to_string(i);
    config.set_labels(names);
  }
  if (!options.problem_type.empty()) config.json()["problem_type"] = options.problem_type;
  models::override_dropout(config, options.dropout);
}

// Once, as the file is read. find_family reports an unknown model_type later.
void settle(ModelConfig& config, const hub::StateDict* weights) {
  const models::Family* family = models::find_family_or_null(config);
  if (family && family->settle) family->settle(config, weights);
}

// The modules of a sentence encoder, of its folder and as the options change them.
void settle_modules(ModelConfig& config, const ModelOptions& options, const fs::path& folder) {
  if (!folder.empty()) {
    auto found = hub::modules_of_transformer(folder);
    if (found && found->pooling.empty() && found->other_modules.empty())
      fail("{}: lists no pooling, without which a text has no embedding",
           (found->folder / "modules.json").string());
    if (found) config.modules = std::move(*found);
    if (!found && options.pooling.empty())
      log_info("{}: no modules.json: the embedding is the mean of the tokens", folder.string());
  }
  hub::SentenceTransformer& modules = config.modules;
  if (!options.pooling.empty()) {
    modules.pooling = {hub::parse_pooling(options.pooling)};
  } else if (modules.pooling.empty()) {
    modules.pooling = {hub::Pooling::mean};
  }
  if (options.normalize) modules.normalize = *options.normalize;
}

// The parameters of the base in memory are the model's own, but for those that the adapter replaces or that
// the base's checkpoint lacks.
void share_base(State& state, const models::AdapterFolder& adapter) {
  const std::vector<std::string>& made = state.base->load_report().missing;
  std::vector<engine::Parameter*> shared;
  for (engine::Parameter& p : state.parameters.parameters()) {
    const bool replaced = adapter.tensors.find(p.name) ||
                          adapter.tensors.find(models::other_backbone_name(*state.family, p.name));
    if (!replaced && std::find(made.begin(), made.end(), p.name) == made.end()) shared.push_back(&p);
  }
  state.parameters.share_values(state.base->state().parameters, shared);
}

// Parameters declared and allocated, values not yet set. `adapter`: of a model that shares its base.
void build(State& state, const ModelOptions& options, bool from_scratch,
           const models::AdapterFolder* adapter = nullptr) {
  state.task = models::canonical_task(options.task);
  state.labels_given = !options.labels.empty();
  state.family = &models::find_family(state.config);
  const FamilyHead& head = models::find_head(*state.family, state.task, state.config);
  state.head = head.kind;
  models::check_keys(state.config, from_scratch);
  models::resolve_second_spellings(state.config);
  if (state.head->has_labels) {
    if (options.labels.empty() && options.num_labels == 0) state.config.warn_of_label_contradictions();
    state.labels_in_config = state.config.labels_in_words();
    apply_options(state.config, options);
  }
  // The reference makes as many outputs as there are labels, 2 where none are named.
  if (state.head->predicts_spans)
    for (const char* key : {"id2label", "label2id", "num_labels"}) state.config.json().erase(key);
  state.config.check(state.family->sizes);
  state.network = head.make(state.parameters, state.config);
  if (state.base) share_base(state, *adapter);
  state.parameters.allocate();
  state.config.json()["architectures"] = Json::array({models::class_name(*state.family, *state.head)});
}

bool is_bare(const ModelOptions& options) {
  const std::string task = models::canonical_task(options.task);
  const auto& kinds = models::head_kinds();
  return std::any_of(kinds.begin(), kinds.end(),
                     [&](const models::HeadKind* kind) { return task == kind->task && kind->is_bare; });
}

// A base model with the adapters of a folder. `in_memory`: that base, whose weights are shared; null: it is
// loaded.
Model load_with_adapter(const models::AdapterFolder& adapter, const ModelOptions& options,
                        const Model* in_memory) {
  const fs::path& folder = adapter.folder;
  auto state = std::make_shared<State>();
  state->origin = folder;
  if (in_memory) state->base = std::make_unique<Model>(*in_memory);
  state->config = models::config_of_adapter(adapter);
  const hub::StateDict base = hub::read_checkpoint(adapter.base);
  const hub::StateDict weights = models::base_tensors(adapter, base);
  settle(state->config, &weights);
  const bool own_modules = path_exists(folder / "modules.json");
  if (is_bare(options)) settle_modules(state->config, options, own_modules ? folder : adapter.base);
  build(*state, options, false, &adapter);
  for (const fs::path& from : {folder, adapter.base})
    if (state->head->generates() && state->generation_config.is_null() &&
        path_exists(from / "generation_config.json"))
      state->generation_config = read_json(from / "generation_config.json");
  try {
    models::load_weights(*state, weights, options);
  } catch (const Error& e) {
    throw Error(fmt::format("the base model of the adapter in {}: {}", folder.string(), e.what()), e.hint());
  }
  if (state->head->is_bare) models::load_dense_modules(*state);
  models::load_language_below(*state, adapter, options.load_lang_adapter);
  models::load_adapter(*state, adapter, options.ignore_mismatched_sizes);
  return Model(std::move(state));
}

// Whether `options` ask for the head that the model has: the same task with as many outputs.
bool keeps_head(const State& state, const ModelOptions& options) {
  if (models::canonical_task(options.task) != state.task) return false;
  const size_t asked =
      options.labels.empty() ? static_cast<size_t>(options.num_labels) : options.labels.size();
  return asked == 0 || asked == state.config.label_names().size();
}

}  // namespace

Model Model::from_pretrained(const fs::path& folder, const ModelOptions& options) try {
  if (!is_folder(folder)) fail("{}: no such folder", folder.string());
  if (models::is_adapter_folder(folder))
    return load_with_adapter(models::open_adapter(folder), options, nullptr);
  if (!path_exists(folder / "config.json")) {
    if (const fs::path staged = staging_folder(folder); path_exists(staged / "config.json")) {
      fail_with(fmt::format("save again, or move the files of {} up into {}: they are whole", staged.string(),
                            folder.string()),
                "{}: config.json is missing: a save into this folder was interrupted", folder.string());
    }
    fail_with(
        "a checkpoint folder holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer files",
        "{}: config.json is missing", folder.string());
  }
  if (path_exists(folder / "adapter_config.json"))
    log_warning("{}: the adapter of adapter_config.json is not applied; the model is that of config.json",
                folder.string());
  auto state = std::make_shared<State>();
  state->origin = folder;
  state->config = ModelConfig::from_file(folder / "config.json");
  const hub::StateDict weights = hub::read_checkpoint(folder);
  settle(state->config, &weights);
  if (is_bare(options)) settle_modules(state->config, options, folder);
  build(*state, options, false);
  if (state->head->generates() && path_exists(folder / "generation_config.json"))
    state->generation_config = read_json(folder / "generation_config.json");
  models::load_weights(*state, weights, options);
  if (state->head->is_bare) models::load_dense_modules(*state);
  if (!options.load_lang_adapter.empty())
    models::load_language_adapter(*state, options.load_lang_adapter, folder);
  return Model(std::move(state));
} catch (...) {
  rethrow_as_error();
}

Model Model::from_config(const fs::path& config_file, const ModelOptions& options) try {
  if (!options.load_lang_adapter.empty())
    fail("{}: a language adapter belongs to a base model, and not to random weights",
         options.load_lang_adapter.string());
  const fs::path file = is_folder(config_file) ? config_file / "config.json" : config_file;
  auto state = std::make_shared<State>();
  state->origin = file;
  state->config = ModelConfig::from_file(file);
  settle(state->config, nullptr);
  if (is_bare(options)) settle_modules(state->config, options, {});
  build(*state, options, true);
  models::initialize_weights(*state, options.seed);
  return Model(std::move(state));
} catch (...) {
  rethrow_as_error();
}

void Model::save_pretrained(const fs::path& folder, const std::string& dtype) const try {
  models::write_model(models::model_to_save(*state_, dtype), folder);
} catch (...) {
  rethrow_as_error();
}

Model Model::with_task(const ModelOptions& options, int64_t vocab_size) const try {
  if (vocab_size < 0) fail("vocab_size is {}; 0 keeps the vocabulary", vocab_size);
  models::refuse_without_product(*state_, "made part of a whole model");
  auto state = std::make_shared<State>();
  state->origin = state_->origin;
  state->config = state_->config;
  if (vocab_size > 0) state->config.json()["vocab_size"] = vocab_size;
  // It belongs to the head: a new one infers its own from the labels.
  if (!keeps_head(*state_, options)) state->config.json().erase("problem_type");
  state->bf16 = state_->bf16;
  if (is_bare(options)) settle_modules(state->config, options, {});
  build(*state, options, false);
  if (state->head->generates()) state->generation_config = state_->generation_config;
  models::copy_weights(*state, *state_, options);
  return Model(std::move(state));
} catch (...) {
  rethrow_as_error();
}

Model models::load_over(const Model& base, const AdapterFolder& adapter, const ModelOptions& options) {
  return load_with_adapter(adapter, options, &base);
}

std::shared_ptr<State> models::rebuild(const State& from, ModelConfig config) {
  refuse_without_product(from, "made part of a whole model");
  auto state = std::make_shared<State>();
  state->origin = from.origin;
  state->config = std::move(config);
  state->bf16 = from.bf16;
  state->generation_config = from.generation_config;
  ModelOptions options;
  options.task = from.task;
  build(*state, options, false);
  return state;
}

const std::string& Model::task() const { return state_->task; }
std::string Model::model_type() const { return state_->config.model_type(); }

std::vector<std::string> Model::labels() const {
  return state_->head->has_labels ? state_->config.label_names() : std::vector<std::string>();
}

std::string Model::problem_type() const { return state_->config.text_or("problem_type", ""); }
int64_t Model::num_parameters() const { return state_->parameters.num_parameters(); }
int64_t Model::max_positions() const {
  const int64_t positions = state_->network.encoder->max_positions();
  return positions > 0 ? positions - state_->network.num_virtual_tokens() : 0;
}
const LoadReport& Model::load_report() const { return state_->report; }

}  // namespace graft
