// graft generate: continues texts, streamed to standard output, or as jsonl.
#include <fmt/format.h>

#include <filesystem>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/example_reader.h"
#include "graft/error.h"
#include "graft/text_generation.h"
#include "train/inference.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

// The settings as they were given; those that were not come from generation_config.json.
struct GenerateOptions {
  std::string model, prompt, input, output = "-", text_column, early_stopping;
  std::string temperature, top_p, typical_p, repetition_penalty, length_penalty;
  std::vector<std::string> stop_strings;
  int64_t max_new_tokens = 20, max_length = 0, min_length = 0, min_new_tokens = 0, num_beams = 1,
          num_return_sequences = 1, top_k = 50, no_repeat_ngram_size = 0, seed = 42, batch_size = 8;
  bool do_sample = false, use_cache = true;
  std::optional<bool> bf16;
};

Options declare(GenerateOptions& o) {
  Options options("generate", "continues texts with a causal language model",
                  {"graft generate --model gpt2 --prompt 'Once upon a time' --max_new_tokens 40",
                   "graft generate --model results --prompt 'The' --do_sample true --top_p 0.9 --seed 7",
                   "graft generate --model results --input prompts.txt --num_beams 4 --output texts.jsonl"});
  const train::Range count{0, 1e6}, positive{1, 1e6};
  options.text("model", o.model, "checkpoint: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("prompt", o.prompt, "a text to continue; the result is streamed to standard output");
  options.text("input", o.input,
               "prompts, one a line (- = standard input), or .csv .tsv .jsonl .json; the result is jsonl");
  options.text("output", o.output, "jsonl; - = standard output; with --input");
  options.text("text_column", o.text_column, "column of --input that holds the prompts");
  options.integer("max_new_tokens", o.max_new_tokens, "tokens that are added at most", positive);
  options.integer("max_length", o.max_length, "tokens of prompt and continuation at most; 0 = no limit",
                  count);
  options.integer("min_length", o.min_length, "tokens of prompt and continuation at least", count);
  options.integer("min_new_tokens", o.min_new_tokens, "tokens that are added at least", count);
  options.list("stop_strings", o.stop_strings, "texts that end a continuation");
  options.integer("num_beams", o.num_beams, "beams of a beam search; 1 = none", positive);
  options.text("length_penalty", o.length_penalty,
               "beams: score = sum of log-probabilities / tokens^length_penalty");
  options.text("early_stopping", o.early_stopping, "beams: true, false (a heuristic) or never");
  options.integer("num_return_sequences", o.num_return_sequences, "continuations of each prompt", positive);
  options.flag("do_sample", o.do_sample, "draw tokens instead of choosing the most probable one");
  options.text("temperature", o.temperature, "sampling: below 1 sharpens the probabilities");
  options.integer("top_k", o.top_k, "sampling: from the k most probable tokens; 0 = all", count);
  options.text("top_p", o.top_p, "sampling: from the fewest tokens with this probability together");
  options.text("typical_p", o.typical_p,
               "sampling: from the most typical tokens with this probability together");
  options.integer("seed", o.seed, "sampling: of the random numbers", {0, 9e15});
  options.text("repetition_penalty", o.repetition_penalty, "above 1 makes tokens of the text less probable");
  options.integer("no_repeat_ngram_size", o.no_repeat_ngram_size,
                  "no n-gram of this size twice; 0 = may repeat", count);
  options.integer("batch_size", o.batch_size, "prompts in one pass; the results do not depend on it",
                  positive);
  options.flag("use_cache", o.use_cache, "keep keys and values; the tokens are the same without, and slower");
  options.precision(o.bf16, "as the model was trained, else fp32");
  options.threads();
  return options;
}

EarlyStopping parse_early_stopping(const std::string& value) {
  if (value == "never") return EarlyStopping::never;
  return train::parse_switch("early_stopping", value) ? EarlyStopping::always : EarlyStopping::heuristic;
}

// The folder's settings, changed by what was given.
GenerationOptions settings_of(const Options& options, const GenerateOptions& o, GenerationOptions s) {
  const auto take = [&](const char* name, auto& to, const auto& value) {
    if (options.given(name)) to = value;
  };
  const auto real = [&](const char* name, double& to, const std::string& value) {
    if (options.given(name)) to = train::parse_real(name, value);
  };
  if (options.given("max_length") && !options.given("max_new_tokens")) s.max_new_tokens.reset();
  take("max_new_tokens", s.max_new_tokens, std::optional<int64_t>(o.max_new_tokens));
  take("max_length", s.max_length, o.max_length > 0 ? std::optional<int64_t>(o.max_length) : std::nullopt);
  take("min_length", s.min_length, o.min_length);
  take("min_new_tokens", s.min_new_tokens, o.min_new_tokens);
  take("stop_strings", s.stop_strings, o.stop_strings);
  take("num_beams", s.num_beams, o.num_beams);
  real("length_penalty", s.length_penalty, o.length_penalty);
  if (options.given("early_stopping")) s.early_stopping = parse_early_stopping(o.early_stopping);
  take("num_return_sequences", s.num_return_sequences, o.num_return_sequences);
  take("do_sample", s.do_sample, o.do_sample);
  real("temperature", s.temperature, o.temperature);
  take("top_k", s.top_k, o.top_k);
  real("top_p", s.top_p, o.top_p);
  real("typical_p", s.typical_p, o.typical_p);
  take("seed", s.seed, static_cast<uint64_t>(o.seed));
  real("repetition_penalty", s.repetition_penalty, o.repetition_penalty);
  take("no_repeat_ngram_size", s.no_repeat_ngram_size, o.no_repeat_ngram_size);
  take("use_cache", s.use_cache, o.use_cache);
  return s;
}

// Refuses options that would have no effect.
void check_options(const Options& options, const GenerationOptions& s) {
  if (options.given("prompt") == options.given("input"))
    throw UsageError("give --prompt or --input, one of the two", "graft generate --help shows examples");
  for (const char* name : {"temperature", "top_k", "top_p", "typical_p", "seed"})
    if (options.given(name) && !s.do_sample)
      throw UsageError(fmt::format("--{} is refused: it has an effect with --do_sample true only", name));
  for (const char* name : {"length_penalty", "early_stopping"})
    if (options.given(name) && s.num_beams < 2)
      throw UsageError(fmt::format("--{} is refused: it has an effect with --num_beams 2 and more", name));
  for (const char* name : {"output", "text_column", "batch_size"})
    if (options.given(name) && options.given("prompt"))
      throw UsageError(fmt::format("--{} is refused with --prompt: it is for --input", name));
}

void continue_prompt(const TextGenerationPipeline& pipeline, const std::string& prompt,
                     const GenerationOptions& s) {
  OutputStream out("-");
  if (s.num_beams == 1 && s.num_return_sequences == 1) {
    pipeline.generate({prompt}, s, [&](const std::string& piece) {
      out.write(piece);
      out.flush();
    });
    out.write("\n");
  } else {
    const auto found = pipeline.generate({prompt}, s);
    for (const GeneratedText& text : found.front()) out.write(text.text + "\n");
  }
  out.flush();
}

void continue_file(const TextGenerationPipeline& pipeline, const GenerateOptions& o,
                   const GenerationOptions& s) {
  DatasetOptions columns;
  columns.text_column = o.text_column;
  columns.ignore_label = true;
  data::ExampleReader reader(o.input, columns);
  if (reader.has_pairs()) throw UsageError("prompts are single texts; name one --text_column");
  OutputStream out(o.output);
  std::vector<std::string> prompts;
  std::vector<int64_t> lines;
  const auto answer = [&] {
    try {
      size_t i = 0;
      for (const auto& texts : pipeline.generate(prompts, s)) {
        for (const GeneratedText& text : texts) {
          Json line = {{"prompt", prompts[i]}, {"generated_text", text.text}};
          if (s.num_beams > 1) line["score"] = text.score;
          out.write(line.dump() + "\n");
        }
        ++i;
      }
    } catch (const train::TextError& e) {
      throw Error(fmt::format("{}: line {}: {}", data::name_of(o.input), lines[e.index()], e.reason()),
                  e.hint());
    }
    out.flush();
    prompts.clear();
    lines.clear();
  };
  for (Example row; reader.next(row);) {
    prompts.push_back(std::move(row.text));
    lines.push_back(row.line);
    if (prompts.size() == static_cast<size_t>(o.batch_size) || !reader.has_buffered_row()) answer();
  }
  if (!prompts.empty()) answer();
}

}  // namespace

int generate(int argc, char** argv) {
  GenerateOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  if (!o.input.empty()) refuse_same_file(o.input, o.output);
  const std::filesystem::path folder = find_model(o.model);
  PipelineOptions pipeline_options;
  pipeline_options.batch_size = static_cast<int>(o.batch_size);
  pipeline_options.bf16 = o.bf16;
  const TextGenerationPipeline pipeline(folder, pipeline_options);
  const GenerationOptions settings = settings_of(options, o, pipeline.generation_options());
  check_options(options, settings);
  say_loaded(pipeline.model(), o.model, train::inference_precision(o.bf16, train::saved_arguments(folder)));
  say_unused(pipeline.model().load_report());
  if (options.given("prompt"))
    continue_prompt(pipeline, o.prompt, settings);
  else
    continue_file(pipeline, o, settings);
  return 0;
}

}  // namespace graft::cli
