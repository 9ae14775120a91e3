// MultipleChoicePipeline: all choices of an example in one batch.
#include "graft/multiple_choice.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/error.h"
#include "tasks/multiple_choice.h"
#include "tasks/vocabulary.h"
#include "train/inference.h"

namespace graft {
namespace {

ChosenAnswer chosen_of(engine::Tensor logits, int64_t first, const std::vector<std::string>& choices) {
  ChosenAnswer out;
  const auto n = static_cast<int64_t>(choices.size());
  for (int64_t c = 1; c < n; ++c)
    if (logits.row(first + c)[0] > logits.row(first + out.choice)[0]) out.choice = c;
  double sum = 0;
  for (int64_t c = 0; c < n; ++c)
    sum += out.scores.emplace_back(
        std::exp(double{logits.row(first + c)[0]} - logits.row(first + out.choice)[0]));
  for (double& s : out.scores) s /= sum;
  out.text = choices[static_cast<size_t>(out.choice)];
  out.score = out.scores[static_cast<size_t>(out.choice)];
  return out;
}

}  // namespace

struct MultipleChoicePipeline::Parts {
  Parts(const std::filesystem::path& folder, const PipelineOptions& options)
      : inference(folder, tasks::multiple_choice_task().head->task, options) {}

  void append(data::RaggedBatch& batch, const ChoiceQuestion& question, size_t index) const {
    if (question.choices.size() < 2)
      fail_with("give two or more", "{} choice{}", question.choices.size(),
                question.choices.size() == 1 ? "" : "s");
    Example e;
    e.text = question.context.empty() ? question.question : question.context;
    if (!question.context.empty()) e.text_pair = question.question;
    e.choices = question.choices;
    batch.begin_example(static_cast<int64_t>(index));
    bool cut = false;
    for (const Encoding& c :
         tasks::encode_choices(e, inference.tokenizer(), inference.options().max_seq_length)) {
      if (c.input_ids.empty())
        fail_with("this tokenizer adds no special tokens, so that an empty text leaves nothing to read",
                  "a choice gives no tokens");
      tasks::check_ids(c.input_ids.data(), c.input_ids.size(), inference.model(), inference.tokenizer(), "");
      cut = cut || c.num_truncated > 0;
      batch.append_sequence(c.input_ids.data(), c.token_type_ids.empty() ? nullptr : c.token_type_ids.data(),
                            static_cast<int32_t>(c.input_ids.size()), static_cast<int64_t>(index));
    }
    truncated += cut;
  }

  train::Inference inference;
  mutable std::atomic<int64_t> truncated = 0;
};

MultipleChoicePipeline::MultipleChoicePipeline(const std::filesystem::path& folder,
                                               const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
} catch (...) {
  rethrow_as_error();
}

MultipleChoicePipeline::~MultipleChoicePipeline() = default;
MultipleChoicePipeline::MultipleChoicePipeline(MultipleChoicePipeline&&) noexcept = default;
const Model& MultipleChoicePipeline::model() const { return parts_->inference.model(); }
int64_t MultipleChoicePipeline::num_truncated() const { return parts_->truncated; }

std::vector<ChosenAnswer> MultipleChoicePipeline::predict(const std::vector<ChoiceQuestion>& questions) const
    try {
  const Parts& p = *parts_;
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  std::vector<ChosenAnswer> out;
  data::RaggedBatch batch;
  const auto size = static_cast<size_t>(p.inference.options().batch_size);
  for (size_t begin = 0; begin < questions.size(); begin += size) {
    const size_t end = std::min(questions.size(), begin + size);
    batch.clear();
    for (size_t i = begin; i < end; ++i) {
      try {
        p.append(batch, questions[i], i);
      } catch (const Error& e) {
        throw train::TextError(i, questions.size(), e);
      }
    }
    p.inference.run(batch, [&](engine::Tensor logits) {
      for (size_t i = begin; i < end; ++i)
        out.push_back(chosen_of(logits, batch.cu_examples[i - begin], questions[i].choices));
    });
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
