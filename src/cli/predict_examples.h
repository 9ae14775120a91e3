// graft predict on questions with contexts and on choices: rows of several texts, streamed as jsonl.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "cli/options.h"
#include "graft/pipeline.h"
#include "graft/trainer.h"

namespace graft::cli {

// The training arguments that a prediction of answers may change. Without them those of training hold.
inline constexpr const char* kQuestionArguments[] = {"doc_stride", "n_best_size", "max_answer_length",
                                                     "version_2_with_negative", "null_score_diff_threshold"};

struct ExamplesToPredict {
  std::filesystem::path folder;
  std::string input, output;
  DatasetOptions columns;
  PipelineOptions pipeline;
};

// A line {"id", "answer", "score", "start", "end"} for each question; with `n_best` above 0 also that many of
// its best answers. `options` has the arguments that were given, `arguments` their values.
void predict_answers(const ExamplesToPredict& what, const Options& options,
                     const TrainingArguments& arguments, int64_t n_best,
                     const std::function<void(const Model&)>& on_loaded);
// A line {"choice", "text", "score", "scores"} for each row.
void predict_choices(const ExamplesToPredict& what, const std::function<void(const Model&)>& on_loaded);

}  // namespace graft::cli
