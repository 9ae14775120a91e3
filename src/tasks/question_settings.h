// The settings of question answering, with the names and defaults of the reference's run_qa.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace graft::tasks {

struct QuestionSettings {
  int32_t max_seq_length = 384;
  static constexpr int32_t kDocStride = 128;
  int32_t doc_stride = kDocStride;
  int32_t n_best_size = 20;
  int32_t max_answer_length = 30;
  bool version_2_with_negative = false;
  double null_score_diff_threshold = 0;
  std::string language = "en";
  bool drop_bad_answers = false;

  // Tokens that two windows share: doc_stride, or half a window where the default is as long as the window.
  int32_t stride() const {
    return doc_stride == kDocStride && doc_stride >= max_seq_length ? max_seq_length / 2 : doc_stride;
  }
};

// Whose rules for comparing answers are known; "other": those that every language has.
const std::vector<std::string>& answer_languages();

}  // namespace graft::tasks
