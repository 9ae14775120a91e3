// graft predict: labels and scores for texts, streamed as jsonl.
#include <fmt/format.h>

#include "base/json.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/verbs.h"
#include "data/stream.h"
#include "graft/error.h"
#include "graft/pipeline.h"
#include "hub/resolve.h"

namespace graft::cli {
namespace {

std::string json_line(const Prediction& p, bool all_scores) {
  Json line = {{"label", p.label}, {"score", p.score}};
  if (all_scores) {
    Json scores = Json::object();
    for (const LabelScore& s : p.scores) scores[s.label] = s.score;
    line["scores"] = std::move(scores);
  }
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

int predict(int argc, char** argv) {
  std::string name, input = "-", output = "-";
  DatasetOptions columns;
  int64_t batch_size = 32, max_seq_length = 0;
  bool all_scores = false;
  Options options(
      "predict", "labels and scores for texts, as jsonl",
      {"graft predict --model results --input texts.txt",
       "echo 'a fine film' | graft predict --model results",
       "graft predict --model results --input tickets.csv --text_column body --output labels.jsonl"});
  options.text("model", name, "fine-tuned model: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("input", input,
               "a text a line (- = standard input), or .csv .tsv .jsonl .json, each also .gz .zst .xz");
  options.text("output", output, "jsonl; - = standard output");
  options.columns(columns);
  options.integer("per_device_eval_batch_size", batch_size, "texts in a batch; results do not depend on it");
  options.integer("max_seq_length", max_seq_length, "tokens per text; default: as in training");
  options.flag("return_all_scores", all_scores, "the score of every label");
  if (!options.parse(argc, argv, 2)) return 0;
  if (batch_size < 1) throw UsageError("--per_device_eval_batch_size must be at least 1");

  PipelineOptions pipeline_options;
  pipeline_options.batch_size = static_cast<int>(batch_size);
  pipeline_options.max_seq_length = static_cast<int>(max_seq_length);
  const Pipeline pipeline(hub::resolve_model(name), pipeline_options);
  OutputStream out(output);
  std::vector<std::string> texts, pairs;
  const auto answer = [&] {
    for (const Prediction& p : pipeline.predict(texts, pairs)) out.write(json_line(p, all_scores));
    out.flush();
    texts.clear();
    pairs.clear();
  };
  if (input == "-") {
    data::LineReader lines(input);
    // Whole batches of what has come, and an answer to all of it before waiting for more.
    for (std::string line; lines.next(line);) {
      texts.push_back(line);
      if (texts.size() == static_cast<size_t>(batch_size) || !lines.has_buffered_line()) answer();
    }
    if (!texts.empty()) answer();
  } else {
    columns.ignore_label = true;
    const Dataset dataset = Dataset::from_file(input, columns);
    for (const Example& e : dataset.examples()) {
      texts.push_back(e.text);
      if (dataset.has_pairs()) pairs.push_back(e.text_pair);
      if (texts.size() == static_cast<size_t>(batch_size)) answer();
    }
    if (!texts.empty()) answer();
  }
  if (pipeline.num_truncated() > 0) {
    say(fmt::format("warning: {} texts were cut at max_seq_length", pipeline.num_truncated()));
  }
  return 0;
}

}  // namespace graft::cli
