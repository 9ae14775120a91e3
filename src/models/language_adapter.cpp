#include "models/language_adapter.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/shown.h"
#include "hub/sha256.h"
#include "models/bottleneck_folder.h"
#include "models/registry.h"
#include "models/state.h"

namespace graft::models {
namespace fs = std::filesystem;

using engine::Parameter;

namespace {

constexpr const char
    *kShaOfLanguage = "lang_adapter_sha256",
    *kTrainOne = "graft train --task masked-lm --peft_type seq_bn_inv makes one of text in the language";
// Behind the adapter's name in the names of its parameters: both adapters of a stack may have one name.
constexpr const char* kSuffix = ".language";

bool has_head_of_task(const AdapterFolder& a) {
  const auto& kinds = head_kinds();
  return std::any_of(kinds.begin(), kinds.end(), [&](const HeadKind* kind) {
    return a.head_task == kind->task && !kind->predicts_tokens;
  });
}

AdapterFolder open_language_adapter(const fs::path& folder, const fs::path& base) {
  if (!is_adapter_folder(folder))
    fail_with(kTrainOne, "{}: is no folder of a language adapter: it holds {}", folder.string(),
              path_exists(folder / "config.json") ? "a whole model" : "no adapter_config.json");
  AdapterFolder out = open_adapter(folder, base);
  if (!out.config.bottleneck)
    fail_with(kTrainOne, "{}: holds adapters of peft, and a language adapter consists of bottlenecks",
              folder.string());
  const BottleneckConfig& c = *out.config.bottleneck;
  if (has_head_of_task(out) || !c.load_lang_adapter.empty() || c.type == "text_task")
    fail_with(kTrainOne, "{}: is a task adapter{}, and a language adapter is needed here", folder.string(),
              out.head_task.empty() ? "" : fmt::format(" (it has a {} head)", out.head_task));
  if (c.is_parallel)
    fail_with("use a language adapter of the configuration seq_bn_inv or double_seq_bn_inv",
              "{}: is a parallel adapter, whose output no adapter above it reads", folder.string());
  return out;
}

// The adapter's own tensors alone, under the names that its parameters get.
void rename_tensors(AdapterFolder& a) {
  const std::string own = "adapters." + a.config.bottleneck->name + ".";
  auto file = std::make_shared<hub::StateDict>(std::move(a.tensors));
  a.config.bottleneck->name += kSuffix;
  const std::string renamed = "adapters." + a.config.bottleneck->name + ".";
  a.tensors = hub::StateDict();
  for (hub::TensorView t : file->tensors()) {
    if (!is_bottleneck_tensor(t.name)) continue;
    t.name.replace(t.name.find(own), own.size(), renamed);
    a.tensors.add(std::move(t));
  }
  a.tensors.keep(file);
}

std::string sha256_of_values(const State& state) {
  std::string digests;
  for (const Parameter& p : state.parameters.parameters())
    if (p.frozen_adapter) digests += parameter_sha256(state, p);
  return hub::sha256_of(digests);
}

// The folder that a task adapter names.
fs::path find_language(const AdapterFolder& adapter) {
  const std::string& name = adapter.config.bottleneck->load_lang_adapter;
  if (name.empty()) return {};
  std::error_code ignored;
  for (const fs::path& path : places_of_base(adapter.folder, name))
    if (is_adapter_folder(path) && !fs::equivalent(path, adapter.folder, ignored)) return path;
  fail_with("give its present folder, or another language, with --load_lang_adapter",
            "{}: was trained above the language adapter in {}, and there is no such folder",
            adapter.folder.string(), shown(name, kPathLimit));
}

void check_stackable(const AdapterFolder& adapter) {
  const char* hint = "leave --load_lang_adapter out";
  const std::string folder = adapter.folder.string();
  if (!adapter.config.bottleneck)
    fail_with(hint, "{}: its adapters are no bottlenecks, and cannot be stacked on a language adapter",
              folder);
  const BottleneckConfig& c = *adapter.config.bottleneck;
  if (!c.inv_adapter.empty())
    fail_with(hint, "{}: is a language adapter itself (it has an invertible adapter)", folder);
  if (c.is_parallel)
    fail_with(hint, "{}: is a parallel adapter, which does not read the output of a language adapter",
              folder);
  if (c.load_lang_adapter.empty() && !adapter.base_sha256.empty())
    fail_with(hint, "{}: was trained without a language adapter below it", folder);
}

}  // namespace

void load_language_adapter(State& state, const fs::path& folder, const fs::path& base) {
  AdapterFolder language = open_language_adapter(folder, base);
  check_base(language, base_sha256(state));
  rename_tensors(language);
  state.parameters.reopen();
  std::deque<Parameter>& all = state.parameters.parameters();
  const auto first = static_cast<std::ptrdiff_t>(all.size());
  declare_adapters(state, language);
  state.parameters.allocate();
  load_bottlenecks(state, language);
  for (auto p = all.begin() + first; p != all.end(); ++p) {
    p->of_adapter = p->trainable = false;
    p->frozen_adapter = true;
  }
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(folder, ignored);
  state.language = LanguageAdapter{whole.empty() ? folder : whole, sha256_of_values(state)};
  state.parameters.touch_values();
}

void load_language_below(State& state, const AdapterFolder& adapter, const fs::path& asked) {
  if (!asked.empty()) {
    check_stackable(adapter);
    load_language_adapter(state, asked, adapter.base);
    return log_info("{}: with the language adapter of {}", adapter.folder.string(), asked.string());
  }
  if (!adapter.config.bottleneck) return;
  const fs::path named = find_language(adapter);
  if (named.empty()) return;
  load_language_adapter(state, named, adapter.base);
  if (adapter.language_sha256.empty() || adapter.language_sha256 == state.language->sha256) return;
  fail_with("give the one of the training, or this one as another language, with --load_lang_adapter",
            "{}: was trained above another language adapter than {} holds now", adapter.folder.string(),
            named.string());
}

void name_language(AdapterToWrite& out, const State& state) {
  if (!state.language) return;
  out.config["load_lang_adapter"] = state.language->folder.string();
  out.base_model[kShaOfLanguage] = state.language->sha256;
}

void check_same_language(const State& state, const Json& base_model, const fs::path& folder) {
  if (base_model.value(kShaOfLanguage, "") == (state.language ? state.language->sha256 : "")) return;
  fail_with("resume with the --load_lang_adapter of that run",
            "{}: the run trained adapters above another language adapter", folder.string());
}

}  // namespace graft::models
