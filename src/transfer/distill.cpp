#include "transfer/distill.h"

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
#include "tasks/task_table.h"
#include "train/arguments.h"
#include "train/evaluation.h"
#include "train/job.h"
#include "train/output.h"
#include "train/parts.h"
#include "train/saved_arguments.h"
#include "train/sequence_length.h"
#include "train/trained_model.h"
#include "transfer/distill_texts.h"
#include "transfer/folders.h"
#include "transfer/new_head.h"
#include "transfer/pruned_student.h"
#include "transfer/scoring.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

void refuse(bool given, const std::string& option, const std::string& why) {
  if (given) throw UsageError(fmt::format("--{} is refused: {}", option, why));
}

// Training arguments that belong to the loss and the data of a task, or to an evaluation.
void check_distill_arguments(const TrainingArguments& a) {
  const Json given = train::to_json(a), defaults = train::to_json(TrainingArguments());
  for (const tasks::TaskEntry* task : tasks::task_table())
    for (const char* name : task->own_options)
      refuse(!(given.at(name) == defaults.at(name)), name,
             "graft distill has losses and features of its own");
  const std::string why = "the table at the end compares the models";
  refuse(a.do_eval.value_or(false), "do_eval", why);
  refuse(a.eval_on_start, "eval_on_start", why);
  refuse(a.eval_strategy != "no", "eval_strategy", why);
  refuse(a.load_best_model_at_end, "load_best_model_at_end", why);
  refuse(a.save_strategy == "best", "save_strategy best", why);
  refuse(a.early_stopping_patience.has_value(), "early_stopping_patience", why);
  refuse(a.do_predict, "do_predict", why);
}

// Losses that this teacher has not.
void check_losses(const DistillationLosses& losses, TargetKind kind) {
  const DistillationLosses usual;
  const bool embeds = kind == TargetKind::embedding;
  const std::string why = embeds ? "the teacher gives embeddings" : "the teacher gives scores of labels";
  if (embeds) {
    refuse(losses.temperature != usual.temperature, "temperature", why);
    refuse(losses.alpha != usual.alpha, "alpha", why);
  } else {
    refuse(losses.embedding != usual.embedding, "embedding_weight", why);
    refuse(losses.similarity != usual.similarity, "similarity_weight", why);
  }
}

void check_distill_options(const DistillOptions& o) {
  const bool prunes = !o.layers.empty() || !o.vocabulary.empty() || o.add_pieces > 0;
  const int ways = (o.student.empty() ? 0 : 1) + (o.config_name.empty() ? 0 : 1) + (prunes ? 1 : 0);
  if (ways != 1)
    throw UsageError(
        ways == 0 ? "there is no student" : "the student is described twice",
        "give --layers and --vocabulary (the teacher, pruned), --student (a folder) or --config_name "
        "(random weights)");
  if (o.vocabulary.empty() && o.add_pieces == 0 && (o.vocabulary_size > 0 || o.min_count > 1))
    throw UsageError(
        fmt::format("--{} needs --vocabulary", o.vocabulary_size > 0 ? "vocabulary_size" : "min_count"));
  if (o.train_file.empty() && o.parallel.empty())
    throw UsageError("--train_file is needed: the text that the teacher reads",
                     "or --parallel: pairs of sentences, of which it reads the first");
  if (o.add_pieces > 0 && o.parallel.empty())
    throw UsageError("--add_pieces needs --parallel: the pieces are those of its second sentences");
  if (o.align && o.add_pieces == 0)
    throw UsageError("--align needs --add_pieces: it is where new pieces start");
  if (!o.pieces_file.empty() && o.add_pieces == 0)
    throw UsageError("--pieces_file needs --add_pieces: how many pieces of it are added");
  const LayerLosses& layers = o.losses.layers;
  if (layers.relation <= 0) {
    refuse(layers.relation_heads > 0, "relation_heads", "there is no relation_weight");
    refuse(layers.relation_layer > 0, "relation_layer", "there is no relation_weight");
  }
  check_distill_arguments(o.arguments);
  train::check(o.arguments);
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
  check_losses(options_.losses, teacher_->kind());
  ParallelText pairs;
  if (!options_.parallel.empty()) {
    if (teacher_->kind() != TargetKind::embedding)
      throw UsageError("--parallel needs a sentence encoder as the teacher",
                       "the student learns the embedding of the first sentence from both");
    pairs = read_parallel(options_.parallel, options_.max_train_samples);
  }
  DistillCorpus corpus = read_distill_corpus(options_, *teacher_, pairs);
  make_student(pairs);
  const fs::path cache = options_.teacher_cache.empty() ? fs::path(options_.arguments.output_dir) / "teacher"
                                                        : options_.teacher_cache;
  const double seconds =
      seconds_of([&] { outputs_ = teacher_->outputs(cache, corpus.teacher, corpus.teacher_pairs); });
  log_info("teacher: {} outputs of {} numbers {} ({:.1f} s)", outputs_->rows(), outputs_->columns(),
           outputs_->was_there() ? "read from the cache" : "computed", seconds);
  held_ = std::move(corpus.held);
  prepare_training(corpus.train);
}

