#include "transfer/distill_options.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "tasks/task_table.h"
#include "train/arguments.h"

namespace graft::transfer {

namespace {

constexpr const char* kProbing = "linear_probing";

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
  for (const auto& [name, instead] : {std::pair{"label_names", "--label_column names the column"},
                                      {"tokenized_path", "the texts are tokenised in memory"},
                                      {"prediction_loss_only", "the table at the end compares the models"}})
    refuse(!(given.at(name) == defaults.at(name)), name, instead);
  refuse(!a.peft_type.empty() && a.peft_type != "bitfit" && a.peft_type != kProbing, "peft_type",
         "the student's own weights are trained: all of them, or with bitfit or linear_probing");
  const std::string why = "the table at the end compares the models";
  refuse(a.do_eval.value_or(false), "do_eval", why);
  refuse(a.eval_on_start, "eval_on_start", why);
  refuse(a.eval_strategy != "no", "eval_strategy", why);
  refuse(a.load_best_model_at_end, "load_best_model_at_end", why);
  refuse(a.save_strategy == "best", "save_strategy best", why);
  refuse(a.early_stopping_patience.has_value(), "early_stopping_patience", why);
  refuse(a.do_predict, "do_predict", why);
}

// Columns and tags of tasks that read no texts with labels.
void check_columns(const DatasetOptions& columns) {
  for (const auto& [name, value] : {std::pair{"target_column", &columns.target_column},
                                    {"source_lang", &columns.source_lang},
                                    {"target_lang", &columns.target_lang},
                                    {"tag_scheme", &columns.tag_scheme}})
    refuse(!value->empty(), name, "a teacher reads texts and their labels");
  refuse(columns.repair_tags, "repair_tags", "a teacher reads texts and their labels");
}

}  // namespace

// Losses that this teacher has not, and weights that leave nothing to learn.
void check_losses(const DistillOptions& o, TargetKind kind) {
  const DistillationLosses &losses = o.losses, usual;
  if (kind == TargetKind::embedding) {
    refuse(!o.columns.label_column.empty(), "label_column",
           "a sentence encoder as the teacher reads no labels");
    refuse(!o.columns.text_pair_column.empty() && o.vocabulary.empty(), "text_pair_column",
           "a sentence encoder as the teacher reads single texts");
  }
  if (kind != TargetKind::logits) {
    const std::string why = kind == TargetKind::embedding
                                ? "the teacher gives embeddings"
                                : "the teacher gives scores, from which their squared difference is learned";
    refuse(losses.temperature != usual.temperature, "temperature", why);
    refuse(losses.alpha != usual.alpha, "alpha", why);
  }
  if (kind != TargetKind::embedding) {
    const std::string why = "the teacher gives scores of labels";
    refuse(losses.embedding != usual.embedding, "embedding_weight", why);
    refuse(losses.similarity != usual.similarity, "similarity_weight", why);
    return;
  }
  if (losses.embedding > 0 || losses.layers.any()) return;
  if (losses.similarity <= 0)
    throw UsageError("no loss has a weight: nothing would be trained",
                     "give --embedding_weight, --similarity_weight, --hidden_weight or --relation_weight");
  if (o.arguments.per_device_train_batch_size < 2)
    throw UsageError("--similarity_weight compares the texts of a batch, and a batch has one",
                     "give --embedding_weight, or a larger --per_device_train_batch_size");
}

void check_distill_options(const DistillOptions& o) {
  const bool prunes = !o.layers.empty() || !o.vocabulary.empty() || o.add_pieces > 0;
  const int ways = (o.student.empty() ? 0 : 1) + (o.config_name.empty() ? 0 : 1) + (prunes ? 1 : 0);
  if (ways != 1)
    throw UsageError(ways == 0 ? "there is no student" : "the student is described twice",
                     "give --layers and --vocabulary (the teacher, pruned; with --parallel also "
                     "--add_pieces), --student (a "
                     "folder) or --config_name (random weights)");
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
  if (!o.teacher_cache.empty() && path_exists(o.teacher_cache) && !is_folder(o.teacher_cache))
    throw UsageError(fmt::format("--teacher_cache {}: is a file", o.teacher_cache.string()), "name a folder");
  const LayerLosses& layers = o.losses.layers;
  if (layers.relation <= 0) {
    refuse(layers.relation_heads > 0, "relation_heads", "there is no --relation_weight");
    refuse(layers.relation_layer > 0, "relation_layer", "there is no --relation_weight");
  }
  const char* of_layers = layers.hidden > 0 ? "hidden_weight" : "relation_weight";
  refuse(layers.any() && o.add_pieces > 0, of_layers,
         "layers are compared token by token, and the teacher has none of the pieces of --add_pieces");
  refuse(layers.any() && o.arguments.peft_type == kProbing, of_layers,
         "--peft_type linear_probing trains the head alone");
  check_columns(o.columns);
  refuse(!o.columns.text_column.empty() && o.train_file.empty() && o.vocabulary.empty(), "text_column",
         "--parallel has no columns with names");
  check_distill_arguments(o.arguments);
  train::check(o.arguments);
}

}  // namespace graft::transfer
