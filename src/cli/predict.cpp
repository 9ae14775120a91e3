// graft predict: labels and scores for texts, or words for masks, streamed as jsonl.
#include <fmt/format.h>

#include <functional>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "graft/error.h"
#include "graft/pipeline.h"
#include "models/registry.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

using Texts = std::vector<std::string>;

std::string dump(const Json& line) { return line.dump() + "\n"; }

std::string json_line(const Prediction& p, bool all_scores) {
  Json line = {{"label", p.label}, {"score", p.score}};
  if (all_scores) {
    Json scores = Json::object();
    for (const LabelScore& s : p.scores) scores[s.label] = s.score;
    line["scores"] = std::move(scores);
  }
  return dump(line);
}

// An array of tokens for a text with one mask, an array of such arrays for a text with more: as the
// reference.
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

// Hands texts (and their pairs) to `answer`, a batch at a time.
void read_texts(const std::string& input, DatasetOptions columns, size_t batch_size,
                const std::function<void(const Texts& texts, const Texts& pairs)>& answer) {
  Texts texts, pairs;
  const auto hand_over = [&] {
    answer(texts, pairs);
    texts.clear();
    pairs.clear();
  };
  if (input == "-") {
    data::LineReader lines(input);
    // Whole batches of what has come, and an answer to all of it before waiting for more.
    for (std::string line; lines.next(line);) {
      texts.push_back(line);
      if (texts.size() == batch_size || !lines.has_buffered_line()) hand_over();
    }
  } else {
    columns.ignore_label = true;
    const Dataset dataset = Dataset::from_file(input, columns);
    for (const Example& e : dataset.examples()) {
      texts.push_back(e.text);
      if (dataset.has_pairs()) pairs.push_back(e.text_pair);
      if (texts.size() == batch_size) hand_over();
    }
  }
  if (!texts.empty()) hand_over();
}

void say_truncated(int64_t count) {
  if (count > 0) say(fmt::format("warning: {} texts were cut at max_seq_length", count));
}

}  // namespace

int predict(int argc, char** argv) {
  std::string name, input = "-", output = "-";
  DatasetOptions columns;
  int64_t batch_size = 32, max_seq_length = 0, top_k = 5;
  bool all_scores = false, show_profile = false;
  Options options(
      "predict", "labels and scores for texts, or words for masks, as jsonl",
      {"graft predict --model results --input texts.txt",
       "echo 'a fine film' | graft predict --model results",
       "graft predict --model results --input tickets.csv --text_column body --output labels.jsonl",
       "echo 'a fine [MASK]' | graft predict --model bert-base-uncased --top_k 3"});
  options.text("model", name, "fine-tuned or masked-lm model: a folder, or ORG/NAME[@revision] on the hub",
               true);
  options.text("input", input,
               "a text a line (- = standard input), or .csv .tsv .jsonl .json, each also .gz .zst .xz");
  options.text("output", output, "jsonl; - = standard output");
  options.columns(columns);
  options.integer("per_device_eval_batch_size", batch_size, "texts in a batch; results do not depend on it");
  options.integer("max_seq_length", max_seq_length, "tokens per text; default: as in training");
  options.flag("return_all_scores", all_scores, "the score of every label");
  options.integer("top_k", top_k, "masked-lm: tokens for each mask");
  options.flag("profile", show_profile, "also show, on stderr, time, rates and share of each operation");
  if (!options.parse(argc, argv, 2)) return 0;
  if (batch_size < 1) throw UsageError("--per_device_eval_batch_size must be at least 1");
  if (top_k < 1) throw UsageError("--top_k must be at least 1");

  PipelineOptions pipeline_options;
  pipeline_options.batch_size = static_cast<int>(batch_size);
  pipeline_options.max_seq_length = static_cast<int>(max_seq_length);
  const std::filesystem::path folder = find_model(name);
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  const bool masks = models::task_of_config(config) == "masked-lm";
  for (const char* option : {"return_all_scores", "text_pair_column"}) {
    if (masks && options.given(option))
      throw UsageError(fmt::format("--{} is refused for a masked-lm model: it has no labels", option));
  }
  if (!masks && options.given("top_k"))
    throw UsageError("--top_k is refused: it is for masked-lm models; --return_all_scores shows all labels");
  Profile profile(show_profile);
  if (masks) {
    const FillMaskPipeline pipeline(folder, pipeline_options);
    say_loaded(pipeline.model(), name, train::saved_precision(folder));
    say_unused(pipeline.model().load_report());
    OutputStream out(output);
    read_texts(input, columns, static_cast<size_t>(batch_size), [&](const Texts& texts, const Texts& pairs) {
      if (!pairs.empty()) throw UsageError("pairs of texts are for classification; name one --text_column");
      for (const auto& filled : pipeline.predict(texts, static_cast<int>(top_k)))
        out.write(json_line(filled));
      out.flush();
    });
    say_truncated(pipeline.num_truncated());
  } else {
    const Pipeline pipeline(folder, pipeline_options);
    say_loaded(pipeline.model(), name, train::saved_precision(folder));
    say_unused(pipeline.model().load_report());
    OutputStream out(output);
    read_texts(input, columns, static_cast<size_t>(batch_size), [&](const Texts& texts, const Texts& pairs) {
      for (const Prediction& p : pipeline.predict(texts, pairs)) out.write(json_line(p, all_scores));
      out.flush();
    });
    say_truncated(pipeline.num_truncated());
  }
  profile.stop();
  if (profile.on()) profile.print(stderr);
  return 0;
}

}  // namespace graft::cli