Distiller::~Distiller() = default;

void Distiller::make_student(const ParallelText& pairs) {
  start_ = options_.student;
  if (!start_.empty()) return;
  start_ = fs::path(options_.arguments.output_dir) / "start";
  if (train::resumes(options_.arguments) && path_exists(start_ / "config.json")) return;
  if (!options_.config_name.empty()) return make_random_student();
  try {
    make_pruned_student(options_, pairs, start_);
  } catch (...) {
    remove_tree(start_);  // so that the next attempt finds the output folder as it was
    throw;
  }
}

void Distiller::make_random_student() const {
  ModelOptions model_options;
  model_options.task = teacher_->model().task();
  model_options.labels = teacher_->model().labels();
  model_options.problem_type = teacher_->model().problem_type();
  model_options.seed = options_.arguments.seed;
  const Model model = Model::from_config(options_.config_name, model_options);
  const auto tokenizer = Tokenizer::from_pretrained(options_.teacher);
  tokenizer->check_embedding(model.state().network.encoder->word_embeddings()->rows());
  save_derived(model, options_.teacher, *tokenizer, start_);
}

void Distiller::prepare_training(const DistillationTexts& texts) {
  ModelOptions model_options;
  model_options.task = teacher_->model().task();
  const Model student = Model::from_pretrained(start_, model_options);
  student_had_head_ = !has_new_head(student);
  const int64_t outputs = output_size(student);
  if (outputs != teacher_->columns())
    fail_with("take a student with as many outputs, or the teacher pruned (--layers, --vocabulary)",
              "{}: the student gives {} numbers for a text and the teacher {}", start_.string(), outputs,
              teacher_->columns());
  if (student.labels() != teacher_->model().labels())
    fail("{}: the student's labels are not those of the teacher", start_.string());
  TaskData data;
  data.tokenizer = Tokenizer::from_pretrained(start_);
  trainer_ = std::make_unique<Trainer>(student, options_.arguments, std::move(data));
  Trainer::Parts& p = trainer_->parts();
  tasks::PreparedTask prepared;
  prepared.task = std::make_unique<Distillation>(teacher_->kind(), options_.losses, layer_teacher());
  auto features = std::make_unique<DistillationFeatures>(texts, outputs_, p.model, *p.tokenizer,
                                                         static_cast<int32_t>(p.arguments.max_seq_length));
  log_info("texts: {} for training with {} tokens, {} held out{}", features->size(), features->num_tokens(),
           held_.size(),
           features->num_truncated() > 0 ? fmt::format("; {} are longer than {} tokens",
                                                       features->num_truncated(), p.arguments.max_seq_length)
                                         : "");
  prepared.train = std::move(features);
  train::use_features(p, std::move(prepared));
  // What the table at the end would stumble over is said before the training.
  if (!options_.validation_file.empty())
    Scorer(Model::from_pretrained(start_, model_options), start_, options_.validation_file, options_.columns);
}

std::unique_ptr<const LayerTeacher> Distiller::layer_teacher() const {
  const LayerLosses& losses = options_.losses.layers;
  if (!losses.any()) return nullptr;
  const Trainer::Parts& p = trainer_->parts();
  return std::make_unique<LayerTeacher>(losses, teacher_->model(),
                                        *Tokenizer::from_pretrained(options_.teacher), p.model, *p.tokenizer,
                                        p.arguments.max_seq_length);
}

std::string Distiller::likeness() const {
  return teacher_->kind() == TargetKind::logits ? "agreement" : "cosine";
}

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
  constexpr size_t kTexts = 256;
  std::vector<std::string> texts = held_.texts, pairs = held_.pairs;
  texts.resize(std::min(texts.size(), kTexts));
  if (!pairs.empty()) pairs.resize(texts.size());
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
