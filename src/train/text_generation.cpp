// The text-generation pipeline: prompts to ids, the search, ids to text.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "generate/causal_decoder.h"
#include "generate/search.h"
#include "generate/settings.h"
#include "graft/text_generation.h"
#include "models/decoder.h"
#include "models/registry.h"
#include "tasks/causal_lm.h"
#include "tasks/generated_text.h"
#include "tasks/vocabulary.h"
#include "train/inference.h"
#include "train/trained_model.h"

namespace graft {

namespace {

bool generates(const models::Family& family) {
  return std::any_of(family.heads.begin(), family.heads.end(),
                     [](const models::FamilyHead& head) { return head.kind->generates(); });
}

// The task with which the folder's family generates; the error for another head asks for it.
std::string generating_task(const std::filesystem::path& folder) {
  const auto config = train::config_of(folder);
  for (const models::FamilyHead& head : models::find_family(config).heads)
    if (head.kind->generates()) return head.kind->task;
  std::string types;
  for (const models::Family* family : models::families())
    if (generates(*family)) types += (types.empty() ? "" : ", ") + std::string(family->model_type);
  fail_with(fmt::format("use a model that does: {}", types),
            "{}: a model of model_type \"{}\" generates no texts", config.origin(), config.model_type());
}

}  // namespace

struct TextGenerationPipeline::Parts {
  Parts(const std::filesystem::path& folder, const PipelineOptions& options)
      : inference(folder, generating_task(folder), options) {
    const models::State& state = inference.model().state();
    if (state.head->reads_target) start = state.network.encoder->decoder()->decoder_start_token_id();
    settings = generate::read_settings(state.generation_config, state.config.json(),
                                       (folder / "generation_config.json").string());
    if (start) follow_training(folder, options);
  }
  train::Inference inference;
  GenerationOptions settings;
  std::optional<int32_t>
      start;  // of an encoder-decoder, whose prompts are sources: the first token of a target

  std::string prefix;  // of its sources

  // An encoder-decoder generates as it was evaluated in training.
  void follow_training(const std::filesystem::path& folder, const PipelineOptions& options) {
    const TrainingArguments saved = train::saved_arguments(folder);
    prefix = options.source_prefix.value_or(saved.source_prefix);
    if (settings.eos_token_id.empty())
      if (const auto eos = inference.tokenizer().special_id("eos_token")) settings.eos_token_id = {*eos};
    if (!path_exists(folder / "training_args.json")) return;
    if (saved.generation_num_beams > 0) settings.num_beams = saved.generation_num_beams;
    settings.max_new_tokens =
        (saved.generation_max_length > 0 ? saved.generation_max_length : saved.max_target_length) - 1;
  }

  // The ids of prompts[i]; a prompt without tokens begins with bos_token.
  std::vector<int32_t> encode(const std::vector<std::string>& prompts, const std::vector<std::string>& pairs,
                              size_t i, const GenerationOptions& o) const {
    if (start) return inference.encode(prompts, pairs, i).input_ids;
    EncodeOptions encode;
    encode.ids_only = true;
    std::vector<int32_t> ids = inference.tokenizer().encode(prompts[i], encode).input_ids;
    if (ids.empty() && o.bos_token_id) ids.push_back(*o.bos_token_id);
    if (ids.empty())
      fail_with("write a prompt: the model has no bos_token with which a text begins", "the prompt is empty");
    tasks::check_ids(ids.data(), ids.size(), inference.model(), inference.tokenizer(), "the prompt");
    return ids;
  }

  // New tokens that the settings and the model's positions leave for a prompt.
  int64_t new_tokens(size_t prompt, const GenerationOptions& o) const {
    constexpr int64_t kUsual = 20;  // the reference's, where nothing is set
    const auto length = static_cast<int64_t>(prompt);
    int64_t n = o.max_new_tokens.value_or(o.max_length ? *o.max_length - length : kUsual);
    if (n < 1)
      fail_with("use --max_new_tokens, which does not count the prompt",
                "the prompt has {} tokens and max_length is {}", length, o.max_length.value_or(0));
    const int64_t positions = inference.model().max_positions();
    if (positions > 0 && length >= positions)
      fail_with("shorten the prompt",
                "the prompt has {} tokens; the model has {} positions, which leaves none for a new token",
                length, positions);
    if (positions > 0 && length + n > positions) {
      log_warning("a prompt of {} tokens leaves {} of the {} new tokens: the model has {} positions", length,
                  positions - length, n, positions);
      n = positions - length;
    }
    return n;
  }

  std::string decode(const std::vector<int32_t>& ids) const { return inference.tokenizer().decode(ids); }

