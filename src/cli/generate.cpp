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
#include "generate/settings.h"
#include "generate/settings_table.h"
#include "graft/error.h"
#include "graft/text_generation.h"
#include "train/inference.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

// The settings as they were given; those that were not come from generation_config.json.
struct GenerateOptions {
  std::string model, prompt, input, output = "-", text_column;
  int64_t batch_size = 8;
  std::optional<bool> bf16;
  GenerationOptions settings;
};

constexpr double kMostTokens = 1e6, kLargestSeed = 9e15;

EarlyStopping parse_early_stopping(const std::string& value) {
  if (value == "never") return EarlyStopping::never;
  if (value == "true" || value == "false")
    return value == "true" ? EarlyStopping::always : EarlyStopping::heuristic;
  throw UsageError(fmt::format("--early_stopping {}: true, false or never was expected", value));
}

int64_t integer_within(const char* name, const std::string& value, const train::Range& range) {
  const int64_t n = train::parse_integer(name, value, range);
  train::check_range(name, static_cast<double>(n), range);
  return n;
}

// The option of one setting.
void declare_setting(Options& options, const generate::Setting& s, GenerationOptions& settings) {
  const train::Range tokens{static_cast<double>(s.min), kMostTokens};
  const auto declare = [&](auto member) {
    auto& to = settings.*member;
    using T = std::decay_t<decltype(to)>;
    if constexpr (std::is_same_v<T, int64_t>)
      options.integer(s.name, to, s.help, tokens);
    else if constexpr (std::is_same_v<T, bool>)
      options.flag(s.name, to, s.help);
    else if constexpr (std::is_same_v<T, generate::Texts>)
      options.list(s.name, to, s.help);
    else if constexpr (std::is_same_v<T, generate::Limit>)
      options.value(s.name, s.help, "", [&to, tokens, name = s.name](const std::string& value) {
        to = integer_within(name, value, tokens);
      });
    else if constexpr (std::is_same_v<T, uint64_t>)
      options.value(s.name, s.help, fmt::format("{}", to), [&to, name = s.name](const std::string& value) {
        to = static_cast<uint64_t>(integer_within(name, value, {0, kLargestSeed}));
      });
    else if constexpr (std::is_same_v<T, double>)
      options.value(s.name, s.help, fmt::format("{}", to),
                    [&to, name = s.name](const std::string& value) { to = train::parse_real(name, value); });
    else if constexpr (std::is_same_v<T, EarlyStopping>)
      options.value(s.name, s.help, "false",
                    [&to](const std::string& value) { to = parse_early_stopping(value); });
  };
  if (s.help) std::visit(declare, s.member);
}

Options declare(GenerateOptions& o) {
  Options options(
      "generate",
      "continues texts; settings that are not given are those of the model's generation_config.json",
      {"graft generate --model gpt2 --prompt 'Once upon a time' --max_new_tokens 40",
       "graft generate --model results --prompt 'The' --do_sample true --top_p 0.9 --seed 7",
       "graft generate --model results --input prompts.txt --num_beams 4 --output texts.jsonl"});
  options.text("model", o.model, "checkpoint: a folder, or ORG/NAME[@revision] on the hub", true);
  options.any_text("prompt", o.prompt, "a text to continue; the result is streamed to standard output");
  options.text("input", o.input,
               "prompts, one a line (- = standard input), or .csv .tsv .jsonl .json; the result is jsonl");
  options.text("output", o.output, "jsonl; - = standard output; with --input");
  options.text("text_column", o.text_column, "column of --input that holds the prompts");
  options.integer("batch_size", o.batch_size, "prompts in one pass; the results do not depend on it",
                  {1, kMostTokens});
  for (const generate::Setting& s : generate::settings_table()) declare_setting(options, s, o.settings);
  options.precision(o.bf16, "as the model was trained, else fp32");
  options.threads();
  return options;
}

// The folder's settings, changed by what was given.
GenerationOptions settings_of(const Options& options, const GenerateOptions& o, GenerationOptions out) {
  generate::prefer_max_length(out, options.given("max_length"), options.given("max_new_tokens"));
  for (const generate::Setting& s : generate::settings_table()) {
    if (options.given(s.name)) std::visit([&](auto member) { out.*member = o.settings.*member; }, s.member);
  }
  return out;
}

// Refuses options that would have no effect.
void check_options(const Options& options, const GenerationOptions& settings) {
  if (options.given("prompt") == options.given("input"))
    throw UsageError("give --prompt or --input, one of the two", "graft generate --help shows examples");
  for (const generate::Setting& s : generate::settings_table()) {
    if (!s.help || !options.given(s.name)) continue;
    if (s.needs == generate::Needs::sampling && !settings.do_sample)
      throw UsageError(fmt::format("--{} is refused: it has an effect with --do_sample true only", s.name));
    if (s.needs == generate::Needs::beams && settings.num_beams < 2)
      throw UsageError(fmt::format("--{} is refused: it has an effect with --num_beams 2 and more", s.name));
  }
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

void continue_file(const TextGenerationPipeline& pipeline, const GenerateOptions& o, GenerationOptions s) {
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
    s.first_prompt += static_cast<int64_t>(prompts.size());
    prompts.clear();
    lines.clear();
  };
  for (Example row; reader.next(row);) {
    prompts.push_back(std::move(row.text));
    lines.push_back(row.line);
    if (prompts.size() == static_cast<size_t>(o.batch_size) || !reader.has_buffered_row()) answer();
  }
  if (!prompts.empty()) answer();
  out.finish();
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
