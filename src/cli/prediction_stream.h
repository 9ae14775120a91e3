// Texts in, lines of json out, with bounded memory: the loop of `graft predict` over models that read texts.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/output_stream.h"
#include "data/example_reader.h"
#include "graft/pipeline.h"

namespace graft::cli {

using Texts = std::vector<std::string>;
// Answers a batch of texts (and their pairs) with lines of output.
using Answer = std::function<std::string(const Texts& texts, const Texts& pairs)>;

// A line of output.
std::string dump(const Json& line);
// {"label": ..., "score": ...}, and "scores" of all labels.
Json prediction_json(const Prediction& prediction, bool all_scores);
// Warns of truncated texts, if there are any.
void say_truncated(int64_t count);

// Predicts in batches. All rows that have arrived are answered before it waits for more.
class PredictionStream {
 public:
  // `input` is the name of `rows`.
  PredictionStream(std::unique_ptr<data::RowReader> rows, const std::string& input,
                   const DatasetOptions& columns, const std::string& output, size_t batch_size);
  bool has_pairs() const { return reader_.has_pairs(); }
  // Throws Error with file and line for a text that cannot be answered. Those before it are answered first.
  void run(const Answer& answer);

 private:
  void hand_over(const Answer& answer);

  std::string name_;
  data::ExampleReader reader_;
  OutputStream out_;
  size_t batch_size_;
  Texts texts_, pairs_;
  std::vector<int64_t> lines_;
};

}  // namespace graft::cli
