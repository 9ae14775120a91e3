// graft predict: labels and scores for texts, words for masks, the loss of texts, or texts, streamed as
// jsonl.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/predict_adapters.h"
#include "cli/predict_examples.h"
#include "cli/predict_tokens.h"
#include "cli/prediction_stream.h"
#include "cli/profile.h"
#include "cli/rerank.h"
#include "cli/verbs.h"
#include "graft/error.h"
#include "graft/pipeline.h"
#include "graft/text_generation.h"
#include "tasks/sequence_classification.h"
#include "tasks/task_table.h"
#include "train/inference.h"
#include "train/saved_arguments.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace {

// As the reference: an array of tokens for a text with one mask, an array of such arrays for more masks.
std::string json_line(const std::vector<std::vector<MaskFill>>& masks) {
  Json line = Json::array();
  for (const std::vector<MaskFill>& fills : masks) {
    Json list = Json::array();
    for (const MaskFill& f : fills) {
      list.push_back(
          {{"score", f.score}, {"token", f.token}, {"token_str", f.token_str}, {"sequence", f.sequence}});
    }
    line.push_back(std::move(list));
  }
  return dump(masks.size() == 1 ? line[0] : line);
}

std::string json_line(const TextLoss& t) {
  return dump({{"loss", t.loss}, {"perplexity", t.perplexity}, {"tokens", t.tokens}});
}

struct PredictOptions : InferenceOptions {
  std::vector<std::string> adapters;
  std::string input = "-", output = "-";
  int64_t top_k = 5;
  bool all_scores = false;
  std::string aggregation_strategy = "first";
  TrainingArguments arguments;
};

// Training arguments that a prediction of texts may change. Without them those of training hold.
constexpr const char* kTextArguments[] = {"source_prefix", "generation_max_length", "generation_num_beams"};

Options declare(PredictOptions& o) {
  Options options(
      "predict", "what a model answers to texts, as jsonl: labels, entities, answers, words for masks, texts",
      {"graft predict --model results --input texts.txt",
       "echo 'a fine film' | graft predict --model results",
       "echo 'Angela Merkel was in Paris' | graft predict --model ner --aggregation_strategy first",
       "graft predict --model results --input tickets.csv --text_column body --output labels.jsonl",
       "graft predict --model base --adapter spam=results/spam --adapter topic=results/topic --input "
       "texts.txt",
       "echo 'a fine [MASK]' | graft predict --model bert-base-uncased --top_k 3",
       R"(graft predict --model reranker --input queries.jsonl --top_k 5   # {"query": "...", "candidates": [...]})",
       R"(echo '{"question": "Who?", "context": "Ann did."}' | graft predict --model qa-model)"});
  options.inference(o);
  options.list("adapter", o.adapters,
               "NAME=DIR: adapters over the base --model, each with its own labels, which is loaded once for "
               "all; a line of output for each text and adapter, with the name as \"adapter\"");
  options.text(
      "input", o.input,
      "a text a line, or .csv .tsv .jsonl .json, each also .gz .zst .xz; - = standard input: a text a line, "
      "or rows of json");
  options.text("output", o.output, "jsonl; - = standard output");
  options.flag("return_all_scores", o.all_scores, "the score of every label");
  options.text("aggregation_strategy", o.aggregation_strategy,
               "of a model of tokens: none, simple, first, average or max, as in transformers' pipeline");
  options.training_argument("stride", o.arguments);
  options.integer("top_k", o.top_k,
                  "tokens for each mask, or candidates for each query (default: all); also shows that many "
                  "answers for each question",
                  {1, 1e6});
  for (const char* name : kTextArguments) options.training_argument(name, o.arguments);
  for (const char* name : kQuestionArguments) options.training_argument(name, o.arguments);
  return options;
}

