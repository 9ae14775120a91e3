#include "transfer/start_student.h"

#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "models/state.h"
#include "train/arguments.h"
#include "train/checkpoint.h"
#include "transfer/folders.h"
#include "transfer/new_head.h"
#include "transfer/pruned_student.h"
#include "transfer/stage.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr const char* kStudentKey = "student.json";  // of start/: what the student was made of; written last

// Everything that decides what the student is before the training.
Json student_key(const DistillOptions& o, const ParallelText& pairs) {
  Json key = {{"teacher", model_fingerprint(o.teacher)}};
  if (!o.config_name.empty()) {
    key["config_name"] = read_json(o.config_name);
    key["seed"] = o.arguments.seed;
    return key;
  }
  key["layers"] = o.layers;
  key["vocabulary"] = files_fingerprint(o.vocabulary);
  key["text_column"] = o.columns.text_column;
  key["text_pair_column"] = o.columns.text_pair_column;
  key["vocabulary_size"] = o.vocabulary_size;
  key["min_count"] = o.min_count;
  key["add_pieces"] = o.add_pieces;
  if (o.add_pieces == 0) return key;
  key["parallel"] = {fingerprint_of(pairs.source), fingerprint_of(pairs.target)};
  key["pieces_file"] = files_fingerprint(o.pieces_file);
  key["align"] = o.align;
  return key;
}

// How the student in the folder differs from one of this key; "" = not at all.
std::string difference_of(const fs::path& start, const Json& key) {
  if (!path_exists(start / kStudentKey)) return fmt::format("{} is missing", kStudentKey);
  const Json there = read_json(start / kStudentKey);
  std::vector<std::string> options;
  for (const auto& [name, value] : key.items())
    if (there.value(name, Json()) != value) options.push_back("--" + name);
  for (const auto& [name, value] : there.items())
    if (!key.contains(name)) options.push_back("--" + name);
  return options.empty() ? "" : fmt::format("{} or what it reads is another", fmt::join(options, ", "));
}

void make_random_student(const DistillOptions& o, const Teacher& teacher, const fs::path& start) {
  ModelOptions model_options;
  model_options.task = teacher.model().task();
  model_options.labels = teacher.model().labels();
  model_options.problem_type = teacher.model().problem_type();
  model_options.seed = o.arguments.seed;
  const Model model = Model::from_config(o.config_name, model_options);
  const auto tokenizer = Tokenizer::from_pretrained(o.teacher);
  const int64_t rows = model.state().network.encoder->word_embeddings()->rows();
  if (rows < tokenizer->vocab_size())
    fail_with(
        fmt::format("set \"vocab_size\" to {}", tokenizer->vocab_size()),
        "{}: \"vocab_size\" is {}, and the tokenizer of the teacher, which the student takes over, has {} "
        "pieces",
        o.config_name.string(), rows, tokenizer->vocab_size());
  tokenizer->check_embedding(rows);
  save_derived(model, o.teacher, *tokenizer, start);
}

}  // namespace

StartStudent make_student(const DistillOptions& o, const Teacher& teacher, const ParallelText& pairs) {
  if (!o.student.empty()) return {o.student, false};
  const fs::path output = o.arguments.output_dir, start = output / "start";
  const Json key = student_key(o, pairs);
  if (train::resumes(o.arguments) && path_exists(start)) {
    const std::string differ = difference_of(start, key);
    if (differ.empty()) return {start, false};
    if (!train::checkpoints_in(output).empty())
      fail_with("resume with the options of that run, or choose another --output_dir",
                "{}: the student of the run there was made in another way: {}", start.string(), differ);
    log_info("{}: made again: {}", start.string(), differ);
    remove_tree(start);
  }
  try {
    if (!o.config_name.empty())
      make_random_student(o, teacher, start);
    else
      make_pruned_student(o, pairs, start);
    write_json(start / kStudentKey, key);
  } catch (...) {
    remove_tree(start);  // so that the next attempt finds the output folder as it was
    throw;
  }
  return {start, true};
}

Model load_student(const fs::path& folder, const Teacher& of, uint64_t seed) {
  const Model& teacher = of.model();
  ModelOptions options;
  options.task = teacher.task();
  options.seed = seed;
  Model student = Model::from_pretrained(folder, options);
  if (!has_new_head(student) || student.state().head->is_bare) return student;
  options.labels = teacher.labels();
  options.problem_type = teacher.problem_type();
  return Model::from_pretrained(folder, options);
}

}  // namespace graft::transfer
