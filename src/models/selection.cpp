#include "models/selection.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/error.h"

namespace graft::models {

using engine::Parameter;

namespace {

// ALBERT's layers share the weights of their group.
bool shares_layers(const Family& family) {
  return std::string_view(family.sizes.num_layers) == "num_hidden_groups";
}

const char* layers_key(const Family& family) {
  return shares_layers(family) ? "num_hidden_layers" : family.sizes.num_layers;
}

// Every token id in the file: "pad_token_id", "forced_eos_token_id", lists of them.
void visit_token_ids(Json& json, const std::function<void(Json&)>& see) {
  const std::function<void(Json&)> visit = [&](Json& value) {
    if (value.is_array()) {
      for (Json& inner : value) visit(inner);
    } else if (value.is_number_integer()) {
      see(value);
    }
  };
  if (!json.is_object()) return;
  for (auto& [key, value] : json.items())
    if (key.ends_with("_token_id") || key == "bad_words_ids" || key.ends_with("suppress_tokens"))
      visit(value);
}

// Ids that the reference's config classes have where config.json is silent (transformers 5.24). Others are
// those of rows that keep their places: RoBERTa's, and padding at 0.
struct DefaultId {
  const char *model_type, *key;
  int64_t id;
};
constexpr DefaultId kDefaultIds[] = {
    {"gpt2", "bos_token_id", 50256},       {"gpt2", "eos_token_id", 50256},
    {"modernbert", "pad_token_id", 50283}, {"modernbert", "eos_token_id", 50282},
    {"modernbert", "bos_token_id", 50281}, {"modernbert", "cls_token_id", 50281},
    {"modernbert", "sep_token_id", 50282}, {"albert", "bos_token_id", 2},
    {"albert", "eos_token_id", 3},         {"t5", "eos_token_id", 1},
};

// The config with the ids of its class written out, so that they are renumbered like others.
Json with_default_ids(const State& state) {
  Json json = state.config.json();
  const int64_t rows = state.network.encoder->word_embeddings()->rows();
  for (const DefaultId& d : kDefaultIds)
    if (state.config.model_type() == d.model_type && !json.contains(d.key) && d.id < rows) json[d.key] = d.id;
  return json;
}

std::string with_layer(const std::string& name, const PlaceInName& place, int64_t layer) {
  return name.substr(0, place.begin) + std::to_string(layer) + name.substr(place.end);
}

const std::vector<int64_t>& layers_of(const Selection& s, const PlaceInName& place) {
  return place.of_decoder ? s.decoder_layers : s.layers;
}

void check_layers(const std::vector<int64_t>& layers, int64_t total, const std::string& origin) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= total)
      fail("{}: there is no layer {}; the layers are 0 to {}", origin, layers[i], total - 1);
    if (i > 0 && layers[i] <= layers[i - 1])
      fail_with("name each layer once, in ascending order", "{}: layer {} follows layer {}", origin,
                layers[i], layers[i - 1]);
  }
}

// Keys that hold one value for each layer, or that count the layers.
void set_num_layers(Json& json, const Family& family, const char* key, const std::vector<int64_t>& layers) {
  if (layers.empty()) return;
  const auto count = static_cast<int64_t>(layers.size());
  json[key] = count;
  for (const auto& [other, own] : family.keys.second_spellings)
    if (std::string_view(own) == key && json.contains(other)) json[other] = count;
  if (shares_layers(family) && json.contains("num_hidden_groups") &&
      json["num_hidden_groups"].get<int64_t>() > 1)
    fail("its layers are groups that share weights: they cannot be taken apart");
}

// ModernBERT: the kind of each layer follows from its number, unless "layer_types" names it.
void set_layer_types(Json& json, const Family& family, const std::vector<int64_t>& layers, int64_t total) {
  const auto& used = family.keys.used;
  const bool has_types = std::any_of(used.begin(), used.end(),
                                     [](const char* key) { return std::string_view(key) == "layer_types"; });
  if (!has_types || layers.empty()) return;
  const Json former = json.value("layer_types", Json());
  const int64_t every = json.value("global_attn_every_n_layers", int64_t{3});
  Json types = Json::array();
  for (const int64_t layer : layers) {
    if (former.is_array() && static_cast<int64_t>(former.size()) == total)
      types.push_back(former[layer]);
    else
      types.push_back(layer % every == 0 ? "full_attention" : "sliding_attention");
  }
  json["layer_types"] = std::move(types);
}

void renumber_ids(Json& json, const std::vector<int32_t>& rows) {
  visit_token_ids(json, [&](Json& id) {
    const auto found = std::lower_bound(rows.begin(), rows.end(), id.get<int64_t>());
    if (found != rows.end() && *found == id.get<int64_t>()) id = found - rows.begin();
  });
}

