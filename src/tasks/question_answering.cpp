#include "tasks/question_answering.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "engine/basic_ops.h"
#include "models/registry.h"
#include "tasks/question_checks.h"
#include "tasks/question_metrics.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

using engine::Var;

namespace {

double labelled(const std::vector<int32_t>& positions) {
  return static_cast<double>(
      std::count_if(positions.begin(), positions.end(), [](int32_t p) { return p >= 0; }));
}

}  // namespace

double QuestionAnswering::loss_terms(const data::RaggedBatch& batch) const {
  return labelled(batch.start_positions) + labelled(batch.end_positions);
}

Var QuestionAnswering::loss(engine::Tape& tape, Var logits, const data::RaggedBatch& batch,
                            double denominator, double* total) const {
  const int32_t* begin = batch.outputs().cu_seqlens.data();
  const Var start = engine::slice_columns(tape, logits, 0, 1),
            end = engine::slice_columns(tape, logits, 1, 1);
  return engine::add(tape,
                     engine::segment_cross_entropy(tape, start, begin, batch.start_positions.data(),
                                                   batch.size(), denominator, total),
                     engine::segment_cross_entropy(tape, end, begin, batch.end_positions.data(), batch.size(),
                                                   denominator, total));
}

std::unique_ptr<Metrics> QuestionAnswering::metrics() const {
  return std::make_unique<QuestionMetrics>(nullptr, settings_);
}

std::unique_ptr<Metrics> QuestionAnswering::metrics_of(const Features& features) const {
  return std::make_unique<QuestionMetrics>(&static_cast<const QuestionFeatures&>(features), settings_);
}

namespace {

std::unique_ptr<Task> make_question_answering(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<QuestionAnswering>();
}

std::unique_ptr<Features> encode_questions(const std::string& part, const Dataset& set, const Model& model,
                                           const Tokenizer& tokenizer, const QuestionSettings& settings,
                                           bool searches) {
  if (set.size() == 0) return nullptr;
  auto features = std::make_unique<QuestionFeatures>(checked_questions(part, set, settings), set.origin(),
                                                     tokenizer, settings, searches);
  check_ids(features->ids().data(), features->ids().size(), model, tokenizer,
            set.origin().empty() ? part : set.origin());
  log_info("{}: {} questions in {} windows of at most {} tokens; the answer is in {} of the windows", part,
           features->num_questions(), features->size(), settings.max_seq_length, features->num_with_answer());
  return features;
}

PreparedTask prepare_question_answering(Model& model, const TaskData& data, const FeatureSettings& settings) {
  QuestionSettings questions = settings.questions;
  questions.max_seq_length = static_cast<int32_t>(settings.max_seq_length);
  if (questions.stride() != questions.doc_stride)
    log_info("the windows of {} tokens share {}: the default --doc_stride {} is for longer ones",
             questions.max_seq_length, questions.stride(), questions.doc_stride);
  if (questions.stride() >= questions.max_seq_length)
    throw UsageError(fmt::format("--doc_stride {} must be smaller than --max_seq_length {}",
                                 questions.doc_stride, questions.max_seq_length));
  PreparedTask out;
  out.task = std::make_unique<QuestionAnswering>(questions);
  out.train = encode_questions("train", data.train, model, *data.tokenizer, questions, false);
  out.eval = encode_questions("eval", data.eval, model, *data.tokenizer, questions, true);
  out.test = encode_questions("test", data.test, model, *data.tokenizer, questions, true);
  if (out.eval || out.test)
    log_info("answers are compared by the rules for the language {}", questions.language);
  return out;
}

void add_sample_spans(data::RaggedBatch& batch, const Model& /*model*/) {
  batch.start_positions.assign(static_cast<size_t>(batch.size()), 0);
  batch.end_positions = batch.start_positions;
}

}  // namespace

const TaskEntry& question_answering_task() {
  constexpr int64_t kLength = 384;  // run_qa's max_seq_length
  static const TaskEntry entry = {
      &models::kQuestionAnswering,
      Input::questions,
      Answer::spans,
      kLength,
      {"doc_stride", "n_best_size", "max_answer_length", "version_2_with_negative",
       "null_score_diff_threshold", "language", "drop_bad_answers"},
      nullptr,
      make_question_answering,
      prepare_question_answering,
      add_sample_spans};
  return entry;
}

}  // namespace graft::tasks