  GeneratedText to_text(const generate::Generated& g) const {
    const auto middle = g.tokens.begin() + static_cast<std::ptrdiff_t>(g.prompt_length);
    GeneratedText out;
    out.tokens.assign(middle, g.tokens.end());
    out.text = decode(g.tokens);
    const std::string prompt = decode({g.tokens.begin(), middle});
    out.continuation = out.text.starts_with(prompt) ? out.text.substr(prompt.size()) : decode(out.tokens);
    out.score = g.score;
    return out;
  }
};

namespace {

// The end of what can be shown: bytes of a character that is not complete yet decode to U+FFFD.
size_t complete_part(const std::string& text) {
  static const std::string kReplacement = "\xEF\xBF\xBD";
  return text.ends_with(kReplacement) ? text.size() - kReplacement.size() : text.size();
}

}  // namespace

TextGenerationPipeline::TextGenerationPipeline(const std::filesystem::path& folder,
                                               const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
} catch (...) {
  rethrow_as_error();
}
TextGenerationPipeline::~TextGenerationPipeline() = default;
TextGenerationPipeline::TextGenerationPipeline(TextGenerationPipeline&&) noexcept = default;
const GenerationOptions& TextGenerationPipeline::generation_options() const { return parts_->settings; }
const Model& TextGenerationPipeline::model() const { return parts_->inference.model(); }
int64_t TextGenerationPipeline::num_truncated() const { return parts_->inference.num_truncated(); }

std::vector<std::vector<GeneratedText>> TextGenerationPipeline::generate(
    const std::vector<std::string>& prompts, const GenerationOptions& options,
    const std::function<void(const std::string&)>& on_text, const std::vector<std::string>& pairs) const try {
  const Parts& p = *parts_;
  if (!pairs.empty() && (!p.start || pairs.size() != prompts.size()))
    fail("{} prompts but {} second texts, which only an encoder-decoder reads", prompts.size(), pairs.size());
  std::vector<std::string> texts = prompts;
  for (std::string& text : texts) text.insert(0, p.prefix);
  generate::check(options);
  if (on_text && (prompts.size() != 1 || options.num_beams > 1 || options.num_return_sequences > 1))
    throw UsageError("text is streamed for one prompt with one sequence and without beams");
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  const auto batch = static_cast<size_t>(p.inference.options().batch_size);
  std::vector<std::vector<GeneratedText>> out;
  for (size_t begin = 0; begin < prompts.size(); begin += batch) {
    std::vector<std::vector<int32_t>> ids, sources;
    std::vector<int64_t> new_tokens;
    int64_t longest = 0;
    for (size_t i = begin; i < std::min(prompts.size(), begin + batch); ++i) {
      try {
        ids.push_back(p.encode(texts, pairs, i, options));
        if (p.start) {
          sources.push_back(std::move(ids.back()));
          ids.back() = {*p.start};
        }
        new_tokens.push_back(p.new_tokens(ids.back().size(), options));
      } catch (const train::TextError&) {
        throw;
      } catch (const Error& e) {
        throw train::TextError(i, prompts.size(), e);
      }
      longest = std::max(longest, static_cast<int64_t>(ids.back().size()) + new_tokens.back());
    }
    generate::SearchHooks hooks;
    hooks.first_prompt = options.first_prompt + static_cast<int64_t>(begin);
    if (!options.stop_strings.empty())
      hooks.stops = [&](const std::vector<int32_t>& tokens) {
        return tasks::completes_a_text(p.inference.tokenizer(), tokens, options.stop_strings);
      };
    std::vector<int32_t> seen = ids.front();
    size_t shown = 0;
    const auto show = [&](bool all) {
      const std::string text = p.decode(seen);
      const size_t end = all ? text.size() : complete_part(text);
      if (end > shown) on_text(text.substr(shown, end - shown));
      shown = std::max(shown, end);
    };
    if (on_text) {
      show(false);
      hooks.on_token = [&](size_t, int32_t token) {
        seen.push_back(token);
        show(false);
      };
    }
    const auto sequences =
        static_cast<int64_t>(ids.size()) * std::max(options.num_beams, options.num_return_sequences);
    const auto decoder =
        generate::make_decoder(p.inference.model().state(), sequences, longest, options.use_cache, sources);
    for (const auto& found : generate::search(*decoder, ids, options, new_tokens, hooks)) {
      out.emplace_back();
      for (const generate::Generated& g : found) out.back().push_back(p.to_text(g));
    }
    if (on_text) show(true);
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

std::vector<TextLoss> TextGenerationPipeline::losses(const std::vector<std::string>& texts) const try {
  const Parts& p = *parts_;
  if (p.start) fail("an encoder-decoder scores pairs of a source and a target, not texts");
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  std::vector<TextLoss> out;
  const tasks::CausalLm task;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Encoding e = p.inference.encode(texts, {}, i);
    data::RaggedBatch batch;
    batch.begin_example(static_cast<int64_t>(i));
    tasks::append_predicted(batch, e.input_ids.data(), static_cast<int32_t>(e.input_ids.size()), 0);
    TextLoss one{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(),
                 batch.rows()};
    if (batch.rows() > 1) {
      one.loss = p.inference.loss(task, batch) / task.loss_terms(batch);
      one.perplexity = std::exp(one.loss);
    }
    out.push_back(one);
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
