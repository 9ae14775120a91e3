#include "transfer/mixture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/sampler.h"

namespace graft::transfer {

int64_t tokens_of(const tasks::Features& features) {
  int64_t tokens = 0;
  for (int64_t i = 0; i < features.size(); ++i) tokens += features.length(i);
  return tokens;
}

int64_t examples_of(const tasks::Features& features, double tokens) {
  const double of_all = static_cast<double>(tokens_of(features)), n = static_cast<double>(features.size());
  return std::max<int64_t>(1, std::llround(tokens / std::max(of_all, 1.0) * n));
}

std::vector<MixtureRow> rows_of(const std::vector<MixturePart>& parts) {
  std::vector<MixtureRow> rows;
  double before = 0, after = 0;
  for (const MixturePart& part : parts) {
    const int64_t tokens = tokens_of(*part.features);
    const double of_set = static_cast<double>(tokens),
                 of_epoch = of_set * static_cast<double>(part.examples) /
                            static_cast<double>(std::max<int64_t>(part.features->size(), 1));
    rows.push_back({part.name, tokens, of_set, of_epoch});
    before += of_set;
    after += of_epoch;
  }
  for (MixtureRow& row : rows) {
    row.share_before /= before;
    row.share_after /= after;
  }
  return rows;
}

std::string table_of(const std::vector<MixtureRow>& rows, const std::string& what) {
  std::string text =
      fmt::format("{:<10} {:>12} {:>13} {:>12}", what, "tokens", "share before", "share after");
  for (const MixtureRow& row : rows)
    text += fmt::format("\n{:<10} {:>12} {:>11.1f} % {:>10.1f} %", row.name, row.tokens,
                        100 * row.share_before, 100 * row.share_after);
  return text;
}

Json to_json(const std::vector<MixtureRow>& rows) {
  Json json = Json::array();
  for (const MixtureRow& row : rows)
    json.push_back({{"name", row.name},
                    {"tokens", row.tokens},
                    {"share_before", row.share_before},
                    {"share_after", row.share_after}});
  return json;
}

std::vector<MixtureRow> mixture_rows(const Json& json) {
  std::vector<MixtureRow> rows;
  for (const Json& row : json)
    rows.push_back({row.at("name").get<std::string>(), row.at("tokens").get<int64_t>(),
                    row.at("share_before").get<double>(), row.at("share_after").get<double>()});
  return rows;
}

Mixture::Mixture(std::vector<MixturePart> parts, uint64_t seed) : parts_(std::move(parts)) {
  for (const MixturePart& part : parts_) {
    const tasks::Features& set = *part.features;
    if (set.size() == 0 || part.examples < 1) fail("a mixture has the set {} without examples", part.name);
    begins_.push_back(begins_.back() + part.examples);
    data::SamplerOptions options;
    options.seed = seed + order_.size();  // sets of one size have orders of their own
    order_.push_back(data::Sampler(set.size(), options).epoch_order(0));
    longest_.push_back(0);
    for (int64_t i = 0; i < set.size(); ++i) longest_.back() = std::max(longest_.back(), set.length(i));
  }
}

size_t Mixture::part_of(int64_t i) const {
  return static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), i) - begins_.begin()) - 1;
}

int32_t Mixture::length(int64_t i) const {
  const size_t p = part_of(i);
  const tasks::Features& set = *parts_[p].features;
  if (parts_[p].examples != set.size()) return longest_[p];
  return set.length(order_[p][static_cast<size_t>(i - begins_[p])]);
}

void Mixture::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const {
  const size_t p = part_of(i);
  const tasks::Features& set = *parts_[p].features;
  const int64_t draw = std::max<int64_t>(epoch, 0) * parts_[p].examples + i - begins_[p];
  append_sequences_of(set, batch, order_[p][static_cast<size_t>(draw % set.size())], index,
                      draw / set.size());
}

}  // namespace graft::transfer
