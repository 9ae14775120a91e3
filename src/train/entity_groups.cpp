#include "train/entity_groups.h"

#include <algorithm>

#include "base/error.h"

namespace graft::train {
namespace {

LabelledPart label_word(const ScoredToken* first, const ScoredToken* last, size_t n,
                        Aggregation aggregation) {
  LabelledPart part;
  part.start = first->start;
  part.end = (last - 1)->end;
  std::vector<float> scores(first->scores, first->scores + n);
  if (aggregation == Aggregation::max) {
    float best = -1;
    for (const ScoredToken* t = first; t != last; ++t) {
      const float largest = *std::max_element(t->scores, t->scores + n);
      if (largest <= best) continue;
      best = largest;
      scores.assign(t->scores, t->scores + n);
    }
  } else if (aggregation == Aggregation::average) {
    for (size_t c = 0; c < n; ++c) {
      double sum = 0;
      for (const ScoredToken* t = first; t != last; ++t) sum += t->scores[c];
      scores[c] = static_cast<float>(sum / static_cast<double>(last - first));
    }
  }
  const auto best = std::max_element(scores.begin(), scores.end());
  part.label = static_cast<int>(best - scores.begin());
  part.score = *best;
  return part;
}

struct GroupTag {
  bool begins = false;
  std::string type;
};

// get_tag of the reference; a name without a prefix continues.
GroupTag group_tag(const std::string& label, bool ends_are_marked) {
  const char prefix = label.size() > 1 && label[1] == '-' ? label[0] : ' ';
  const bool marked = ends_are_marked && std::string_view("ESLU").find(prefix) != std::string_view::npos;
  if (prefix != 'B' && prefix != 'I' && !marked) return {false, label};
  return {prefix == 'B' || prefix == 'S' || prefix == 'U', label.substr(2)};
}

}  // namespace

std::vector<LabelledPart> label_parts(const std::vector<ScoredToken>& tokens, size_t num_labels,
                                      Aggregation aggregation) {
  std::vector<LabelledPart> parts;
  const bool words = aggregation != Aggregation::none && aggregation != Aggregation::simple;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin + 1;
    while (words && end < tokens.size() && tokens[end].continues) ++end;
    parts.push_back(label_word(tokens.data() + begin, tokens.data() + end, num_labels, aggregation));
    begin = end;
  }
  return parts;
}

std::vector<TextEntity> group_parts(const std::vector<LabelledPart>& parts,
                                    const std::vector<std::string>& labels, const std::string& text) {
  std::vector<TextEntity> out;
  const TagScheme scheme = data::TagSet(labels).scheme_of_names();
  const bool marked = scheme == TagScheme::bioes || scheme == TagScheme::bilou;
  for (size_t begin = 0; begin < parts.size();) {
    const std::string& label = labels[static_cast<size_t>(parts[begin].label)];
    const std::string type = group_tag(label, marked).type;
    size_t end = begin + 1;
    for (; end < parts.size(); ++end) {
      const GroupTag next = group_tag(labels[static_cast<size_t>(parts[end].label)], marked);
      if (next.begins || next.type != type) break;
    }
    if (label != "O") {
      TextEntity e;
      const size_t dash = label.find('-');
      e.entity = dash == std::string::npos ? label : label.substr(dash + 1);
      double sum = 0;
      for (size_t i = begin; i < end; ++i) sum += parts[i].score;
      e.score = sum / static_cast<double>(end - begin);
      e.start = parts[begin].start;
      e.end = parts[end - 1].end;
      e.word = slice(text, e.start, e.end);
      out.push_back(std::move(e));
    }
    begin = end;
  }
  return out;
}

std::string slice(const std::string& text, int64_t begin, int64_t end) {
  size_t from = text.size(), to = text.size();
  int64_t n = 0;
  for (size_t pos = 0; pos < text.size(); ++pos) {
    if ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) continue;
    if (n == begin) from = pos;
    if (n == end) to = pos;
    ++n;
  }
  return from < to ? text.substr(from, to - from) : "";
}

}  // namespace graft::train

namespace graft {

Aggregation parse_aggregation(const std::string& name) {
  if (name == "none") return Aggregation::none;
  if (name == "simple") return Aggregation::simple;
  if (name == "first") return Aggregation::first;
  if (name == "average") return Aggregation::average;
  if (name == "max") return Aggregation::max;
  throw UsageError(
      fmt::format("--aggregation_strategy {} is not known; there are: none, simple, first, "
                  "average, max",
                  name));
}

}  // namespace graft
