// graft distill: a small student that learns from a teacher.
#include "transfer/distill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/stage_hooks.h"
#include "cli/verbs.h"
#include "train/arguments.h"
#include "train/parts.h"

namespace graft::cli {

namespace {

struct DistillCommand : transfer::DistillOptions {
  std::string teacher_name, student_name, config, validation, cache;
  std::vector<std::string> texts, pieces, added_pieces;
  bool json = false;
};

// Of a number from 0 to `most`.
void declare_number(Options& options, const char* name, double& to, double most, const std::string& help) {
  options.value(name, help, fmt::format("{}", to), [name, &to, most](const std::string& value) {
    to = train::parse_real(name, value);
    train::check_range(name, to, {0, most});
  });
}

void declare_losses(Options& options, transfer::DistillationLosses& losses) {
  declare_number(options, "embedding_weight", losses.embedding, 1e6,
                 "sentence encoders: weight of 1 - cosine to the teacher's embedding");
  declare_number(
      options, "similarity_weight", losses.similarity, 1e6,
      "sentence encoders: weight of the divergence of the similarities among the texts of a batch");
  options.value("temperature", "classifiers: of both models' logits (Hinton et al. 2015)",
                fmt::format("{}", losses.temperature), [&losses](const std::string& value) {
                  losses.temperature = train::parse_real("temperature", value);
                  train::check_range("temperature", losses.temperature, {0.01, 1000});
                });
  declare_number(options, "alpha", losses.alpha, 1,
                 "classifiers: share of the loss of the labels, where the texts have labels");
  transfer::LayerLosses& layers = losses.layers;
  declare_number(
      options, "hidden_weight", layers.hidden, 1e6,
      "weight of the squared differences of the layers' outputs, token by token (Jiao et al. 2020, "
      "TinyBERT); for a student as wide as its teacher");
  declare_number(
      options, "relation_weight", layers.relation, 1e6,
      "weight of the differences in how queries, keys and values of a text relate to each other (Wang "
      "et al. 2021, MiniLMv2); for any width");
  options.integer("relation_heads", layers.relation_heads,
                  "parts into which queries, keys and values are cut for it; default: the teacher's heads",
                  {1, 1e6});
  options.integer("relation_layer", layers.relation_layer,
                  "the teacher's layer for it, counted from 1; default: the last one", {1, 1e6});
}

Options declare(DistillCommand& o) {
  Options options("distill", "a small student that learns from a teacher on unlabelled text",
                  {"graft distill --teacher all-MiniLM-L6-v2 --layers 3 --vocabulary texts.txt \\",
                   "    --train_file texts.txt --output_dir small --learning_rate 5e-4",
                   "graft distill --teacher classifier --student DIR --train_file unlabelled.txt \\",
                   "    --validation_file dev.csv --output_dir small",
                   "graft distill --teacher DIR --config_name small.json --train_file texts.txt \\",
                   "    --output_dir small"});
  options.text("teacher", o.teacher_name,
               "sentence encoder or classifier: a folder, or ORG/NAME[@revision] on the hub", true);
  options.list("train_file", o.texts, "text: .txt .csv .tsv .jsonl .json, each also .gz .zst .xz");
  options.text("student", o.student_name, "folder of the student to start from");
  options.text("config_name", o.config, "config.json of a student with random weights");
  options.text(
      "layers", o.layers,
      "the student is the teacher with these layers, such as 0,2,5; one number: so many, evenly spread");
  options.list("vocabulary", o.pieces, "the student is the teacher with the pieces of these texts");
  options.integer("vocabulary_size", o.vocabulary_size,
                  "pieces that stay, the most frequent ones; default: every piece that occurs", {1, 1e8});
  options.integer("min_count", o.min_count, "rarer pieces are left out", {1, 1e12});
  options.list(
      "parallel", o.parallel,
      "pairs of sentences: files of SOURCE TAB TARGET without a header, or two files en.txt,de.txt; the "
      "teacher reads the first sentence and the student learns both");
  options.integer("add_pieces", o.add_pieces,
                  "new pieces of the second sentences of --parallel; of the teacher's own, those of the "
                  "first ones stay, or of "
                  "--vocabulary",
                  {1, 1e7});
  options.list("pieces_file", o.added_pieces, "text of the new pieces, instead of those sentences");
  options.flag("align", o.align, "new pieces start from those of the teacher with which they are aligned");
  options.text("validation_file", o.validation,
               "labelled data (or pairs) on which the table scores the models");
  options.columns(o.columns);
  options.integer("max_train_samples", o.max_train_samples, "use the first N texts", {1, 1e12});
  declare_losses(options, o.losses);
  options.text("teacher_cache", o.cache,
               "folder for the teacher's outputs, which another run may share; default: OUTPUT_DIR/teacher");
  options.flag("overwrite_output_dir", o.overwrite_output_dir, "write into an output_dir that is not empty");
  options.flag("json", o.json, "the table on stdout as json");
  options.threads();
  o.arguments.learning_rate = 5e-4;  // what a student that starts from parts of its teacher needs
  options.training_arguments(o.arguments);
  return options;
}

// As --config it repeats the run.
Json options_to_save(const Options& options) {
  const std::vector<std::string> other = {"config", "json", "num_threads", "overwrite_output_dir"};
  Json json = Json::object();
  for (const Options::Setting& s : options.settings())
    if (!s.training && !s.values.empty() && std::find(other.begin(), other.end(), s.name) == other.end())
      json[s.name] = s.is_list ? Json(s.values) : Json(s.values.front());
  return json;
}

Json json_of(const transfer::DistillRow& row, const std::string& likeness, const std::string& score) {
  Json json = {{"model", row.name},
               {likeness.c_str(), row.likeness},
               {"parameters", row.size.parameters},
               {"layers", row.size.layers},
               {"vocabulary", row.size.vocabulary},
               {"bytes", row.size.bytes},
               {"sentences_per_second", row.sentences_per_second}};
  if (!score.empty()) json[score] = row.score;
  return json;
}

void print_models(const std::vector<transfer::DistillRow>& rows, const std::string& likeness,
                  const std::string& score) {
  const auto number = [](double value) { return std::isnan(value) ? "-" : fmt::format("{:.4f}", value); };
  fmt::print("{:16} {:>9} {:>10} {:>10} {:>8} {:>12}\n", "", likeness, score.empty() ? "score" : score,
             "parameters", "MB", "sentences/s");
  for (const transfer::DistillRow& row : rows)
    fmt::print("{:16} {:>9} {:>10} {:>8.2f} M {:>8.1f} {:>12.0f}\n", row.name, number(row.likeness),
               number(row.score), static_cast<double>(row.size.parameters) / 1e6,
               static_cast<double>(row.size.bytes) / 1e6, row.sentences_per_second);
}

void find_files(DistillCommand& o) {
  if (!o.teacher_name.empty()) o.teacher = find_model(o.teacher_name);
  if (!o.student_name.empty()) o.student = find_model(o.student_name);
  o.config_name = o.config;
  o.validation_file = o.validation;
  o.teacher_cache = o.cache;
  o.train_file.assign(o.texts.begin(), o.texts.end());
  o.vocabulary.assign(o.pieces.begin(), o.pieces.end());
  o.pieces_file.assign(o.added_pieces.begin(), o.added_pieces.end());
}

}  // namespace

int distill(int argc, char** argv) {
  DistillCommand o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  refuse_no_training(options, o.arguments);
  train::use_log_level(o.arguments.log_level);
  train::expand_home(o.arguments.output_dir);
  o.arguments.do_train = true;
  find_files(o);
  const EndOnSignals ends(
      "\nStopped before the training: no step was done. The same command with --resume_from_checkpoint true "
      "uses "
      "what is there.\n");
  transfer::Distiller distiller(o);
  Trainer& trainer = distiller.trainer();
  trainer.parts().job_options = options_to_save(options);
  Observer observer;
  observer.on_log = say_log_entry;
  if (!o.arguments.disable_tqdm.value_or(false)) observer.on_step = show_progress;
  TrainResult result;
  {
    const StopOnSignals stop(trainer,
                             "\nStopped after the training. The student is saved; the table is missing.\n");
    result = trainer.train(observer);
  }
  end_progress();
  if (result.interrupted) {
    say(fmt::format(
        "interrupted at step {}; the same command with --resume_from_checkpoint true goes on from "
        "the last checkpoint",
        result.global_step));
    return signal_exit_code();
  }
  say(fmt::format("done in {:.0f} s; the student is in {}", result.seconds, o.arguments.output_dir));
  const std::vector<transfer::DistillRow> rows = distiller.compare();
  if (o.json) {
    Json json = Json::array();
    for (const auto& row : rows) json.push_back(json_of(row, distiller.likeness(), distiller.score()));
    fmt::print("{}\n", json.dump());
  } else {
    print_models(rows, distiller.likeness(), distiller.score());
  }
  return 0;
}

}  // namespace graft::cli
