#include "transfer/distill.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "graft/embedder.h"
#include "graft/pipeline.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "train/evaluation.h"
#include "train/job.h"
#include "train/output.h"
#include "train/parts.h"
#include "train/saved_arguments.h"
#include "train/sequence_length.h"
#include "train/trained_model.h"
#include "transfer/distill_options.h"
#include "transfer/distill_texts.h"
#include "transfer/folders.h"
#include "transfer/new_head.h"
#include "transfer/scoring.h"
#include "transfer/start_student.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

// As the options are named.
Json json_of(const DistillationLosses& losses) {
  return {{"embedding_weight", losses.embedding},
          {"similarity_weight", losses.similarity},
          {"temperature", losses.temperature},
          {"alpha", losses.alpha},
          {"hidden_weight", losses.layers.hidden},
          {"relation_weight", losses.layers.relation},
          {"relation_heads", losses.layers.relation_heads},
          {"relation_layer", losses.layers.relation_layer}};
}

// Numbers that the model gives for a text.
int64_t output_size(const Model& model) {
  const models::State& state = model.state();
  if (!state.head->is_bare) return std::ssize(model.labels());
  return models::embedding_dimension(state.config.modules,
                                     state.config.size_or(state.family->sizes.hidden_size, 0));
}

// Tokens of a text where none are asked for: 128, within the limit of the teacher.
int64_t usual_length(const fs::path& teacher) {
  constexpr int64_t kUsual = 128;
  ModelOptions options;
  options.task = train::trained_task(teacher);
  const int64_t limit =
      train::length_limit(Model::from_pretrained(teacher, options), *Tokenizer::from_pretrained(teacher));
  return train::default_length(kUsual, limit);
}

double seconds_of(const std::function<void()>& f) {
  const Stopwatch stopwatch;
  f();
  return stopwatch.seconds();
}

}  // namespace

Distiller::Distiller(const DistillOptions& options) : options_(options) {
  check_distill_options(options_);
  train::TrainJob job;
  job.arguments = options_.arguments;
  job.overwrite_output_dir = options_.overwrite_output_dir;
  train::check_output_dir(job);
  for (const fs::path& folder : {options_.teacher, options_.student})
    if (!folder.empty()) {
      check_other_folder(folder, options_.arguments.output_dir);
      check_whole_model(folder);
    }
  if (options_.arguments.max_seq_length == 0)
    options_.arguments.max_seq_length = usual_length(options_.teacher);
  const bool bf16 = train::training_precision(options_.arguments.bf16).bf16;
  teacher_ = std::make_unique<Teacher>(options_.teacher, options_.arguments.max_seq_length, bf16);
  check_losses(options_, teacher_->kind());
  ParallelText pairs;
  if (!options_.parallel.empty()) {
    if (teacher_->kind() != TargetKind::embedding)
      throw UsageError("--parallel needs a sentence encoder as the teacher",
                       "the student learns the embedding of the first sentence from both");
    pairs = read_parallel(options_.parallel, options_.max_train_samples);
  }
  DistillCorpus corpus = read_distill_corpus(options_, *teacher_, pairs);
  // What is wrong with the student is said before the teacher reads the text, which may take hours.
  std::unique_ptr<const LayerTeacher> layers;
  const StartStudent start = make_student(options_, *teacher_, pairs);
  start_ = start.folder;
  try {
    prepare_student();
    layers = layer_teacher();
  } catch (...) {
    if (start.is_new) remove_tree(start_);  // so that the next attempt finds the output folder as it was
    throw;
  }
  const fs::path cache = options_.teacher_cache.empty() ? fs::path(options_.arguments.output_dir) / "teacher"
                                                        : options_.teacher_cache;
  const double seconds =
      seconds_of([&] { outputs_ = teacher_->outputs(cache, corpus.teacher, corpus.teacher_pairs); });
  log_info("teacher: {} outputs of {} numbers {} ({:.1f} s)", outputs_->rows(), outputs_->columns(),
           outputs_->was_there() ? "read from the cache" : "computed", seconds);
  held_ = std::move(corpus.held);
  prepare_training(corpus.train, std::move(layers));
}

Distiller::~Distiller() = default;

void Distiller::prepare_student() {
  const Model student = load_student(start_, *teacher_, options_.arguments.seed);
  student_had_head_ = !has_new_head(student);
  const int64_t outputs = output_size(student);
  if (outputs != teacher_->columns())
    fail_with(
        teacher_->kind() == TargetKind::embedding
            ? "take a student as wide as the teacher, or the teacher pruned (--layers, --vocabulary)"
            : "take a student with the labels of the teacher, one without a head, or the teacher pruned "
              "(--layers, --vocabulary)",
        "{}: the student gives {} numbers for a text and the teacher {}", start_.string(), outputs,
        teacher_->columns());
  if (student.labels() != teacher_->model().labels())
    fail_with(
        "take a student with the same labels in the same order, or one without a head, which then gets them",
        "{}: the student's labels {} are not those of the teacher, {}", start_.string(),
        fmt::join(student.labels(), ", "), fmt::join(teacher_->model().labels(), ", "));
  if (student.num_parameters() >= teacher_->model().num_parameters() && options_.add_pieces == 0)
    log_warning("the student is not smaller than its teacher: it has {} parameters, and the teacher {}",
                student.num_parameters(), teacher_->model().num_parameters());
  TaskData data;
  data.tokenizer = Tokenizer::from_pretrained(start_);
  trainer_ = std::make_unique<Trainer>(student, options_.arguments, std::move(data));
  trainer_->parts().loss_options = json_of(options_.losses);
  // What the table at the end would stumble over is said before the training.
  if (!options_.validation_file.empty())
    Scorer(load_student(start_, *teacher_, options_.arguments.seed), start_, options_.validation_file,
           options_.columns);
}