// Refuses options that have no effect for the model.
void check_options(const Options& options, const PredictOptions& o, const tasks::TaskEntry& task,
                   const std::filesystem::path& folder) {
  if (task.answer == tasks::Answer::embeddings) train::fail_without_head(folder, train::config_of(folder));
  if (task.answer == tasks::Answer::none)
    throw UsageError(
        fmt::format("{}: graft predict has no answer of a {} model", folder.string(), task.head->task),
        "fine-tune it first: graft train");
  const bool masks = task.answer == tasks::Answer::mask_fills, labels = task.answer == tasks::Answer::labels,
             texts = task.answer == tasks::Answer::texts, spans = task.answer == tasks::Answer::spans;
  for (const char* name : kQuestionArguments)
    if (!spans && options.given(name))
      throw UsageError(
          fmt::format("--{} is refused for a {} model: it reads no contexts", name, task.head->task));
  for (const char* name : kTextArguments)
    if (!texts && options.given(name))
      throw UsageError(
          fmt::format("--{} is refused for a {} model: its answer is no text", name, task.head->task));
  if (!texts && options.given("source_lang"))
    throw UsageError(
        fmt::format("--source_lang is refused for a {} model: its answer is no text", task.head->task));
  for (const auto& [option, reason] :
       {std::pair{"return_all_scores", "it is for models that label whole texts"},
        {"text_pair_column", "it reads single texts"}}) {
    if ((texts || spans) && std::string_view(option) == "text_pair_column") continue;
    if (!labels && options.given(option))
      throw UsageError(fmt::format("--{} is refused for a {} model: {}", option, task.head->task, reason));
  }
  if (!masks && !spans && !labels && options.given("top_k"))
    throw UsageError("--top_k is refused: it is for models that fill masks or answer questions");
  for (const char* name : {"aggregation_strategy", "stride"})
    if (task.answer != tasks::Answer::entities && options.given(name))
      throw UsageError(
          fmt::format("--{} is refused for a {} model: it labels no words", name, task.head->task));
  for (const char* name : {"tag_scheme", "repair_tags"})
    if (options.given(name)) throw UsageError(fmt::format("--{} is refused: prediction reads no tags", name));
  if (options.given("label_column"))
    say(fmt::format("--label_column {} has no effect here: prediction reads no labels",
                    o.columns.label_column));
  for (const auto& [name, value] :
       {std::pair{"target_column", o.columns.target_column}, {"target_lang", o.columns.target_lang}})
    if (options.given(name))
      say(fmt::format("--{} {} has no effect here: prediction reads no targets", name, value));
}

}  // namespace