// Every tensor of a layer that stays has a place in the new model.
void check_layers_fit(const State& from, const State& to, const Selection& selection) {
  for (const Parameter& p : from.parameters.parameters()) {
    const auto place = layer_in_name(*from.family, p.name);
    if (!place || layers_of(selection, *place).empty()) continue;
    const auto& layers = layers_of(selection, *place);
    const auto found = std::find(layers.begin(), layers.end(), place->layer);
    if (found == layers.end() || place->layer == 0) continue;
    if (!to.parameters.find(with_layer(p.name, *place, found - layers.begin())))
      fail_with("keep layer 0", "{}: layer {} cannot be the first one, which has no {}", from.origin.string(),
                place->layer, p.name.substr(place->end + 1));
  }
}

const Parameter& source_of(const State& from, const Parameter& p, const Selection& selection) {
  const auto place = layer_in_name(*from.family, p.name);
  std::string name = p.name;
  if (place && !layers_of(selection, *place).empty())
    name = with_layer(name, *place, layers_of(selection, *place)[static_cast<size_t>(place->layer)]);
  const Parameter* found = from.parameters.find(name);
  // T5's first layer holds what all of them read: the embedding of relative positions.
  if (!found && place) found = from.parameters.find(with_layer(p.name, *place, 0));
  if (!found) fail("{}: there is no {} to start from", from.origin.string(), name);
  return *found;
}

void copy_parts(State& to, const State& from, const Selection& selection) {
  const int64_t old_rows = from.network.encoder->word_embeddings()->rows();
  const auto rows = static_cast<int64_t>(selection.rows.size());
  for (const Parameter& p : to.parameters.parameters()) {
    const Parameter& old = source_of(from, p, selection);
    const engine::HostRead values = from.parameters.read_value(old);
    const engine::HostWrite out = to.parameters.write_value(p);
    if (p.shape == old.shape) {
      std::copy_n(values.data(), p.size, out.data());
      continue;
    }
    const int64_t width = old.size / old_rows;
    if (rows == 0 || old.shape[0] != old_rows || p.shape[0] != rows || p.size != rows * width)
      fail("{}: {} is [{}] and has no place in [{}]", from.origin.string(), p.name,
           fmt::join(old.shape, ", "), fmt::join(p.shape, ", "));
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(values.data() + selection.rows[static_cast<size_t>(r)] * width, width,
                  out.data() + r * width);
  }
  to.parameters.touch_values();
}

}  // namespace

int64_t num_layers(const State& state) { return state.config.size_or(layers_key(*state.family), 0); }

int64_t num_decoder_layers(const State& state) {
  if (!state.family->decoder_layers) return 0;
  return state.config.size_or("num_decoder_layers", num_layers(state));
}

std::vector<int64_t> spread_layers(int64_t count, int64_t total) {
  std::vector<int64_t> layers;
  for (int64_t i = 0; i < count; ++i)
    layers.push_back(count == 1 ? 0 : std::llround(static_cast<double>(i * (total - 1)) / (count - 1)));
  return layers;
}

std::vector<int32_t> fixed_ids(const State& state) {
  std::vector<int32_t> ids;
  const int64_t rows = state.network.encoder->word_embeddings()->rows();
  Json config = with_default_ids(state), generation = state.generation_config;
  for (Json* json : {&config, &generation})
    visit_token_ids(*json, [&](Json& id) {
      const auto value = id.get<int64_t>();
      if (value >= 0 && value < rows) ids.push_back(static_cast<int32_t>(value));
    });
  for (const Parameter& p : state.parameters.parameters())
    if (&p != state.network.encoder->word_embeddings())
      for (int32_t id = 0; id <= p.padding_row; ++id) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Model select_parts(const Model& model, const Selection& selection) {
  const State& from = model.state();
  const Family& family = *from.family;
  const std::string origin = from.origin.string();
  const int64_t total = num_layers(from);
  check_layers(selection.layers, total, origin);
  check_layers(selection.decoder_layers, num_decoder_layers(from), origin);
  const int64_t old_rows = from.network.encoder->word_embeddings()->rows();
  for (const int32_t row : selection.rows)
    if (row < 0 || row >= old_rows)
      fail("{}: there is no row {} in the embedding of {}", origin, row, old_rows);
  ModelConfig config = from.config;
  Json& json = config.json();
  if (!selection.rows.empty()) json = with_default_ids(from);
  if (!selection.layers.empty() && json.value("scale_attn_by_inverse_layer_idx", false))
    fail("{}: \"scale_attn_by_inverse_layer_idx\": its layers depend on their numbers", origin);
  set_num_layers(json, family, layers_key(family), selection.layers);
  set_layer_types(json, family, selection.layers, total);
  if (family.decoder_layers) set_num_layers(json, family, "num_decoder_layers", selection.decoder_layers);
  Json generation = from.generation_config;
  if (!selection.rows.empty()) {
    json["vocab_size"] = selection.rows.size();
    renumber_ids(json, selection.rows);
    renumber_ids(generation, selection.rows);
  }
  const std::shared_ptr<State> state = rebuild(from, std::move(config));
  state->generation_config = std::move(generation);
  if (!shares_layers(family)) check_layers_fit(from, *state, selection);
  copy_parts(*state, from, shares_layers(family) ? Selection{{}, {}, selection.rows} : selection);
  return Model(state);
}

}  // namespace graft::models
