#include "hub/sentence_transformers.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"

namespace graft::hub {
namespace fs = std::filesystem;

namespace {

// "pooling_mode" and the boolean keys of releases before 5.4, in the order in which they are concatenated.
constexpr std::array<std::pair<const char*, const char*>, 6> kPoolings = {
    {{"cls", "pooling_mode_cls_token"},
     {"max", "pooling_mode_max_tokens"},
     {"mean", "pooling_mode_mean_tokens"},
     {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"},
     {"weightedmean", "pooling_mode_weightedmean_tokens"},
     {"lasttoken", "pooling_mode_lasttoken"}}};

// Names of module folders, without the number in front.
constexpr const char* kModuleFolders[] = {"Pooling",   "Normalize", "Dense",
                                          "LayerNorm", "Dropout",   "WeightedLayerPooling"};
// Files beside the modules' folders.
constexpr const char* kFiles[] = {"modules.json", "config_sentence_transformers.json", "router_config.json"};
// The transformer's settings, under the file names of all releases.
constexpr const char* kTransformerFiles[] = {
    "sentence_bert_config.json",      "sentence_roberta_config.json", "sentence_distilbert_config.json",
    "sentence_camembert_config.json", "sentence_albert_config.json",  "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json"};

Json read_object(const fs::path& file) {
  Json json = read_json(file);
  if (!json.is_object()) fail("{}: must hold an object, not {}", file.string(), json.type_name());
  return json;
}

// A positive whole number; nullopt for null or a missing key.
std::optional<int64_t> positive(const Json& json, const char* key, const fs::path& file) {
  if (!json.contains(key) || json.at(key).is_null()) return std::nullopt;
  const Json& value = json.at(key);
  if (!value.is_number_integer() || value.get<int64_t>() < 1)
    fail("{}: \"{}\" must be a positive whole number, not {}", file.string(), key, value.dump());
  return value.get<int64_t>();
}

std::string text_of(const Json& module, const char* key, const fs::path& file) {
  if (!module.is_object() || !module.contains(key) || !module.at(key).is_string())
    fail_with("a module has \"type\" and \"path\"", "{}: a module without a \"{}\": {}", file.string(), key,
              module.dump());
  return module.at(key).get<std::string>();
}

// The subfolder of a module: releases write "1_Pooling", "./1_Pooling/" and "".
std::string subfolder(const std::string& path, const fs::path& file) {
  const fs::path clean = fs::path(path).lexically_normal();
  if (clean.is_absolute() || (!clean.empty() && *clean.begin() == ".."))
    fail("{}: the path \"{}\" of a module leads out of the folder", file.string(), path);
  std::string out = clean.generic_string();
  if (out.ends_with('/')) out.pop_back();
  return out == "." ? "" : out;
}

Pooling pooling_of(const Json& name, const fs::path& file) {
  for (size_t i = 0; i < kPoolings.size(); ++i)
    if (name.is_string() && name.get<std::string>() == kPoolings[i].first) return static_cast<Pooling>(i);
  std::vector<std::string> known;
  known.reserve(kPoolings.size());
  for (const auto& [mode, key] : kPoolings) known.emplace_back(mode);
  fail_with(fmt::format("it is one of {}", fmt::join(known, ", ")), "{}: unknown \"pooling_mode\" {}",
            file.string(), name.dump());
}

// Throws Error for a boolean key that is not known, and where the two spellings disagree.
void check_pooling_keys(const Json& json, const std::vector<Pooling>& modes, const fs::path& file) {
  for (const auto& [key, value] : json.items()) {
    if (!key.starts_with("pooling_mode_")) continue;
    const auto* known = std::find_if(kPoolings.begin(), kPoolings.end(),
                                     [&key = key](const auto& names) { return key == names.second; });
    if (!value.is_boolean())
      fail("{}: \"{}\" must be true or false, not {}", file.string(), key, value.dump());
    const bool chosen =
        known != kPoolings.end() &&
        std::find(modes.begin(), modes.end(), static_cast<Pooling>(known - kPoolings.begin())) != modes.end();
    if (!value.get<bool>() || chosen) continue;
    if (known == kPoolings.end()) fail("{}: the pooling \"{}\" is not implemented", file.string(), key);
    fail_with("remove one of the two keys", "{}: \"{}\" is true, but \"pooling_mode\" is {}", file.string(),
              key, json.value("pooling_mode", Json()).dump());
  }
}

std::vector<Pooling> pooling_modes(const Json& json, const fs::path& file) {
  std::vector<Pooling> modes;
  if (json.contains("pooling_mode")) {
    const Json& mode = json.at("pooling_mode");
    if (mode.is_array()) {
      for (const Json& one : mode) modes.push_back(pooling_of(one, file));
    } else {
      modes.push_back(pooling_of(mode, file));
    }
  } else {
    for (size_t i = 0; i < kPoolings.size(); ++i) {
      const Json value = json.value(kPoolings[i].second, Json());
      if (value.is_boolean() && value.get<bool>()) modes.push_back(static_cast<Pooling>(i));
    }
  }
  const bool names_none = std::none_of(kPoolings.begin(), kPoolings.end(),
                                       [&](const auto& names) { return json.contains(names.second); });
  if (modes.empty() && names_none) modes.push_back(Pooling::mean);
  check_pooling_keys(json, modes, file);
  if (modes.empty())
    fail_with(R"(write "pooling_mode": "mean", or set one of the keys to true)",
              "{}: names no pooling: no \"pooling_mode_...\" is true", file.string());
  return modes;
}

bool flag_or(const Json& json, const char* key, bool other, const fs::path& file) {
  const Json value = json.value(key, Json());
  if (!value.is_null() && !value.is_boolean())
    fail("{}: \"{}\" must be true or false, not {}", file.string(), key, value.dump());
  return value.is_null() ? other : value.get<bool>();
}

void read_pooling(const fs::path& folder, SentenceTransformer& out) {
  const fs::path file = folder / "config.json";
  if (!path_exists(file))
    fail_with("download the folder again, subfolders included", "{}: is missing, but modules.json lists it",
              file.string());
  const Json json = read_object(file);
  out.pooling = pooling_modes(json, file);
  const auto dimension = positive(json, "embedding_dimension", file);
  out.embedding_dimension = dimension.value_or(positive(json, "word_embedding_dimension", file).value_or(0));
  out.include_prompt = flag_or(json, "include_prompt", true, file);
  if (out.other_modules.empty()) out.pooling_file = file;
}

void read_transformer_settings(const fs::path& folder, SentenceTransformer& out) {
  for (const char* name : kTransformerFiles) {
    const fs::path file = folder / name;
    if (!path_exists(file)) continue;
    const Json settings = read_object(file);
    out.transformer_file = file;
    out.max_seq_length = positive(settings, "max_seq_length", file);
    out.do_lower_case = flag_or(settings, "do_lower_case", false, file);
    return;
  }
}

// Null where the module computes something that graft does not.
std::optional<DenseModule> read_dense(const fs::path& folder, const std::string& path) {
  const fs::path file = folder / path / "config.json";
  const Json json = read_object(file);
  DenseModule out;
  out.path = path;
  out.in_features = positive(json, "in_features", file).value_or(0);
  out.out_features = positive(json, "out_features", file).value_or(0);
  if (out.in_features == 0 || out.out_features == 0)
    fail("{}: \"in_features\" and \"out_features\" are needed", file.string());
  out.bias = flag_or(json, "bias", true, file);
  out.activation = json.value("activation_function", Json("torch.nn.modules.activation.Tanh")).dump();
  out.activation = out.activation.substr(1, out.activation.size() - 2);
  const bool of_sentence =
      json.value("module_input_name", Json("sentence_embedding")) == Json("sentence_embedding") &&
      json.value("module_output_name", Json("sentence_embedding")) == Json("sentence_embedding");
  if (!of_sentence || flag_or(json, "use_residual", false, file)) return std::nullopt;
  return out;
}

void read_prompts(const fs::path& folder, SentenceTransformer& out) {
  const fs::path file = folder / "config_sentence_transformers.json";
  if (!path_exists(file)) return;
  const Json settings = read_object(file);
  const Json prompts = settings.value("prompts", Json::object()),
             name = settings.value("default_prompt_name", Json());
  if (!prompts.is_null() && !prompts.is_object()) fail("{}: \"prompts\" must be an object", file.string());
  if (prompts.is_object())
    for (const auto& [key, text] : prompts.items()) {
      if (!text.is_string())
        fail("{}: the prompt \"{}\" must be a text, not {}", file.string(), key, text.dump());
      out.prompts.emplace_back(key, text.get<std::string>());
    }
  if (!name.is_null() && !name.is_string())
    fail("{}: \"default_prompt_name\" must be a text, not {}", file.string(), name.dump());
  if (name.is_string()) out.default_prompt_name = name.get<std::string>();
}

}  // namespace

const char* pooling_name(Pooling mode) { return kPoolings[static_cast<size_t>(mode)].first; }

Pooling parse_pooling(const std::string& name) {
  std::vector<std::string> known;
  for (size_t i = 0; i < kPoolings.size(); ++i) {
    if (name == kPoolings[i].first) return static_cast<Pooling>(i);
    known.emplace_back(kPoolings[i].first);
  }
  throw UsageError(fmt::format("pooling {} is not known; there are: {}", name, fmt::join(known, ", ")));
}

std::optional<SentenceTransformer> read_sentence_transformer(const fs::path& folder) {
  const fs::path file = folder / "modules.json";
  if (!path_exists(file)) return std::nullopt;
  const Json modules = read_json(file);
  if (!modules.is_array())
    fail("{}: must hold a list of modules, not {}", file.string(), modules.type_name());
  SentenceTransformer out;
  out.folder = folder;
  for (const Json& module : modules) {
    // The package differs between releases (sentence_transformers.models.Pooling).
    const std::string type = text_of(module, "type", file),
                      path = subfolder(text_of(module, "path", file), file);
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (kind == "Transformer") {
      if (&module != &*modules.begin())
        fail_with("list the transformer first", "{}: the module Transformer follows another module",
                  file.string());
      out.transformer_path = path;
    } else if (kind == "Pooling") {
      read_pooling(folder / path, out);
    } else if (kind == "Normalize") {
      out.normalize = true;
    } else if (std::optional<DenseModule> dense; kind == "Dense" && !out.pooling.empty() && !out.normalize &&
                                                 (dense = read_dense(folder, path))) {
      out.dense.push_back(*dense);
    } else {
      out.other_modules.push_back(kind);
    }
  }
  read_transformer_settings(folder / out.transformer_path, out);
  read_prompts(folder, out);
  return out;
}

std::optional<SentenceTransformer> modules_of_transformer(const fs::path& folder) {
  if (auto found = read_sentence_transformer(folder)) return found;
  const fs::path clean = (folder / "").lexically_normal().parent_path();
  if (clean.filename().empty() || !clean.has_parent_path()) return std::nullopt;
  auto above = read_sentence_transformer(clean.parent_path());
  if (above && above->transformer_path != clean.filename().string()) above.reset();
  return above;
}

namespace {

void write_pooling(const fs::path& folder, const SentenceTransformer& modules) {
  Json pooling = {{"word_embedding_dimension", modules.embedding_dimension}};
  for (size_t i = 0; i < kPoolings.size(); ++i)
    pooling[kPoolings[i].second] = std::find(modules.pooling.begin(), modules.pooling.end(),
                                             static_cast<Pooling>(i)) != modules.pooling.end();
  pooling["include_prompt"] = modules.include_prompt;
  make_folders(folder);
  write_json(folder / "config.json", pooling);
}

}  // namespace

void write_sentence_transformer(const fs::path& folder, const SentenceTransformer& modules) {
  if (!modules.other_modules.empty())
    fail("{}: its modules cannot be saved: {} is not implemented", modules.folder.string(),
         modules.other_modules.front());
  Json list = Json::array();
  const auto add = [&](const std::string& path, const char* kind) {
    const auto i = static_cast<int64_t>(list.size());
    list.push_back({{"idx", i},
                    {"name", std::to_string(i)},
                    {"path", path},
                    {"type", std::string("sentence_transformers.models.") + kind}});
  };
  const auto path_of = [&](const char* kind) { return fmt::format("{}_{}", list.size(), kind); };
  add("", "Transformer");
  write_pooling(folder / path_of("Pooling"), modules);
  add(path_of("Pooling"), "Pooling");
  for (const DenseModule& dense : modules.dense) {
    make_folders(folder / path_of("Dense"));
    write_json(folder / path_of("Dense") / "config.json", {{"in_features", dense.in_features},
                                                           {"out_features", dense.out_features},
                                                           {"bias", dense.bias},
                                                           {"activation_function", dense.activation}});
    add(path_of("Dense"), "Dense");
  }
  if (modules.normalize) {
    make_folders(folder / path_of("Normalize"));
    write_json(folder / path_of("Normalize") / "config.json", Json::object());
    add(path_of("Normalize"), "Normalize");
  }
  write_json(folder / "modules.json", list);
  write_json(folder / "sentence_bert_config.json",
             {{"max_seq_length", modules.max_seq_length ? Json(*modules.max_seq_length) : Json()},
              {"do_lower_case", modules.do_lower_case}});
  Json prompts = Json::object();
  for (const auto& [name, text] : modules.prompts) prompts[name] = text;
  write_json(folder / "config_sentence_transformers.json",
             {{"prompts", prompts},
              {"default_prompt_name",
               modules.default_prompt_name.empty() ? Json() : Json(modules.default_prompt_name)},
              {"similarity_fn_name", "cosine"}});
}

std::vector<std::string> contradictions(const SentenceTransformer& modules, const DescribedModel& model) {
  std::vector<std::string> out;
  if (!modules.pooling_file.empty() && modules.embedding_dimension > 0 && model.hidden_size > 0 &&
      modules.embedding_dimension != model.hidden_size)
    out.push_back(
        fmt::format("{}: the pooling is for tokens of {} dimensions, but {} has a hidden size of {}; "
                    "one of the two files belongs to another model",
                    modules.pooling_file.string(), modules.embedding_dimension, model.config_file.string(),
                    model.hidden_size));
  if (modules.max_seq_length && model.max_positions > 0 && *modules.max_seq_length > model.max_positions)
    out.push_back(
        fmt::format("{}: \"max_seq_length\" is {}, but the model of {} has {} positions; "
                    "sentence-transformers fails for longer texts",
                    modules.transformer_file.string(), *modules.max_seq_length, model.config_file.string(),
                    model.max_positions));
  return out;
}

fs::path transformer_folder(const fs::path& folder) {
  if (path_exists(folder / "config.json")) return folder;
  const auto modules = read_sentence_transformer(folder);
  return modules && !modules->transformer_path.empty() ? folder / modules->transformer_path : folder;
}

bool is_sentence_transformers_file(const std::string& name) {
  const auto is_name = [&](const char* known) { return name == known; };
  if (std::any_of(std::begin(kFiles), std::end(kFiles), is_name)) return true;
  if (std::any_of(std::begin(kTransformerFiles), std::end(kTransformerFiles), is_name)) return true;
  const size_t digits = name.find_first_not_of("0123456789");  // of 1_Pooling
  return digits != std::string::npos && digits > 0 && name[digits] == '_' &&
         std::any_of(std::begin(kModuleFolders), std::end(kModuleFolders),
                     [&](const char* known) { return name.substr(digits + 1) == known; });
}

}  // namespace graft::hub
