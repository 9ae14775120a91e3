// A hint names only options that the command has which prints it: every "--name" in the sources' strings is
// looked up in the --help of the verbs that run this source.
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;

using Names = std::set<std::string>;

const std::vector<std::string> kVerbs = {
    "train",           "evaluate", "predict",       "tokenize", "info",  "parity", "pull",    "generate",
    "train-tokenizer", "embed",    "verify-resume", "adapt",    "prune", "merge",  "distill", "xling"};

Names options_of(const std::string& verb) {
  const std::string help = graft_output({verb, "--help"});
  const std::regex option("\n  --([a-z0-9_]+) ");
  Names names;
  for (std::sregex_iterator at(help.begin(), help.end(), option), end; at != end; ++at)
    names.insert((*at)[1]);
  return names;
}

// Verbs that run code of this source; the rest is held against those that train and use models.
std::vector<std::string> verbs_of(const fs::path& source) {
  std::string name = source.stem().string();
  if (source.parent_path().filename() == "cli") {
    std::replace(name.begin(), name.end(), '_', '-');
    if (std::find(kVerbs.begin(), kVerbs.end(), name) != kVerbs.end()) return {name};
  }
  return {"train", "evaluate", "predict"};
}

// Where a source is run by fewer verbs than its folder: found by reading, each with its reason.
const std::map<std::string, std::vector<std::string>>& exceptions() {
  static const std::map<std::string, std::vector<std::string>> table = {
      {"transfer/adapt.cpp", {"adapt"}},
      {"transfer/adapt_options.cpp", {"adapt"}},
      {"transfer/xling.cpp", {"xling"}},
      {"transfer/xling_data.cpp", {"xling"}},
      {"transfer/xling_few_shot.cpp", {"xling"}},
      {"transfer/xling_options.cpp", {"xling"}},
      {"transfer/xling_report.cpp", {"xling"}},
      {"transfer/stage.cpp", {"adapt", "xling"}},
      {"transfer/contrastive.cpp", {"adapt"}},
      {"transfer/corpus.cpp", {"adapt"}},
      {"transfer/corpus_report.cpp", {"adapt"}},
      {"transfer/plan.cpp", {"adapt"}},
      {"transfer/pretraining.cpp", {"adapt"}},
      {"transfer/pretraining_text.cpp", {"adapt"}},
      {"transfer/text_source.cpp", {"adapt"}},
      {"transfer/vocabulary.cpp", {"adapt"}},
      {"transfer/new_pieces.cpp", {"adapt"}},
      // Trainer and what it alone calls
      {"train/arguments.cpp", {"train"}},
      {"train/argument_values.cpp", {"train"}},
      {"train/reference_arguments.cpp", {"train"}},
      {"train/argument_table.cpp", {"train"}},
      {"train/divergence.cpp", {"train"}},
      {"train/evaluation_sets.cpp", {"train"}},
      // the command line that it makes
      {"cli/predict_test_file.cpp", {"predict"}},
      {"train/reports.cpp", {"train"}},
      {"train/plan.cpp", {"train"}},
      {"train/output.cpp", {"train"}},
      {"train/schedule.cpp", {"train"}},
      // its hint for a pass without gradients names --per_device_eval_batch_size, which train has too
      {"train/memory_needs.cpp", {"train"}},
      {"train/trainer_setup.cpp", {"train"}},
      {"train/job.cpp", {"train"}},
      {"train/parameter_choice.cpp", {"train"}},
      {"train/best_model.cpp", {"train"}},
      {"train/checkpoint.cpp", {"train"}},
      {"train/output_lock.cpp", {"train"}},
      {"train/resume.cpp", {"train"}},
      {"train/run_record.cpp", {"train"}},
      {"train/runner.cpp", {"train"}},
      {"train/verify_resume.cpp", {"train"}},
      {"cli/train_options.cpp", {"train"}},
      // "fine-tune it first: graft train --task ...": a whole command
      {"train/trained_model.cpp", {"train"}},
      {"models/registry.cpp", {"train"}},
      {"generate/causal_decoder.cpp", {"train"}},
      // the limits of a continuation
      {"train/text_generation.cpp", {"generate"}},
      // its refuse_same_file
      {"cli/output_stream.cpp", {"predict", "tokenize"}},
      // predict has its masks in the text
      {"data/mask.cpp", {"train", "evaluate"}},
      // the strict mode is of a metric
      {"tasks/token_classification.cpp", {"train", "evaluate"}},
      {"train/entity_groups.cpp", {"predict"}},
      // predict and evaluate keep the head that there is
      {"models/weights.cpp", {"train"}},
      {"data/labels.cpp", {"train"}},
      // what training alone checks
      {"models/adapter.cpp", {"train"}},
      {"cli/merge_adapter.cpp", {"merge"}},
      {"cli/predict_adapters.cpp", {"predict"}},
      {"models/adapter_tensors.cpp", {"train"}},
      {"models/language_adapter.cpp", {"train"}},
      // what is left to do with a language adapter alone
      {"models/adapter_merge.cpp", {"train"}},
      {"train/hidden_cache.cpp", {"train"}},
      {"train/peft.cpp", {"train"}},
      {"tasks/sentence_embedding.cpp", {"train"}},
      {"tasks/replaced_tokens.cpp", {"train", "adapt"}},
      {"tasks/embedding_loss.cpp", {"train"}},
      {"tasks/sequence_classification.cpp", {"train"}},
      {"tasks/task.cpp", {"train"}},
      {"train/weight_average.cpp", {"train"}},
      {"data/sampler.cpp", {"train"}},
      {"data/array_cache.cpp", {"train"}},
      {"data/token_cache.cpp", {"train"}},
      {"train/embedder.cpp", {"embed"}},
      {"train/optim_choice.cpp", {"train"}},
      {"train/plan_memory.cpp", {"train"}},
      {"train/regularization.cpp", {"train"}},
      {"train/disk_space.cpp", {"train"}},
      {"train/evaluation.cpp", {"train"}},
      {"train/gradient_cache.cpp", {"train"}},
      {"train/label_entropy.cpp", {"train"}},
      {"train/metric_names.cpp", {"train"}},
      // each of a verb
      {"transfer/merge.cpp", {"merge"}},
      {"transfer/folders.cpp", {"prune", "merge", "distill"}},
      {"transfer/prune.cpp", {"prune"}},
      {"transfer/vocabulary_choice.cpp", {"prune", "distill"}},
      {"transfer/distill.cpp", {"distill"}},
      {"transfer/distill_options.cpp", {"distill"}},
      {"transfer/distill_texts.cpp", {"distill"}},
      {"transfer/layer_teacher.cpp", {"distill"}},
      {"transfer/start_student.cpp", {"distill"}},
      {"cli/stage_hooks.cpp", {"train", "adapt", "xling", "distill"}},
      {"transfer/parallel_text.cpp", {"distill", "adapt"}},
      {"transfer/pruned_student.cpp", {"distill"}},
      {"models/selection.cpp", {"prune"}},
      {"data/text_reader.cpp", {"prune", "distill"}},
      // predict reads no answers
      {"tasks/question_checks.cpp", {"train", "evaluate"}},
  };
  return table;
}

