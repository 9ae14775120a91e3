#include "transfer/teacher.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "data/problem_type.h"
#include "graft/embedder.h"
#include "tasks/task_table.h"
#include "train/inference.h"
#include "train/trained_model.h"
#include "transfer/stage.h"

namespace graft::transfer {
namespace fs = std::filesystem;

struct Teacher::Parts {
  std::optional<Embedder> embedder;
  std::unique_ptr<train::Inference> inference;
};

namespace {

Embedder embedder_of(const fs::path& folder, int64_t max_seq_length, bool bf16) {
  EmbedderOptions options;
  options.bf16 = bf16;
  Embedder whole(folder, options);
  const int64_t limit = whole.max_seq_length();
  if (max_seq_length == 0 || (limit > 0 && limit <= max_seq_length)) return whole;
  options.max_seq_length = static_cast<int>(max_seq_length);
  return Embedder(folder, options);
}

std::unique_ptr<train::Inference> inference_of(const fs::path& folder, const std::string& task,
                                               int64_t max_seq_length, bool bf16) {
  PipelineOptions options;
  options.bf16 = bf16;
  Model model = train::load_trained(folder, task);
  const int64_t limit =
      train::inference_length(0, train::saved_arguments(folder), model, *Tokenizer::from_pretrained(folder));
  options.max_seq_length =
      static_cast<int>(limit > 0 && max_seq_length > 0 ? std::min(limit, max_seq_length) : max_seq_length);
  return std::make_unique<train::Inference>(std::move(model), folder, options);
}

}  // namespace

Teacher::Teacher(const fs::path& folder, int64_t max_seq_length, bool bf16)
    : folder_(folder), bf16_(bf16), parts_(std::make_unique<Parts>()) {
  const std::string task = train::trained_task(folder);
  const tasks::TaskEntry& entry = tasks::find_task(task);
  if (entry.answer == tasks::Answer::embeddings) {
    parts_->embedder.emplace(embedder_of(folder, max_seq_length, bf16));
    return;
  }
  if (entry.answer != tasks::Answer::labels)
    fail_with("take a sentence encoder, or a model that labels texts",
              "{}: a {} model is no teacher here: a student learns embeddings or the scores of labels",
              folder.string(), task);
  parts_->inference = inference_of(folder, task, max_seq_length, bf16);
  const std::string type = model().problem_type();
  const bool classes = type.empty() ? model().labels().size() > 1 : type == data::problem_type::kSingleLabel;
  kind_ = classes ? TargetKind::logits : TargetKind::scores;
}

Teacher::~Teacher() = default;

const Model& Teacher::model() const {
  return parts_->embedder ? parts_->embedder->model() : parts_->inference->model();
}

int64_t Teacher::columns() const {
  return parts_->embedder ? parts_->embedder->dimension() : static_cast<int64_t>(model().labels().size());
}

void Teacher::compute(const std::vector<std::string>& texts, const std::vector<std::string>& pairs,
                      int64_t first, int64_t last, float* out) const {
  if (parts_->embedder) {
    const std::vector<std::string> some(texts.begin() + first, texts.begin() + last);
    const std::vector<float> rows = parts_->embedder->embed(some);
    std::copy(rows.begin(), rows.end(), out);
    return;
  }
  constexpr size_t kBatch = 32;
  const train::Inference& inference = *parts_->inference;
  std::vector<Encoding> encodings;
  for (int64_t i = first; i < last; ++i)
    encodings.push_back(inference.encode(texts, pairs, static_cast<size_t>(i)));
  std::vector<size_t> order(encodings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return encodings[a].input_ids.size() > encodings[b].input_ids.size();
  });
  const auto width = static_cast<size_t>(columns());
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < order.size(); begin += kBatch) {
    const size_t end = std::min(order.size(), begin + kBatch);
    batch.clear();
    for (size_t i = begin; i < end; ++i)
      batch.append(encodings[order[i]], first + static_cast<int64_t>(order[i]));
    inference.run(batch, [&](engine::Tensor logits) {
      for (size_t i = begin; i < end; ++i)
        std::copy_n(logits.row(static_cast<int64_t>(i - begin)), width, out + order[i] * width);
    });
  }
}

std::shared_ptr<const TeacherOutputs> Teacher::outputs(const fs::path& folder,
                                                       const std::vector<std::string>& texts,
                                                       const std::vector<std::string>& pairs) const {
  constexpr int64_t kFormat = 1;
  const Json key = {{"format", kFormat},
                    {"teacher", model_fingerprint(folder_)},
                    {"texts", fingerprint_of(texts)},
                    {"pairs", fingerprint_of(pairs)},
                    {"max_seq_length", parts_->embedder ? parts_->embedder->max_seq_length()
                                                        : parts_->inference->options().max_seq_length},
                    {"bf16", bf16_}};
  return std::make_shared<TeacherOutputs>(
      folder, key, std::ssize(texts), columns(),
      [&](int64_t first, int64_t last, float* out) { compute(texts, pairs, first, last, out); });
}

}  // namespace graft::transfer