int predict(int argc, char** argv) {
  PredictOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  refuse_same_file(o.input, o.output);
  PipelineOptions pipeline_options;
  pipeline_options.batch_size = static_cast<int>(o.batch_size);
  pipeline_options.max_seq_length = static_cast<int>(o.max_seq_length);
  pipeline_options.bf16 = o.bf16;
  if (!o.load_lang_adapter.empty()) pipeline_options.load_lang_adapter = find_model(o.load_lang_adapter);
  const std::filesystem::path folder = find_model(o.model);
  const tasks::TaskEntry& task = o.adapters.empty() ? tasks::find_task(train::trained_task(folder))
                                                    : tasks::sequence_classification_task();
  check_options(options, o, task, folder);
  const train::Precision precision = train::inference_precision(o.bf16, train::saved_arguments(folder));
  const auto batch_size = static_cast<size_t>(o.batch_size);
  Profile profile(o.profile);
  const auto on_loaded = [&](const Model& model) {
    say_loaded(model, o.model, precision);
    say_unused(model.load_report());
  };
  const auto answer_rows = [&](const auto& pipeline, std::unique_ptr<data::RowReader> rows, bool reads_pairs,
                               const auto& lines_of) {
    PredictionStream stream(std::move(rows), o.input, o.columns, o.output, batch_size);
    if (stream.has_pairs() && !reads_pairs)
      throw UsageError("pairs of texts are for classification; name one --text_column");
    stream.run(lines_of);
    say_truncated(pipeline.num_truncated());
  };
  const auto answer = [&](const auto& pipeline, bool reads_pairs, const auto& lines_of) {
    on_loaded(pipeline.model());
    answer_rows(pipeline, data::open_rows(o.input), reads_pairs, lines_of);
  };
  const ExamplesToPredict examples = {folder, o.input, o.output, o.columns, pipeline_options};
  if (!o.adapters.empty()) {
    if (options.given("top_k"))
      throw UsageError("--top_k is refused with --adapter: --return_all_scores shows all labels");
    predict_with_adapters(
        {folder, o.model, o.adapters, o.input, o.output, o.columns, pipeline_options, o.all_scores});
  } else if (task.answer == tasks::Answer::entities) {
    TokenClassificationOptions token_options;
    static_cast<PipelineOptions&>(token_options) = pipeline_options;
    token_options.aggregation = parse_aggregation(o.aggregation_strategy);
    token_options.stride = o.arguments.stride.value_or(-1);
    const TokenClassificationPipeline pipeline(folder, token_options);
    on_loaded(pipeline.model());
    predict_tokens(pipeline, o.input, o.columns, o.output, batch_size);
    if (pipeline.num_windowed() > 0)
      say(fmt::format("{} texts are longer than max_seq_length and were read in windows",
                      pipeline.num_windowed()));
  } else if (task.answer == tasks::Answer::spans) {
    predict_answers(examples, options, o.arguments, options.given("top_k") ? o.top_k : 0, on_loaded);
  } else if (task.answer == tasks::Answer::choices) {
    predict_choices(examples, on_loaded);
  } else if (task.answer == tasks::Answer::mask_fills) {
    const FillMaskPipeline pipeline(folder, pipeline_options);
    answer(pipeline, false, [&](const Texts& texts, const Texts&) {
      std::string lines;
      for (const auto& filled : pipeline.predict(texts, static_cast<int>(o.top_k)))
        lines += json_line(filled);
      return lines;
    });
  } else if (task.answer == tasks::Answer::text_scores) {
    const TextGenerationPipeline pipeline(folder, pipeline_options);
    answer(pipeline, false, [&](const Texts& texts, const Texts&) {
      std::string lines;
      for (const TextLoss& loss : pipeline.losses(texts)) lines += json_line(loss);
      return lines;
    });
  } else if (task.answer == tasks::Answer::texts) {
    if (options.given("source_prefix")) pipeline_options.source_prefix = o.arguments.source_prefix;
    const TextGenerationPipeline pipeline(folder, pipeline_options);
    GenerationOptions settings = pipeline.generation_options();
    settings.num_return_sequences = 1;
    if (o.arguments.generation_num_beams > 0) settings.num_beams = o.arguments.generation_num_beams;
    if (o.arguments.generation_max_length > 0)
      settings.max_new_tokens = o.arguments.generation_max_length - 1;  // the decoder's first token counts
    o.columns.text_to_text = true;
    answer(pipeline, true, [&](const Texts& texts, const Texts& pairs) {
      std::string lines;
      for (const auto& found : pipeline.generate(texts, settings, {}, pairs))
        lines += dump({{"generated_text", found.front().text}});
      return lines;
    });
  } else {
    const Pipeline pipeline(folder, pipeline_options);
    on_loaded(pipeline.model());
    auto rows = data::open_rows(o.input);
    if (has_candidates(*rows)) {
      rerank(pipeline, *rows, data::name_of(o.input), o.output, options.given("top_k") ? o.top_k : 0);
      say_truncated(pipeline.num_truncated());
    } else {
      if (options.given("top_k"))
        throw UsageError(
            "--top_k is refused: it is for models that fill masks, and for rows with a query and "
            "candidates; --return_all_scores shows all labels");
      answer_rows(pipeline, std::move(rows), true, [&](const Texts& texts, const Texts& pairs) {
        std::string lines;
        for (const Prediction& p : pipeline.predict(texts, pairs))
          lines += dump(prediction_json(p, o.all_scores));
        return lines;
      });
    }
  }
  profile.stop();
  if (profile.on()) profile.print(stderr);
  return 0;
}

}  // namespace graft::cli
