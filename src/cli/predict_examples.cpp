#include "cli/predict_examples.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "cli/console.h"
#include "cli/output_stream.h"
#include "data/choice_reader.h"
#include "data/question_reader.h"
#include "graft/error.h"
#include "graft/multiple_choice.h"
#include "graft/question_answering.h"
#include "train/inference.h"

namespace graft::cli {
namespace {

using Examples = std::vector<Example>;

// Answers batches of rows with `answer`, which gives a line of output each. All rows that have arrived are
// answered before it waits for more; those before a row with an error are answered first.
template <class Reader, class Answer>
void stream_examples(Reader& reader, OutputStream& out, const std::string& name, size_t batch_size,
                     const Answer& answer) {
  Examples rows;
  const auto hand_over = [&] {
    try {
      out.write(answer(rows));
    } catch (const train::TextError& e) {
      const int64_t line = rows[e.index()].line;
      rows.resize(e.index());
      if (!rows.empty()) out.write(answer(rows));
      out.flush();
      throw Error(fmt::format("{}: line {}: {}", name, line, e.reason()), e.hint());
    }
    out.flush();
    rows.clear();
  };
  for (Example row; reader.next(row);) {
    rows.push_back(std::move(row));
    if (rows.size() == batch_size || !reader.has_buffered_row()) hand_over();
  }
  if (!rows.empty()) hand_over();
  out.finish();
}

Json to_json(const FoundAnswer& a) {
  return {{"answer", a.answer}, {"score", a.score}, {"start", a.start}, {"end", a.end}};
}

std::string line_of(const QuestionAnswer& answer, const std::string& id, int64_t n_best) {
  Json line = Json::object();
  if (!id.empty()) line["id"] = id;
  line.update(to_json(answer));
  if (n_best > 0) {
    line["n_best"] = Json::array();
    const auto n = std::min(answer.n_best.size(), static_cast<size_t>(n_best));
    for (size_t i = 0; i < n; ++i) line["n_best"].push_back(to_json(answer.n_best[i]));
  }
  return line.dump() + "\n";
}

QuestionOptions question_options(const Options& options, const TrainingArguments& a) {
  QuestionOptions out;
  if (options.given("doc_stride")) out.doc_stride = static_cast<int>(a.doc_stride);
  if (options.given("n_best_size")) out.n_best_size = static_cast<int>(a.n_best_size);
  if (options.given("max_answer_length")) out.max_answer_length = static_cast<int>(a.max_answer_length);
  if (options.given("version_2_with_negative")) out.version_2_with_negative = a.version_2_with_negative;
  if (options.given("null_score_diff_threshold")) out.null_score_diff_threshold = a.null_score_diff_threshold;
  return out;
}

DatasetOptions unlabelled(DatasetOptions columns) {
  columns.ignore_label = true;
  return columns;
}

}  // namespace

void predict_answers(const ExamplesToPredict& what, const Options& options,
                     const TrainingArguments& arguments, int64_t n_best,
                     const std::function<void(const Model&)>& on_loaded) {
  const QuestionAnswerer answerer(what.folder, what.pipeline, question_options(options, arguments));
  on_loaded(answerer.model());
  data::QuestionReader reader(what.input, unlabelled(what.columns));
  OutputStream out(what.output);
  stream_examples(reader, out, data::name_of(what.input), static_cast<size_t>(what.pipeline.batch_size),
                  [&](const Examples& rows) {
                    std::vector<std::string> questions, contexts;
                    for (const Example& e : rows)
                      questions.push_back(e.text), contexts.push_back(e.text_pair);
                    const std::vector<QuestionAnswer> answers = answerer.answer(questions, contexts);
                    std::string lines;
                    for (size_t i = 0; i < rows.size(); ++i) lines += line_of(answers[i], rows[i].id, n_best);
                    return lines;
                  });
}

void predict_choices(const ExamplesToPredict& what, const std::function<void(const Model&)>& on_loaded) {
  const MultipleChoicePipeline pipeline(what.folder, what.pipeline);
  on_loaded(pipeline.model());
  data::ChoiceReader reader(what.input, unlabelled(what.columns));
  OutputStream out(what.output);
  stream_examples(
      reader, out, data::name_of(what.input), static_cast<size_t>(what.pipeline.batch_size),
      [&](const Examples& rows) {
        std::vector<ChoiceQuestion> questions;
        for (const Example& e : rows) questions.push_back({e.text, e.text_pair, e.choices});
        std::string lines;
        for (const ChosenAnswer& a : pipeline.predict(questions))
          lines += Json({{"choice", a.choice}, {"text", a.text}, {"score", a.score}, {"scores", a.scores}})
                       .dump() +
                   "\n";
        return lines;
      });
  if (pipeline.num_truncated() > 0)
    say(fmt::format(
        "warning: of {} rows a choice was truncated at max_seq_length; --max_seq_length keeps more",
        pipeline.num_truncated()));
}

}  // namespace graft::cli
