#include "transfer/row_choice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/philox.h"
#include "transfer/quiet_log.h"
#include "transfer/words.h"

namespace graft::transfer {
namespace {

// What a row trains: its labels, or the tags of its words.
std::vector<std::string> labels_of(const Example& e) {
  std::vector<std::string> labels = e.labels;
  for (const TaggedWord& word : e.words) labels.push_back(word.tag);
  for (const TextSpan& span : e.spans) labels.push_back(span.label);
  return labels;
}

void shuffle(std::vector<size_t>& indices, PhiloxStream draws) {
  for (size_t i = indices.size(); i > 1; --i) std::swap(indices[i - 1], indices[draws.below(i)]);
}

}  // namespace

uint64_t key_of_row(const Example& e) {
  std::vector<uint64_t> all, words;
  const auto add = [&](const std::string& text) {
    word_hashes(text, words);
    all.push_back(words.empty() ? hash_of_text(text, 1) : hash_of_words(words, 0, words.size()));
  };
  add(e.text);
  if (e.has_pair) add(e.text_pair);
  if (!e.words.empty()) {
    std::string text;
    for (const TaggedWord& word : e.words) text += word.text + ' ';
    add(text);
  }
  for (const std::string& choice : e.choices) add(choice);
  return hash_of_words(all, 0, all.size());
}

std::unordered_set<uint64_t> keys_of_rows(const Dataset& rows) {
  std::unordered_set<uint64_t> keys;
  for (const Example& e : rows.examples()) keys.insert(key_of_row(e));
  return keys;
}

Dataset rows_at(const Dataset& from, const std::vector<size_t>& indices) {
  std::vector<Example> examples;
  examples.reserve(indices.size());
  for (const size_t i : indices) examples.push_back(from[i]);
  const QuietLog quiet;  // what there is to say of labels and tags was said of the file
  return Dataset(std::move(examples), from.origin());
}

RowSplit hold_out(const Dataset& rows, double percentage) {
  const size_t n = rows.size();
  const auto want = static_cast<size_t>(std::ceil(percentage / 100 * static_cast<double>(n)));
  std::map<uint64_t, std::vector<size_t>> groups;  // in the order of their hashes
  std::map<std::string, int64_t> left;
  const bool classes = rows.label_kind() != LabelKind::floats;
  for (size_t i = 0; i < n; ++i) {
    groups[mixed(key_of_row(rows[i]))].push_back(i);
    for (const std::string& label : labels_of(rows[i])) ++left[label];
  }
  std::vector<bool> held(n);
  size_t taken = 0;
  for (const auto& [key, group] : groups) {
    if (taken >= want) break;
    std::map<std::string, int64_t> uses;
    for (const size_t i : group)
      for (const std::string& label : labels_of(rows[i])) ++uses[label];
    const bool last =
        std::any_of(uses.begin(), uses.end(), [&](const auto& use) { return left[use.first] <= use.second; });
    if ((classes && last) || taken + group.size() >= n) continue;
    for (const auto& [label, count] : uses) left[label] -= count;
    for (const size_t i : group) held[i] = true;
    taken += group.size();
  }
  RowSplit split;
  for (size_t i = 0; i < n; ++i) (held[i] ? split.held_out : split.train).push_back(i);
  return split;
}

std::vector<int64_t> mixture_of(const std::vector<int64_t>& counts, double temperature) {
  double total = 0, mass = 0;
  for (const int64_t n : counts) {
    total += static_cast<double>(n);
    mass += std::pow(static_cast<double>(n), 1 / temperature);
  }
  std::vector<int64_t> out;
  for (const int64_t n : counts) {
    const double share = std::pow(static_cast<double>(n), 1 / temperature) / mass;
    out.push_back(temperature == 1 ? n : std::max<int64_t>(1, std::llround(share * total)));
  }
  return out;
}

std::vector<size_t> sample_rows(size_t n, int64_t want, uint64_t seed, const std::string& name) {
  std::vector<size_t> order(n), out;
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t times = static_cast<size_t>(want) / n, rest = static_cast<size_t>(want) % n;
  shuffle(order, PhiloxStream(philox_key(seed, 0, "mixture " + name)));
  for (size_t i = 0; i < n; ++i) out.insert(out.end(), times + (i < rest ? 1 : 0), order[i]);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<size_t> draw_shots(const Dataset& rows, const std::vector<size_t>& candidates, int64_t k,
                               bool by_label, uint64_t set) {
  std::map<std::string, std::vector<size_t>> groups;
  for (const size_t i : candidates)
    groups[by_label && !rows[i].labels.empty() ? rows[i].labels.front() : ""].push_back(i);
  std::vector<size_t> out;
  for (auto& [label, group] : groups) {
    shuffle(group, PhiloxStream(philox_key(set, 0, "shots " + label)));
    group.resize(std::min(group.size(), static_cast<size_t>(k)));
    out.insert(out.end(), group.begin(), group.end());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace graft::transfer