void Distiller::prepare_training(const DistillationTexts& texts, std::unique_ptr<const LayerTeacher> layers) {
  Trainer::Parts& p = trainer_->parts();
  tasks::PreparedTask prepared;
  prepared.task = std::make_unique<Distillation>(teacher_->kind(), options_.losses, std::move(layers));
  auto features = std::make_unique<DistillationFeatures>(texts, outputs_, p.model, *p.tokenizer,
                                                         static_cast<int32_t>(p.arguments.max_seq_length));
  log_info("texts: {} for training with {} tokens, {} held out{}", features->size(), features->num_tokens(),
           held_.size(),
           features->num_truncated() > 0 ? fmt::format("; {} are longer than {} tokens",
                                                       features->num_truncated(), p.arguments.max_seq_length)
                                         : "");
  prepared.train = std::move(features);
  train::use_features(p, std::move(prepared));
}

std::unique_ptr<const LayerTeacher> Distiller::layer_teacher() const {
  const LayerLosses& losses = options_.losses.layers;
  if (!losses.any()) return nullptr;
  const Trainer::Parts& p = trainer_->parts();
  return std::make_unique<LayerTeacher>(losses, teacher_->model(),
                                        *Tokenizer::from_pretrained(options_.teacher), p.model, *p.tokenizer,
                                        p.arguments.max_seq_length);
}

std::string Distiller::likeness() const { return likeness_name(teacher_->kind()); }

double Distiller::likeness_of(const fs::path& folder, const Model& model) const {
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  const DistillationFeatures features(held_, outputs_, model, *tokenizer,
                                      static_cast<int32_t>(trainer_->parts().arguments.max_seq_length));
  const Distillation task(teacher_->kind(), options_.losses);
  train::StepMemory memory(model.state().parameters.device());
  const std::atomic<bool> never = false;
  constexpr int64_t kBatch = 32;
  return value_of(train::evaluate_features(model.state(), task, features, kBatch, "", memory, never),
                  likeness());
}

double Distiller::speed_of(const fs::path& folder) const {
  constexpr size_t kTexts = 256;  // fewer are read several times
  std::vector<std::string> texts, pairs;
  for (size_t i = 0; i < kTexts; ++i) {
    texts.push_back(held_.texts[i % held_.texts.size()]);
    if (!held_.pairs.empty()) pairs.push_back(held_.pairs[i % held_.pairs.size()]);
  }
  const bool bf16 = *trainer_->parts().arguments.bf16;
  std::function<void()> read;
  if (teacher_->kind() == TargetKind::embedding) {
    EmbedderOptions options;
    options.bf16 = bf16;
    read = [&texts, embedder = std::make_shared<Embedder>(folder, options)] { embedder->embed(texts); };
  } else {
    PipelineOptions options;
    options.bf16 = bf16;
    read = [&texts, &pairs, pipeline = std::make_shared<Pipeline>(folder, options)] {
      pipeline->predict(texts, pairs);
    };
  }
  read();  // packs the weights and takes memory
  double seconds = seconds_of(read);
  for (int i = 0; i < 2; ++i) seconds = std::min(seconds, seconds_of(read));  // another process may interfere
  return static_cast<double>(texts.size()) / std::max(seconds, 1e-9);
}

DistillRow Distiller::row_of(const std::string& name, const fs::path& folder) const {
  ModelOptions options;
  options.task = teacher_->model().task();
  const Model model = Model::from_pretrained(folder, options);
  train::use_precision(model, *trainer_->parts().arguments.bf16);
  DistillRow row;
  row.name = name;
  row.likeness = likeness_of(folder, model);
  row.size = size_of(folder, model);
  row.sentences_per_second = speed_of(folder);
  row.score = std::numeric_limits<double>::quiet_NaN();
  if (options_.validation_file.empty()) return row;
  Scorer scorer(model, folder, options_.validation_file, options_.columns);
  score_ = scorer.metric();
  row.score = value_of(scorer.evaluate(), score_);
  return row;
}

std::vector<DistillRow> Distiller::compare() const {
  const fs::path output = options_.arguments.output_dir;
  std::vector<DistillRow> rows = {row_of("teacher", options_.teacher)};
  LogEntry results;
  const auto add = [&](const char* name, const fs::path& folder, const std::string& prefix) {
    rows.push_back(row_of(name, folder));
    results.emplace_back(prefix + likeness(), rows.back().likeness);
    if (!score_.empty()) results.emplace_back(prefix + score_, rows.back().score);
  };
  if (student_had_head_) add("student before", start_, "before_");
  add("student after", output, "");
  train::add_results(output, results);
  return rows;
}

}  // namespace graft::transfer
