// Learning from a teacher's outputs: its embeddings (Reimers and Gurevych 2020), or its logits (Hinton et al.
// 2015). The targets are in the batch, a row of float_labels for each example.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "tasks/task.h"
#include "transfer/layer_teacher.h"
#include "transfer/teacher_outputs.h"

namespace graft::transfer {

// What a teacher gives for a text: an embedding, logits of one of several classes, or scores that are
// regressed.
enum class TargetKind : uint8_t { embedding, logits, scores };

// How alike a student and its teacher are: "cosine" of embeddings, "agreement" (the share of texts with the
// same class), "pearson" (the correlation of all scores).
const char* likeness_name(TargetKind kind);

struct DistillationLosses {
  double embedding = 1;      // weight of 1 - cosine
  double similarity = 0.05;  // weight of KL(teacher || student) of the cosines among the texts of a batch
  double similarity_temperature = 0.05;
  double temperature = 2;  // of logits
  double alpha = 0.5;      // share of the labelled loss, where a text has a label
  LayerLosses layers{};
};

class Distillation : public tasks::Task {
 public:
  // `layers`: set in training where the student learns from the teacher's layers, too.
  Distillation(TargetKind kind, const DistillationLosses& losses,
               std::unique_ptr<const LayerTeacher> layers = nullptr)
      : kind_(kind), losses_(losses), layers_(std::move(layers)) {}
  double loss_terms(const data::RaggedBatch& batch) const override;
  engine::Var loss(engine::Tape& tape, engine::Var outputs, const data::RaggedBatch& batch,
                   double denominator, double* total = nullptr) const override;
  tasks::LossPass training_pass(engine::Tape& tape, const models::Network& network,
                                const data::RaggedBatch& batch, double denominator) const override;
  bool couples_examples() const override { return kind_ == TargetKind::embedding && losses_.similarity > 0; }
  // The likeness to the teacher.
  std::unique_ptr<tasks::Metrics> metrics() const override;
  tasks::PrimaryMetric primary_metric() const override;
  const char* term_name() const override { return "text"; }

 private:
  engine::Var embedding_loss(engine::Tape& tape, engine::Var student, engine::Var teacher, int64_t n,
                             double denominator, double* total) const;
  engine::Var logits_loss(engine::Tape& tape, engine::Var student, engine::Var teacher,
                          const data::RaggedBatch& batch, double denominator, double* total) const;
  TargetKind kind_;
  DistillationLosses losses_;
  std::unique_ptr<const LayerTeacher> layers_;
};

// Texts, or pairs of them, whose teacher's outputs are rows of `targets`.
struct DistillationTexts {
  std::vector<std::string> texts, pairs;  // pairs: empty, or one for each text
  std::vector<int64_t> rows;              // of the targets
  std::vector<int32_t> labels;            // empty, or one for each text; -1 = none
  int64_t size() const { return static_cast<int64_t>(texts.size()); }
};

class DistillationFeatures : public tasks::Features {
 public:
  // Throws Error for a text without tokens and for an id without a row in the embedding.
  DistillationFeatures(const DistillationTexts& texts, std::shared_ptr<const TeacherOutputs> targets,
                       const Model& student, const Tokenizer& tokenizer, int32_t max_seq_length);
  int64_t size() const override { return static_cast<int64_t>(offsets_.size()) - 1; }
  int32_t length(int64_t i) const override { return static_cast<int32_t>(offset(i + 1) - offset(i)); }
  int64_t num_truncated() const { return truncated_; }
  int64_t num_tokens() const { return static_cast<int64_t>(ids_.size()); }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  int64_t offset(int64_t i) const { return offsets_[static_cast<size_t>(i)]; }
  std::vector<int32_t> ids_, types_, labels_;
  std::vector<int64_t> offsets_{0}, rows_;
  std::shared_ptr<const TeacherOutputs> targets_;
  int64_t truncated_ = 0;
};

}  // namespace graft::transfer
