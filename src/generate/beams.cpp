#include "generate/beams.h"

#include <algorithm>
#include <cmath>

namespace graft::generate {
namespace {

constexpr float kNone = -1e9f;  // the reference's score of a beam that is not there

}  // namespace

Beams::Beams(std::vector<int32_t> prompt, const GenerationOptions& options, int64_t max_new_tokens)
    : options_(options), prompt_length_(prompt.size()), max_new_tokens_(max_new_tokens) {
  const auto n = static_cast<size_t>(options.num_beams);
  running_.resize(n, {prompt, kNone, 0, false});
  running_.front().score = 0;  // so that the beams begin with different tokens
  finished_.resize(n, {std::move(prompt), kNone, 0, false});
}

// The best continuations of all beams: enough that num_beams of them go on if all others end.
std::vector<Beams::Beam> Beams::candidates(const std::vector<std::vector<float>>& scores) const {
  struct Entry {
    float score;
    size_t beam, token;
  };
  const size_t keep = std::max<size_t>(2, 1 + options_.eos_token_id.size()) * running_.size();
  std::vector<Entry> entries;
  for (size_t b = 0; b < running_.size(); ++b)
    for (size_t t = 0; t < scores[b].size(); ++t) entries.push_back({running_[b].score + scores[b][t], b, t});
  const auto middle = entries.begin() + static_cast<std::ptrdiff_t>(std::min(keep, entries.size()));
  std::partial_sort(entries.begin(), middle, entries.end(), [](const Entry& x, const Entry& y) {
    if (x.score != y.score) return x.score > y.score;
    return x.beam != y.beam ? x.beam < y.beam : x.token < y.token;
  });
  std::vector<Beam> out;
  for (auto e = entries.begin(); e != middle; ++e) {
    out.push_back({running_[e->beam].tokens, e->score, e->beam, false});
    out.back().tokens.push_back(static_cast<int32_t>(e->token));
  }
  return out;
}

void Beams::extend(const std::vector<std::vector<float>>& scores,
                   const std::function<bool(const std::vector<int32_t>&)>& stops) {
  std::vector<Beam> found = candidates(scores);
  const auto& eos = options_.eos_token_id;
  bool all_end = true;
  for (Beam& b : found) {
    b.ends = static_cast<int64_t>(b.tokens.size() - prompt_length_) >= max_new_tokens_ ||
             std::find(eos.begin(), eos.end(), b.tokens.back()) != eos.end() || (stops && stops(b.tokens));
    all_end &= b.ends;
  }
  finish(found);
  const size_t n = running_.size();
  for (Beam& b : found)
    if (b.ends) b.score += kNone;
  std::stable_sort(found.begin(), found.end(),
                   [](const Beam& x, const Beam& y) { return x.score > y.score; });
  found.resize(n);
  running_ = std::move(found);
  decide(all_end);
}

// Candidates among the best num_beams that end take the place of worse finished beams.
void Beams::finish(const std::vector<Beam>& candidates) {
  const bool full = std::all_of(finished_.begin(), finished_.end(), [](const Beam& b) { return b.ends; });
  if (!improvable_ || (full && options_.early_stopping == EarlyStopping::always)) return;
  const size_t n = finished_.size();
  for (size_t i = 0; i < std::min(n, candidates.size()); ++i) {
    if (!candidates[i].ends) continue;
    finished_.push_back(candidates[i]);
    const auto length = static_cast<double>(candidates[i].tokens.size() - prompt_length_);
    finished_.back().score /= static_cast<float>(std::pow(length, options_.length_penalty));
  }
  std::stable_sort(finished_.begin(), finished_.end(),
                   [](const Beam& x, const Beam& y) { return x.score > y.score; });
  finished_.resize(n);
}

void Beams::decide(bool all_end) {
  const bool full = std::all_of(finished_.begin(), finished_.end(), [](const Beam& b) { return b.ends; });
  const bool longest = options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const auto length = longest ? static_cast<double>(max_new_tokens_)
                              : static_cast<double>(running_.front().tokens.size() - prompt_length_);
  const float possible =
      running_.front().score / static_cast<float>(std::pow(length, options_.length_penalty));
  // A place that is still free can be filled.
  const float worst = full ? finished_.back().score : kNone;
  improvable_ &= possible > worst;
  done_ = !improvable_ || (full && options_.early_stopping == EarlyStopping::always) || all_end;
}

std::vector<Generated> Beams::best() const {
  std::vector<Generated> out;
  for (size_t i = 0; i < static_cast<size_t>(options_.num_return_sequences); ++i)
    out.push_back({finished_[i].tokens, prompt_length_, double{finished_[i].score}});
  return out;
}

}  // namespace graft::generate