// "--name" in the string literals of a source, comments left out.
Names named_in(const fs::path& source) {
  std::ifstream in(source);
  Names names;
  const std::regex literal("\"(?:[^\"\\\\]|\\\\.)*\""), option("--([a-z][a-z0-9_]+)");
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(' ') == line.find("//")) continue;
    for (std::sregex_iterator at(line.begin(), line.end(), literal), end; at != end; ++at) {
      const std::string text = at->str();
      for (std::sregex_iterator o(text.begin(), text.end(), option); o != end; ++o) names.insert((*o)[1]);
    }
  }
  return names;
}

TEST(Hints, NameOptionsThatTheCommandHas) {
  std::map<std::string, Names> options;
  for (const std::string& verb : kVerbs) {
    options[verb] = options_of(verb);
    ASSERT_GE(options[verb].size(), 2u) << verb;
    options[verb].insert({"help", "version"});
  }
  const fs::path src = GRAFT_SOURCE_DIR "/src";
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    // main.cpp shows whole command lines.
    if (entry.path().extension() != ".cpp" || entry.path().filename() == "main.cpp") continue;
    const std::string relative = fs::relative(entry.path(), src).string();
    const auto exception = exceptions().find(relative);
    for (const std::string& name : named_in(entry.path())) {
      ++found;
      for (const std::string& verb :
           exception == exceptions().end() ? verbs_of(entry.path()) : exception->second)
        EXPECT_TRUE(options[verb].contains(name))
            << relative << " names --" << name << ", `graft " << verb << "` has no such option";
    }
  }
  EXPECT_GT(found, 40);
  for (const auto& [file, verbs] : exceptions()) EXPECT_TRUE(fs::exists(src / file)) << file;
}

}  // namespace
}  // namespace graft::test
