// A small student that learns from a teacher on unlabelled text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graft/trainer.h"
#include "transfer/parallel_text.h"
#include "transfer/prune.h"
#include "transfer/teacher.h"

namespace graft::transfer {

struct DistillOptions {
  std::filesystem::path teacher;
  // The student: a folder, random weights of a config.json, or the teacher pruned.
  std::filesystem::path student, config_name;
  std::string layers;
  std::vector<std::filesystem::path> vocabulary;
  int64_t vocabulary_size = 0, min_count = 1;
  std::vector<std::filesystem::path> train_file;
  // Instead of, or beside, train_file: pairs of sentences, of which the teacher reads the first (as
  // read_parallel takes them). The student learns both.
  std::vector<std::string> parallel;
  int64_t add_pieces = 0;                          // to the pruned vocabulary, of the second sentences
  std::vector<std::filesystem::path> pieces_file;  // text whose pieces are added instead
  bool align = false;                     // they start from the teacher's pieces with which they are aligned
  std::filesystem::path validation_file;  // "" = no score in the table
  DatasetOptions columns;
  int64_t max_train_samples = -1;
  std::filesystem::path teacher_cache;  // "" = output_dir/teacher
  bool overwrite_output_dir = false;
  DistillationLosses losses;
  TrainingArguments arguments;
};

// One line of the table at the end.
struct DistillRow {
  std::string name;
  double likeness = 1, score = 0;  // NaN: no validation_file
  ModelSize size;
  double sentences_per_second = 0;
};

class Distiller {
 public:
  // Makes the student, computes what the teacher says and prepares the training. Throws Error, or UsageError
  // for options that are missing or contradict each other.
  explicit Distiller(const DistillOptions& options);
  ~Distiller();
  Trainer& trainer() { return *trainer_; }
  // Teacher, student before and student after the training; adds the last one to all_results.json.
  std::vector<DistillRow> compare() const;
  std::string likeness() const;                        // the name of its column
  const std::string& score() const { return score_; }  // the metric's name; "" without a validation_file

 private:
  void prepare_student();
  void prepare_training(const DistillationTexts& texts, std::unique_ptr<const LayerTeacher> layers);
  std::unique_ptr<const LayerTeacher> layer_teacher() const;
  DistillRow row_of(const std::string& name, const std::filesystem::path& folder) const;
  double speed_of(const std::filesystem::path& folder) const;
  double likeness_of(const std::filesystem::path& folder, const Model& model) const;

  DistillOptions options_;
  std::unique_ptr<Teacher> teacher_;
  std::filesystem::path start_;
  DistillationTexts held_;
  std::shared_ptr<const TeacherOutputs> outputs_;
  std::unique_ptr<Trainer> trainer_;
  mutable std::string score_;
  bool student_had_head_ = true;  // a student without a head has no outputs before the training
};

}  // namespace graft::transfer
