#include "models/generator.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "graft/model.h"
#include "models/registry.h"
#include "models/state.h"

namespace graft::models {
namespace fs = std::filesystem;

using engine::Parameter;

namespace {

Model load_generator(const fs::path& folder) {
  ModelOptions options;
  options.task = kMaskedLm.task;
  Model model = Model::from_pretrained(folder, options);
  const std::vector<std::string>& missing = model.load_report().missing;
  if (!missing.empty())
    fail_with(
        "give the folder of a generator, such as google/electra-small-generator; a discriminator is no "
        "generator",
        "{}: is no generator: its checkpoint has no masked-lm head ({} is missing)", folder.string(),
        missing.front());
  return model;
}

void check_pair(const State& state, const State& generator, const fs::path& folder) {
  if (generator.family != state.family)
    fail_with("give a generator of the model's own family",
              "{}: is a {} model, and the discriminator is of model_type \"{}\"", folder.string(),
              generator.config.model_type(), state.config.model_type());
  const int64_t rows = generator.network.encoder->word_embeddings()->rows(),
                own = state.network.encoder->word_embeddings()->rows();
  if (rows != own)
    fail_with("generator and discriminator read the same ids: give a pair with one vocabulary",
              "{}: has {} tokens in its vocabulary, and the discriminator has {}", folder.string(), rows,
              own);
}

// The parameter of the discriminator that the generator's may be.
Parameter* same_values(State& state, const State& generator, const Parameter& p) {
  Parameter* own = state.parameters.find(p.name);
  if (!own || own->shape != p.shape) return nullptr;
  const engine::HostRead a = state.parameters.read_value(*own), b = generator.parameters.read_value(p);
  return std::equal(a.begin(), a.end(), b.begin()) ? own : nullptr;
}

// The embeddings that both have. A norm is one or is not: weight and bias together.
engine::Embeddings shared_embeddings(State& state, const State& generator) {
  engine::Embeddings shared;
  const auto find = [&](const char* part) -> Parameter* {
    const Parameter* p = generator.parameters.find(fmt::format("{}.{}", state.family->embeddings, part));
    return p ? same_values(state, generator, *p) : nullptr;
  };
  shared.word = find("word_embeddings.weight");
  shared.position = find("position_embeddings.weight");
  shared.token_type = find("token_type_embeddings.weight");
  shared.norm = state.network.encoder->embeddings()->norm;  // with the eps of the discriminator
  shared.norm.weight = find("LayerNorm.weight");
  shared.norm.bias = find("LayerNorm.bias");
  const bool same_eps =
      state.config.number_or("layer_norm_eps", 0) == generator.config.number_or("layer_norm_eps", 0);
  if (!shared.norm.weight || !shared.norm.bias || !same_eps) shared.norm = {};
  return shared;
}

void log_shared(const engine::Embeddings& shared, const fs::path& folder) {
  std::vector<const char*> one, two;
  for (const auto& [p, name] : {std::pair{shared.word, "words"},
                                {shared.position, "positions"},
                                {shared.token_type, "token types"},
                                {shared.norm.weight, "their norm"}})
    (p ? one : two).push_back(name);
  if (two.empty())
    log_info("{}: the generator's embeddings are those of the discriminator and are trained as one",
             folder.string());
  else
    log_info(
        "{}: the generator has embeddings of its own ({}): they differ from the discriminator's in shape or "
        "values{}",
        folder.string(), fmt::join(two, ", "),
        one.empty() ? "" : fmt::format("; shared are {}", fmt::join(one, ", ")));
}

}  // namespace

void add_generator(State& state, const fs::path& folder) {
  if (state.generator) fail("{}: the model has a generator already", state.origin.string());
  if (!state.family->make_generator || state.head != &kReplacedTokenDetection)
    fail("a {} model of model_type \"{}\" has no generator: it does not detect replaced tokens", state.task,
         state.config.model_type());
  const Model loaded = load_generator(folder);
  const State& from = loaded.state();
  check_pair(state, from, folder);
  const engine::Embeddings shared = shared_embeddings(state, from);
  const size_t before = state.parameters.parameters().size();
  auto generator = std::make_unique<Generator>();
  generator->config = from.config;
  state.parameters.reopen();
  generator->network = state.family->make_generator(state.parameters, generator->config, shared);
  state.parameters.allocate();
  for (size_t i = before; i < state.parameters.parameters().size(); ++i)
    state.parameters.parameters()[i].of_generator = true;
  for (const Parameter& p : from.parameters.parameters()) {
    Parameter* own = state.parameters.find(fmt::format("{}.{}", kGeneratorScope, p.name));
    generator->tensors.push_back({p.name, own ? own : state.parameters.find(p.name)});
    if (!own) continue;
    const engine::HostRead values = from.parameters.read_value(p);
    std::copy(values.begin(), values.end(), state.parameters.write_value(*own).data());
  }
  state.parameters.touch_values();
  state.generator = std::move(generator);
  log_shared(shared, folder);
}

}  // namespace graft::models
