#include "transfer/distillation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/shown.h"
#include "engine/basic_ops.h"
#include "models/state.h"
#include "tasks/metrics.h"
#include "tasks/vocabulary.h"
#include "text/unicode.h"

namespace graft::transfer {

using engine::Over;
using engine::Tape;
using engine::Tensor;
using engine::Var;

namespace {

int64_t columns_of(const data::RaggedBatch& batch) {
  return static_cast<int64_t>(batch.float_labels.size()) / std::max(batch.num_examples(), 1);
}

Var constant(Tape& tape, const float* host, int64_t rows, int64_t columns) {
  return tape.constant(
      engine::make_tensor(const_cast<float*>(tape.on_device(host, rows * columns)), rows, columns));
}

// Cosines among the rows, [n, n]; those with themselves are so small that a softmax leaves them out.
Var cosines_of_others(Tape& tape, Var rows, int64_t n) {
  constexpr float kLeftOut = -100;
  auto* diagonal = tape.push_array<float>(n * n);
  std::fill_n(diagonal, n * n, 0.0f);
  for (int64_t i = 0; i < n; ++i) diagonal[i * n + i] = kLeftOut;
  return engine::add(tape, engine::matmul_transposed(tape, rows, rows), constant(tape, diagonal, n, n));
}

double cosine_of(const float* a, const float* b, int64_t n) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < n; ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

// How alike student and teacher are.
class TeacherLikeness : public tasks::Metrics {
 public:
  explicit TeacherLikeness(TargetKind kind) : kind_(kind) {}
  void add(const data::RaggedBatch& batch, Tensor outputs) override {
    const int64_t columns = columns_of(batch);
    for (int64_t r = 0; r < outputs.rows; ++r) {
      const float *student = outputs.row(r), *teacher = batch.float_labels.data() + r * columns;
      if (kind_ == TargetKind::scores)
        for (int64_t c = 0; c < columns; ++c)
          students_.push_back(student[c]), teachers_.push_back(teacher[c]);
      else
        sum_ += kind_ == TargetKind::embedding ? cosine_of(student, teacher, columns)
                : std::max_element(student, student + columns) - student ==
                        std::max_element(teacher, teacher + columns) - teacher
                    ? 1
                    : 0;
      ++n_;
    }
  }
  tasks::Partial partial() const override {
    tasks::Partial out = {sum_, n_};
    out.insert(out.end(), students_.begin(), students_.end());
    out.insert(out.end(), teachers_.begin(), teachers_.end());
    return out;
  }
  void merge(const tasks::Partial& part) override {
    sum_ += part.at(0);
    n_ += part.at(1);
    const auto scores = part.begin() + 2, half = scores + (part.end() - scores) / 2;
    students_.insert(students_.end(), scores, half);
    teachers_.insert(teachers_.end(), half, part.end());
  }
  tasks::MetricValues values() const override {
    const double mean = n_ > 0 ? sum_ / n_ : std::numeric_limits<double>::quiet_NaN();
    return {
        {likeness_name(kind_), kind_ == TargetKind::scores ? tasks::pearson(students_, teachers_) : mean}};
  }

