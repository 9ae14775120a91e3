#include "transfer/adapt_options.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "models/bottleneck_config.h"
#include "train/arguments.h"
#include "train/output.h"
#include "train/reports.h"

namespace graft::transfer {
namespace {
constexpr const char *kDapt = "dapt", *kTapt = "tapt", *kTask = "task";

void refuse_option(bool given, const char* name, const std::string& why) {
  if (given) throw UsageError(fmt::format("--{} is refused: {}", name, why));
}

void check_languages(const AdaptJob& job) {
  const std::vector<LanguageFile> languages = files_by_language(job.corpus, "corpus");
  const bool named = !languages.empty();
  check_different_files(languages, "corpus");
  refuse_option(!named && job.sampling_temperature != 1, "sampling_temperature",
                "it mixes languages, and --corpus names none; write --corpus de=FILE,fr=FILE");
  refuse_option(languages.size() == 1 && job.sampling_temperature != 1, "sampling_temperature",
                "it mixes languages, and --corpus names one");
  const std::vector<LanguageFile> held_out = files_by_language(job.held_out_file, "held_out_file");
  if (named == held_out.empty() && !job.held_out_file.empty())
    throw UsageError(fmt::format("--held_out_file names {} and --corpus names {}",
                                 named ? "no languages" : "languages", named ? "languages" : "none"),
                     "name the languages of both: --corpus de=FILE,fr=FILE --held_out_file de=FILE,fr=FILE");
  for (const auto* one : {&languages, &held_out})
    for (const LanguageFile& file : *one) {
      const auto& others = one == &languages ? held_out : languages;
      const bool found = std::any_of(others.begin(), others.end(), [&](const LanguageFile& other) {
        return other.language == file.language;
      });
      if (!found && !held_out.empty())
        throw UsageError(fmt::format("--{} has no file of {}", one == &languages ? "held_out_file" : "corpus",
                                     file.language),
                         "name the same languages in both");
    }
  const char* why = "--corpus names languages; text of one corpus is needed for it";
  refuse_option(named && job.plan, "plan", why);
  refuse_option(named && !job.control.empty(), "control", why);
  refuse_option(named && job.extend_vocabulary > 0, "extend_vocabulary", why);
  refuse_option(named && !job.replay.empty(), "replay",
                "--corpus names languages; general text can be a part of a language's file");
}

void check_parallel(const AdaptJob& job, const Stages& stages) {
  refuse_option(job.parallel.empty() && job.tlm_share.has_value(), "tlm_share", "there is no --parallel");
  refuse_option(!stages.dapt && !job.parallel.empty(), "parallel",
                "--stages has no dapt, which reads the pairs");
  refuse_option(job.plan && !job.parallel.empty(), "parallel", "--plan measures the text of --corpus alone");
}

// Text that stands in two places: each of these is compared with the corpus, or mixed into it.
void check_other_text(const AdaptJob& job) {
  for (const auto& [name, files, why] :
       {std::tuple{"control", &job.control, "a control is unrelated text"},
        {"replay", &job.replay, "general text is another text than the domain's"},
        {"general", &job.general, "general text is another text than the domain's"},
        {"held_out_file", &job.held_out_file, "text that is trained on measures nothing"}})
    for (const std::string& file : *files)
      for (const std::string& corpus : job.corpus)
        if (std::error_code ignored; file == corpus || std::filesystem::equivalent(file, corpus, ignored))
          throw UsageError(fmt::format("{} is both --corpus and --{}: {}", corpus, name, why));
}

// Options that belong to another one, which is not given.
void check_companions(const AdaptJob& job) {
  const AdaptJob usual;
  refuse_option(job.replay.empty() && job.replay_ratio != usual.replay_ratio, "replay_ratio",
                "there is no --replay");
  refuse_option(!job.plan && job.pilot_steps != usual.pilot_steps, "pilot_steps", "there is no --plan");
}

// A language adapter in place of the whole model.
void check_peft_type(const AdaptJob& job, const Stages& stages) {
  const std::string name = models::bottleneck_name(job.job.arguments.peft_type);
  if (name.empty()) return;
  const bool bottleneck =
      name == "seq_bn_inv" || name == "double_seq_bn_inv" || name == "seq_bn" || name == "double_seq_bn";
  refuse_option(!bottleneck, "peft_type",
                "adapt trains the whole model, or a language adapter: seq_bn_inv or double_seq_bn_inv");
  refuse_option(
      stages.tapt || stages.task, "peft_type",
      "a language adapter is trained by --stages dapt alone; graft train trains the task adapter above it");
  refuse_option(job.extend_vocabulary > 0, "extend_vocabulary",
                "--peft_type is given: the embeddings are frozen, and new pieces would stay untrained");
  refuse_option(job.plan, "plan", "--peft_type is given, and the plan is of a run of the whole model");
}
}  // namespace

std::vector<LanguageFile> files_by_language(const std::vector<std::string>& values,
                                            const std::string& option) {
  std::vector<std::string> named, files;
  for (const std::string& value : values) {
    const bool has_language = !path_exists(value) && value.find('=') != std::string::npos;
    (has_language ? named : files).push_back(value);
  }
  if (!named.empty() && !files.empty())
    throw UsageError(fmt::format("--{}: some files have a language ({}) and some have none ({})", option,
                                 named.front(), files.front()),
                     fmt::format("give each a language: --{} de=FILE,fr=FILE", option));
  return language_files(named, option);
}

Stages parse_stages(const std::string& list) {
  Stages stages;
  int last = -1;
  for (const std::string& name : train::words_of(list)) {
    const int at = name == kDapt ? 0 : name == kTapt ? 1 : name == kTask ? 2 : -1;
    if (at <= last)
      throw UsageError(
          fmt::format("--stages {}: {}", list,
                      at < 0 ? name + " is no stage" : "the order is dapt, tapt, task, each once"),
          "--stages dapt,tapt,task: text of the domain, text of the task, the task");
    last = at;
    (at == 0 ? stages.dapt : at == 1 ? stages.tapt : stages.task) = true;
  }
  if (last < 0) throw UsageError("--stages is empty", "--stages dapt,tapt,task has all of them");
  return stages;
}

void check_options(const AdaptJob& job, const Stages& stages) {
  const bool reads_task = stages.tapt || stages.task;
  if (stages.dapt && job.corpus.empty())
    throw UsageError("--corpus is needed: files or folders of text of the domain",
                     "--stages tapt,task adapts on the texts of --train_file alone");
  refuse_option(!stages.dapt && !job.corpus.empty(), "corpus", "--stages has no dapt");
  refuse_option(!stages.dapt && job.extend_vocabulary > 0, "extend_vocabulary",
                "--stages has no dapt, whose text gives the pieces");
  refuse_option(!stages.dapt && job.plan, "plan", "--stages has no dapt");
  check_other_text(job);
  check_companions(job);
  check_languages(job);
  check_parallel(job, stages);
  refuse_option(!job.plan && !job.general.empty(), "general",
                "it is compared by --plan true; --replay mixes it in");
  refuse_option(!stages.dapt && !job.control.empty(), "control",
                "--stages has no dapt, which it is compared with");
  if (reads_task && job.job.train_file.empty())
    throw UsageError(fmt::format("--stages {} needs --train_file", job.stages));
  refuse_option(!reads_task && !job.job.train_file.empty(), "train_file",
                "--stages has neither tapt nor task");
  for (const auto& [name, files] :
       {std::pair{"validation_file", &job.job.validation_file}, {"test_file", &job.job.test_file}})
    refuse_option(
        !reads_task && !files->empty(), name,
        "--stages has no task; --held_out_file is text to measure perplexity on, --exclude_file a test set "
        "that the corpus may contain");
  if (stages.task && job.job.test_file.empty() && job.job.validation_file.empty())
    throw UsageError("--stages with task needs --test_file or --validation_file: the scores are those on it");
  refuse_option(!stages.task && !job.task_arguments.empty(), "task_arguments", "--stages has no task");
  refuse_option(!stages.tapt && !job.tapt_arguments.empty(), "tapt_arguments", "--stages has no tapt");
  refuse_option(job.remove_overlap && job.exclude_file.empty() && job.job.test_file.empty() &&
                    job.job.validation_file.empty(),
                "remove_overlap", "there is no --exclude_file");
  refuse_option(!job.job.config_name.empty(), "config_name", "adapt continues from the weights of --model");
  refuse_option(!job.job.tokenizer_name.empty(), "tokenizer_name",
                "the embeddings of --model belong to its tokenizer");
  check_peft_type(job, stages);
  refuse_option(!job.job.load_lang_adapter.empty(), "load_lang_adapter",
                "a language adapter is trained here, and no task adapter above one");
  refuse_option(job.job.arguments.do_predict, "do_predict", "`graft predict` reads the result");
  if (job.job.model.empty()) throw UsageError("--model is needed", "graft adapt --help shows examples");
  check_seeds(job.seeds);
  // A mistake in them is said before the first stage.
  if (TrainingArguments a; !job.task_arguments.empty())
    set_arguments(a, "task_arguments", job.task_arguments);
  if (TrainingArguments a = job.job.arguments; !job.tapt_arguments.empty())
    set_arguments(a, "tapt_arguments", job.tapt_arguments);
}

void check_seeds(const std::vector<uint64_t>& seeds) {
  if (seeds.empty()) throw UsageError("--seeds is empty", "--seeds 1,2,3 trains three times");
  for (const uint64_t seed : seeds)
    if (std::count(seeds.begin(), seeds.end(), seed) > 1)
      throw UsageError(fmt::format("--seeds has {} twice: the same run counts once", seed),
                       "give each seed once");
}

// "name=value,name=value", or a json file of arguments.
void set_arguments(TrainingArguments& arguments, const std::string& option, const std::string& values) {
  const std::string output_dir = arguments.output_dir;
  try {
    if (values.ends_with(".json")) {
      const Json json = read_json(values);
      for (const auto& [name, value] : json.items())
        train::set_argument(arguments, name, value.is_string() ? value.get<std::string>() : value.dump());
      return;
    }
    for (const std::string& pair : train::words_of(values)) {
      const size_t equals = pair.find('=');
      if (equals == std::string::npos)
        throw UsageError(
            fmt::format("\"{}\" has no value", pair),
            "write name=value, separated by commas, for example learning_rate=2e-5,num_train_epochs=3");
      train::set_argument(arguments, pair.substr(0, equals), pair.substr(equals + 1));
    }
    train::check(arguments);
    if (arguments.output_dir != output_dir)
      throw UsageError("output_dir is refused: a stage has a folder of its own");
    if (!arguments.peft_type.empty()) throw UsageError("peft_type is refused: the stages hold whole models");
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("--{}: {}", option, e.what()), e.hint());
  }
}

}  // namespace graft::transfer
