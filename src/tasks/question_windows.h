// Questions and the windows of their contexts as ids, as the reference's run_qa prepares them.
#pragma once
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/tokenizer.h"
#include "tasks/answer_search.h"
#include "tasks/task.h"

namespace graft::tasks {

// The question before the context, of which alone is cut into windows. Throws Error for a question that
// leaves no room.
std::vector<Encoding> encode_windows(const Tokenizer& tokenizer, const std::string& question,
                                     const std::string& context, const QuestionSettings& settings);
// The context's tokens; `window` outlives them, and has the context's tokens in one piece.
struct WindowContext {
  int32_t begin = 0, count = 0;
};
WindowContext context_of(const Encoding& window);

// Whether a text is empty or white space.
bool is_blank(const std::string& text);
// The reference removes white space before the question: it would count as part of its length.
std::string without_leading_space(const std::string& text);
// "data.json: line 3: question 17 (id 56be)", for messages.
std::string question_place(const std::string& origin, const Example& e, size_t index);
// The part [begin, end) in code points.
std::string code_points(const std::string& text, int64_t begin, int64_t end);

class QuestionFeatures : public Features {
 public:
  // `searches`: answers are searched in the windows; otherwise they are for training only, and contexts and
  // offsets are not kept. Throws Error with the question's place.
  QuestionFeatures(std::vector<Example> questions, const std::string& origin, const Tokenizer& tokenizer,
                   const QuestionSettings& settings, bool searches);

  int64_t size() const override { return static_cast<int64_t>(windows_.size()); }  // windows
  int32_t length(int64_t i) const override;
  int64_t num_questions() const { return num_questions_; }
  int64_t num_with_answer() const { return num_with_answer_; }  // windows
  // Of window i.
  int64_t question_of(int64_t i) const { return windows_[static_cast<size_t>(i)].question; }
  ContextTokens context_tokens(int64_t i) const;
  const std::string& context(int64_t question) const { return contexts_[static_cast<size_t>(question)]; }
  const std::vector<std::string>& answers(int64_t question) const {
    return answers_[static_cast<size_t>(question)];
  }
  const std::vector<int32_t>& ids() const { return ids_; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  struct Window {
    int64_t question = 0;
    int64_t first_id = 0, first_offset = 0;
    WindowContext context;
    int32_t start = 0, end = 0;
  };
  void add(const Encoding& encoding, const Example& question, int64_t index, int32_t none, bool searches);

  std::vector<int32_t> ids_, types_;
  std::vector<std::pair<int32_t, int32_t>> offsets_;  // of the contexts' tokens
  std::vector<Window> windows_;
  std::vector<std::string> contexts_;
  std::vector<std::vector<std::string>> answers_;
  int64_t num_questions_ = 0, num_with_answer_ = 0;
};

}  // namespace graft::tasks
