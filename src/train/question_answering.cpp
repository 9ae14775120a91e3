// QuestionAnswerer: windows of contexts through the model, and the search for the best spans.
#include "graft/question_answering.h"

#include <algorithm>

#include "base/error.h"
#include "tasks/question_answering.h"
#include "tasks/question_windows.h"
#include "tasks/vocabulary.h"
#include "train/argument_values.h"
#include "train/inference.h"
#include "train/sequence_length.h"

namespace graft {
namespace {

tasks::QuestionSettings settings_of(const std::filesystem::path& folder, const train::Inference& inference,
                                    int asked_length, const QuestionOptions& options) {
  const TrainingArguments saved = train::saved_arguments(folder);
  tasks::QuestionSettings s = train::question_settings(saved);
  s.max_seq_length = inference.options().max_seq_length;
  if (asked_length == 0 && saved.max_seq_length == 0)  // a folder of Python
    s.max_seq_length = static_cast<int32_t>(
        train::default_length(tasks::question_answering_task().default_length,
                              train::length_limit(inference.model(), inference.tokenizer())));
  const auto set = [](const char* name, const auto& from, auto& to, const train::Range& range) {
    if (!from) return;
    train::check_range(name, static_cast<double>(*from), range);
    to = *from;
  };
  set("doc_stride", options.doc_stride, s.doc_stride, {0, 1e9});
  set("n_best_size", options.n_best_size, s.n_best_size, {1, 1e4});
  set("max_answer_length", options.max_answer_length, s.max_answer_length, {1, 1e6});
  if (options.version_2_with_negative) s.version_2_with_negative = *options.version_2_with_negative;
  set("null_score_diff_threshold", options.null_score_diff_threshold, s.null_score_diff_threshold,
      {-1e30, 1e30});
  return s;
}

// A window of one of the questions of a call.
struct OwnedWindow {
  size_t question;
  Encoding encoding;
};

}  // namespace

struct QuestionAnswerer::Parts {
  Parts(const std::filesystem::path& folder, const PipelineOptions& options, const QuestionOptions& question)
      : inference(folder, tasks::question_answering_task().head->task, options),
        settings(settings_of(folder, inference, options.max_seq_length, question)) {}

  std::vector<Encoding> windows(const std::string& question, const std::string& context) const {
    if (tasks::is_blank(question)) fail_with("ask something, or remove it", "the question is empty");
    if (tasks::is_blank(context)) fail_with("give a text, or remove the question", "the context is empty");
    std::vector<Encoding> found = tasks::encode_windows(inference.tokenizer(), question, context, settings);
    for (const Encoding& w : found)
      tasks::check_ids(w.input_ids.data(), w.input_ids.size(), inference.model(), inference.tokenizer(), "");
    return found;
  }

  // Searches all windows, a batch at a time.
  void search(const std::vector<OwnedWindow>& windows, std::vector<tasks::AnswerSearch>& searches) const {
    const auto size = static_cast<size_t>(inference.options().batch_size);
    data::RaggedBatch batch;
    for (size_t begin = 0; begin < windows.size(); begin += size) {
      const size_t end = std::min(windows.size(), begin + size);
      batch.clear();
      for (size_t i = begin; i < end; ++i) batch.append(windows[i].encoding, static_cast<int64_t>(i));
      inference.run(batch, [&](engine::Tensor logits) {
        for (size_t i = begin; i < end; ++i) {
          const Encoding& w = windows[i].encoding;
          const tasks::WindowContext context = tasks::context_of(w);
          searches[windows[i].question].add(
              logits, batch.cu_seqlens[i - begin], static_cast<int32_t>(w.input_ids.size()),
              {context.begin, context.count, w.offsets.data() + context.begin}, settings);
        }
      });
    }
  }

  QuestionAnswer result(const tasks::AnswerSearch& search, const std::string& context) const {
    const auto found = [&](const tasks::AnswerCandidate& c, double score) {
      return FoundAnswer{tasks::code_points(context, c.begin, c.end), score, c.begin, c.end};
    };
    QuestionAnswer out;
    out.none_above_best = search.none_above_best();
    const std::vector<tasks::AnswerCandidate> ranked = search.ranked(settings);
    const std::vector<double> scores = tasks::probabilities(ranked);
    const tasks::AnswerCandidate answer = search.answer(settings);
    for (size_t i = 0; i < ranked.size(); ++i) {
      out.n_best.push_back(found(ranked[i], scores[i]));
      const bool is_it = ranked[i].begin == answer.begin && ranked[i].end == answer.end;
      if (is_it && out.score == 0) static_cast<FoundAnswer&>(out) = out.n_best.back();
    }
    return out;
  }

  train::Inference inference;
  tasks::QuestionSettings settings;
};

QuestionAnswerer::QuestionAnswerer(const std::filesystem::path& folder, const PipelineOptions& options,
                                   const QuestionOptions& question_options) try
    : parts_(std::make_unique<Parts>(folder, options, question_options)) {
} catch (...) {
  rethrow_as_error();
}

QuestionAnswerer::~QuestionAnswerer() = default;
QuestionAnswerer::QuestionAnswerer(QuestionAnswerer&&) noexcept = default;
const Model& QuestionAnswerer::model() const { return parts_->inference.model(); }

std::vector<QuestionAnswer> QuestionAnswerer::answer(const std::vector<std::string>& questions,
                                                     const std::vector<std::string>& contexts) const try {
  const Parts& p = *parts_;
  if (questions.size() != contexts.size())
    fail("{} questions but {} contexts", questions.size(), contexts.size());
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  std::vector<QuestionAnswer> out;
  const auto size = static_cast<size_t>(p.inference.options().batch_size);
  for (size_t begin = 0; begin < questions.size(); begin += size) {
    const size_t end = std::min(questions.size(), begin + size);
    std::vector<OwnedWindow> windows;
    for (size_t i = begin; i < end; ++i) {
      try {
        for (Encoding& w : p.windows(questions[i], contexts[i])) windows.push_back({i - begin, std::move(w)});
      } catch (const Error& e) {
        throw train::TextError(i, questions.size(), e);
      }
    }
    std::vector<tasks::AnswerSearch> searches(end - begin);
    p.search(windows, searches);
    for (size_t i = begin; i < end; ++i) out.push_back(p.result(searches[i - begin], contexts[i]));
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
