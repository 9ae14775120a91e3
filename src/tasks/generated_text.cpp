#include "tasks/generated_text.h"

#include <algorithm>
#include <limits>

#include "generate/causal_decoder.h"
#include "generate/search.h"
#include "generate/settings.h"
#include "models/decoder.h"

namespace graft::tasks {

bool completes_a_text(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                      const std::vector<std::string>& texts) {
  const std::string text = tokenizer.decode(tokens, false),
                    before = tokenizer.decode({tokens.begin(), tokens.end() - 1}, false);
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& stop) {
    const size_t from = before.size() >= stop.size() ? before.size() - stop.size() + 1 : 0;
    return text.find(stop, from) != std::string::npos;
  });
}

TargetGeneration target_generation(const models::State& state, std::shared_ptr<Tokenizer> tokenizer,
                                   int64_t generation_max_length, int64_t generation_num_beams,
                                   int64_t max_target_length) {
  TargetGeneration how;
  how.options = generate::read_settings(state.generation_config, state.config.json(),
                                        (state.origin / "generation_config.json").string());
  GenerationOptions& o = how.options;
  o.num_return_sequences = 1;
  if (generation_num_beams > 0) o.num_beams = generation_num_beams;
  if (o.eos_token_id.empty())
    if (const auto eos = tokenizer->special_id("eos_token")) o.eos_token_id = {*eos};
  how.max_new_tokens = (generation_max_length > 0 ? generation_max_length : max_target_length) - 1;
  o.max_new_tokens = how.max_new_tokens;
  generate::check(o);
  how.tokenizer = std::move(tokenizer);
  return how;
}

std::vector<std::vector<int32_t>> generate_targets(models::State& state, const TargetGeneration& how,
                                                   std::vector<std::vector<int32_t>> sources,
                                                   int64_t first_source) {
  const size_t n = sources.size();
  const std::vector<std::vector<int32_t>> prompts(
      n, {*state.network.encoder->decoder()->decoder_start_token_id()});
  const GenerationOptions& o = how.options;
  generate::SearchHooks hooks;
  hooks.first_prompt = first_source;
  if (!o.stop_strings.empty())
    hooks.stops = [&](const std::vector<int32_t>& tokens) {
      return completes_a_text(*how.tokenizer, tokens, o.stop_strings);
    };
  const auto decoder = generate::make_decoder(state, static_cast<int64_t>(n) * o.num_beams,
                                              how.max_new_tokens + 1, o.use_cache, std::move(sources));
  std::vector<std::vector<int32_t>> targets;
  for (const auto& found :
       generate::search(*decoder, prompts, o, std::vector<int64_t>(n, how.max_new_tokens), hooks))
    targets.emplace_back(found.front().tokens.begin() + 1, found.front().tokens.end());
  return targets;
}

void TargetMetrics::add_text(const std::string& generated, const std::string& target, size_t tokens) {
  texts_.add(generated, target);
  ++num_texts_;
  num_tokens_ += static_cast<int64_t>(tokens);
}

Partial TargetMetrics::partial() const {
  Partial part = TokenAccuracy::partial();
  part.insert(part.end(), {static_cast<double>(num_texts_), static_cast<double>(num_tokens_)});
  const Partial texts = texts_.partial();
  part.insert(part.end(), texts.begin(), texts.end());
  return part;
}

void TargetMetrics::merge(const Partial& part) {
  TokenAccuracy::merge(part);
  num_texts_ += static_cast<int64_t>(part.at(2));
  num_tokens_ += static_cast<int64_t>(part.at(3));
  texts_.merge({part.begin() + 4, part.end()});
}

MetricValues TargetMetrics::values() const {
  MetricValues out = {{"token_accuracy", TokenAccuracy::values().front().second}};
  if (!has_texts_) return out;
  const MetricValues texts = texts_.values();
  out.insert(out.end(), texts.begin(), texts.end());
  out.emplace_back("gen_len", num_texts_ ? static_cast<double>(num_tokens_) / static_cast<double>(num_texts_)
                                         : std::numeric_limits<double>::quiet_NaN());
  return out;
}

}  // namespace graft::tasks