 private:
  TargetKind kind_;
  double sum_ = 0, n_ = 0;
  std::vector<double> students_, teachers_;  // all scores
};

}  // namespace

const char* likeness_name(TargetKind kind) {
  return kind == TargetKind::embedding ? "cosine" : kind == TargetKind::logits ? "agreement" : "pearson";
}

double Distillation::loss_terms(const data::RaggedBatch& batch) const {
  return kind_ == TargetKind::scores ? static_cast<double>(batch.float_labels.size()) : batch.num_examples();
}

std::unique_ptr<tasks::Metrics> Distillation::metrics() const {
  return std::make_unique<TeacherLikeness>(kind_);
}

tasks::PrimaryMetric Distillation::primary_metric() const { return {likeness_name(kind_), true}; }

Var Distillation::embedding_loss(Tape& tape, Var student, Var teacher, int64_t n, double denominator,
                                 double* total) const {
  const Var a = engine::normalize(tape, student), b = engine::normalize(tape, teacher);
  const Var cosines = engine::reduce_sum(tape, engine::mul(tape, a, b), Over::columns);
  if (total && !tape.planning()) {
    const Tensor host = tape.on_host(cosines->data);
    for (int64_t i = 0; i < n; ++i) *total += losses_.embedding * (1 - double{*host.row(i)});
  }
  auto* all = tape.push_array<float>(1);
  *all = static_cast<float>(static_cast<double>(n) * losses_.embedding / denominator);
  const auto factor = static_cast<float>(-losses_.embedding / denominator);
  Var loss = engine::add(tape, engine::scale(tape, engine::reduce_sum(tape, cosines, Over::all), factor),
                         constant(tape, all, 1, 1));
  if (losses_.similarity <= 0 || n < 2) return loss;
  double divergence = 0;
  const Var kl = engine::kl_divergence(tape, cosines_of_others(tape, a, n), cosines_of_others(tape, b, n),
                                       static_cast<float>(losses_.similarity_temperature), denominator,
                                       total ? &divergence : nullptr);
  if (total) *total += losses_.similarity * divergence;
  return engine::add(tape, loss, engine::scale(tape, kl, static_cast<float>(losses_.similarity)));
}

Var Distillation::logits_loss(Tape& tape, Var student, Var teacher, const data::RaggedBatch& batch,
                              double denominator, double* total) const {
  const bool labelled = losses_.alpha > 0 && !batch.labels.empty();
  const double t = losses_.temperature, weight = (labelled ? 1 - losses_.alpha : 1) * t * t;
  double divergence = 0, entropy = 0;
  const Var kl = engine::kl_divergence(tape, student, teacher, static_cast<float>(t), denominator,
                                       total ? &divergence : nullptr);
  Var loss = engine::scale(tape, kl, static_cast<float>(weight));
  if (labelled) {
    const Var of_labels =
        engine::cross_entropy(tape, student, batch.labels.data(), denominator, total ? &entropy : nullptr);
    loss = engine::add(tape, loss, engine::scale(tape, of_labels, static_cast<float>(losses_.alpha)));
  }
  if (total) *total += weight * divergence + (labelled ? losses_.alpha * entropy : 0);
  return loss;
}

Var Distillation::loss(Tape& tape, Var outputs, const data::RaggedBatch& batch, double denominator,
                       double* total) const {
  const int64_t n = batch.num_examples(), columns = columns_of(batch);
  if (kind_ == TargetKind::scores)
    return engine::squared_error(
        tape, outputs, engine::make_tensor(const_cast<float*>(batch.float_labels.data()), n, columns),
        denominator, total);
  const Var teacher = constant(tape, batch.float_labels.data(), n, columns);
  return kind_ == TargetKind::embedding ? embedding_loss(tape, outputs, teacher, n, denominator, total)
                                        : logits_loss(tape, outputs, teacher, batch, denominator, total);
}

tasks::LossPass Distillation::training_pass(Tape& tape, const models::Network& network,
                                            const data::RaggedBatch& batch, double denominator) const {
  if (!layers_) return {};
  const models::Forward pass = network.forward(tape, batch, layers_->student_options());
  const double texts = denominator * batch.num_examples() / loss_terms(batch);
  tasks::LossPass out;
  out.logits = pass.logits;
  out.loss = engine::add(tape, loss(tape, pass.logits, batch, denominator),
                         layers_->loss(tape, network, pass, batch, texts));
  return out;
}

DistillationFeatures::DistillationFeatures(const DistillationTexts& texts,
                                           std::shared_ptr<const TeacherOutputs> targets,
                                           const Model& student, const Tokenizer& tokenizer,
                                           int32_t max_seq_length)
    : labels_(texts.labels), rows_(texts.rows), targets_(std::move(targets)) {
  constexpr int64_t kPiece = 4096;  // texts in flight
  EncodeOptions options;
  options.ids_only = true;
  options.truncation = Truncation::longest_first;
  options.max_length = max_seq_length;
  const bool lower_case = student.state().config.modules.do_lower_case;
  for (int64_t begin = 0; begin < texts.size(); begin += kPiece) {
    const int64_t end = std::min(texts.size(), begin + kPiece);
    std::vector<std::string> some(texts.texts.begin() + begin, texts.texts.begin() + end), pairs;
    if (!texts.pairs.empty()) pairs.assign(texts.pairs.begin() + begin, texts.pairs.begin() + end);
    if (lower_case)
      for (std::string& text : some) text = text::lower_case(text);
    size_t i = 0;
    for (const Encoding& e : tokenizer.encode_batch(some, pairs, options)) {
      if (e.input_ids.empty())
        fail_with("remove it, or write a text", "the text '{}' gives no tokens", shown(some[i]));
      tasks::check_ids(e.input_ids.data(), e.input_ids.size(), student, tokenizer, "the texts");
      ids_.insert(ids_.end(), e.input_ids.begin(), e.input_ids.end());
      types_.insert(types_.end(), e.token_type_ids.begin(), e.token_type_ids.end());
      types_.resize(ids_.size(), 0);
      offsets_.push_back(static_cast<int64_t>(ids_.size()));
      truncated_ += e.num_truncated > 0;
      ++i;
    }
  }
}

void DistillationFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                            int64_t /*epoch*/) const {
  batch.append_sequence(ids_.data() + offset(i), types_.data() + offset(i), length(i), index);
  const float* target = targets_->row(rows_[static_cast<size_t>(i)]);
  batch.float_labels.insert(batch.float_labels.end(), target, target + targets_->columns());
  if (!labels_.empty()) batch.labels.push_back(labels_[static_cast<size_t>(i)]);
}

}  // namespace graft::transfer
