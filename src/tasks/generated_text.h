// What an encoder-decoder writes for sources, and its metrics (the reference's predict_with_generate).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graft/generation_options.h"
#include "graft/tokenizer.h"
#include "models/state.h"
#include "tasks/language_model.h"
#include "tasks/text_metrics.h"

namespace graft::tasks {

// Whether the last of the tokens completes one of the texts.
bool completes_a_text(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                      const std::vector<std::string>& texts);

// How targets are generated.
struct TargetGeneration {
  std::shared_ptr<Tokenizer> tokenizer{};  // null: none are generated
  GenerationOptions options{};
  int64_t max_new_tokens = 0;
};

// The settings of the model's generation_config.json with the arguments of training in their place, 0 = those
// of the model (beams) and the length of training (tokens, the one with which a decoder begins included).
TargetGeneration target_generation(const models::State& state, std::shared_ptr<Tokenizer> tokenizer,
                                   int64_t generation_max_length, int64_t generation_num_beams,
                                   int64_t max_target_length);

// The tokens of the best target for each source, the first (decoder_start_token_id) left out. first_source:
// which source's random numbers source 0 has.
std::vector<std::vector<int32_t>> generate_targets(models::State& state, const TargetGeneration& how,
                                                   std::vector<std::vector<int32_t>> sources,
                                                   int64_t first_source);

// token_accuracy over the tokens of the targets; NaN without one. With texts also those of TextMetrics, and
// gen_len, the mean number of generated tokens.
class TargetMetrics : public TokenAccuracy {
 public:
  explicit TargetMetrics(bool texts) : has_texts_(texts) {}
  void add_text(const std::string& generated, const std::string& target, size_t tokens);
  Partial partial() const override;
  void merge(const Partial& part) override;
  MetricValues values() const override;

 private:
  bool has_texts_;
  TextMetrics texts_;
  int64_t num_texts_ = 0, num_tokens_ = 0;
};

}  // namespace graft::tasks
