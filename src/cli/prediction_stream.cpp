#include "cli/prediction_stream.h"

#include <fmt/format.h>

#include <utility>

#include "cli/console.h"
#include "graft/error.h"
#include "train/inference.h"

namespace graft::cli {
namespace {

DatasetOptions texts_of(DatasetOptions columns) {
  columns.ignore_label = true;
  return columns;
}

}  // namespace

std::string dump(const Json& line) { return line.dump() + "\n"; }

Json prediction_json(const Prediction& p, bool all_scores) {
  Json line = {{"label", p.label}, {"score", p.score}};
  if (all_scores) {
    Json scores = Json::object();
    for (const LabelScore& s : p.scores) scores[s.label] = s.score;
    line["scores"] = std::move(scores);
  }
  return line;
}

void say_truncated(int64_t count) {
  if (count > 0)
    say(fmt::format("warning: {} texts were truncated at max_seq_length; --max_seq_length keeps more",
                    count));
}

PredictionStream::PredictionStream(std::unique_ptr<data::RowReader> rows, const std::string& input,
                                   const DatasetOptions& columns, const std::string& output,
                                   size_t batch_size)
    : name_(data::name_of(input)),
      reader_(std::move(rows), input, texts_of(columns)),
      out_(output),
      batch_size_(batch_size) {}

void PredictionStream::run(const Answer& answer) {
  for (Example row; reader_.next(row);) {
    texts_.push_back(std::move(row.text));
    if (has_pairs()) pairs_.push_back(std::move(row.text_pair));
    lines_.push_back(row.line);
    if (texts_.size() == batch_size_ || !reader_.has_buffered_row()) hand_over(answer);
  }
  if (!texts_.empty()) hand_over(answer);
  out_.finish();
}

// Adds file and line to a TextError.
void PredictionStream::hand_over(const Answer& answer) {
  try {
    out_.write(answer(texts_, pairs_));
  } catch (const train::TextError& e) {
    const size_t good = e.index();
    if (good > 0) {
      texts_.resize(good);
      if (has_pairs()) pairs_.resize(good);
      out_.write(answer(texts_, pairs_));
      out_.flush();
    }
    throw Error(fmt::format("{}: line {}: {}", name_, lines_[good], e.reason()), e.hint());
  }
  out_.flush();
  texts_.clear();
  pairs_.clear();
  lines_.clear();
}

}  // namespace graft::cli
