// graft xling: trains on one language or several, and prints the matrix of scores over all languages.
#include "transfer/xling.h"

#include <fmt/format.h>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/stage_hooks.h"
#include "cli/train_options.h"
#include "cli/verbs.h"
#include "train/argument_values.h"
#include "train/arguments.h"
#include "train/reports.h"

namespace graft::cli {

namespace {

struct XlingOptions : transfer::XlingJob {
  std::string seed_list = "1,2,3", few_shot_list;
  bool json = false;
};

Options declare_xling(XlingOptions& o) {
  Options options(
      "xling", "train on one language, score every language, and print the matrix",
      {"graft xling --model DIR --train_file en.train.csv --output_dir matrix \\",
       "    --test_files en=en.test.csv,de=de.test.csv,fr=fr.test.csv",
       "graft xling --model DIR --task ner --train_file en.conll --validation_file en.dev.conll \\",
       "    --test_files de=de.conll,zh=zh.conll --seeds 1,2,3,4,5 --output_dir matrix",
       "graft xling --model DIR --train_file en.csv --test_files de=de.test.csv --few_shot 1,5,10 \\",
       "    --few_shot_files de=de.train.csv --output_dir curve",
       "graft xling --model DIR --train_files en=en.csv,de=de.csv,fr=fr.csv --sampling_temperature 2 \\",
       "    --max_rows_per_language 10000 --test_files de=de.test.csv,ru=ru.test.csv --output_dir joint"});
  o.job.arguments = transfer::xling_arguments();
  declare_job(options, o.job);
  options.explain("train_file", "training data of --source_language: one file");
  options.explain(
      "validation_file",
      "development data of --source_language, which alone chooses the model: one file; default: a "
      "part of its training rows");
  options.explain("max_predict_samples", "use the first N rows of each of --test_files");
  for (const char* refused :
       {"test_file", "load_lang_adapter", "do_predict", "seed", "language", "resume_from_checkpoint"})
    options.explain(refused, "");
  options.list(
      "test_files", o.test_files,
      "a test file for each language: de=FILE,fr=FILE. It is read for the score alone; that of the source "
      "is what the gaps are measured against");
  options.text("source_language", o.source_language, "language of --train_file and --validation_file");
  options.list("train_files", o.train_files,
               "instead of --train_file, several training languages that are mixed: en=FILE,de=FILE");
  const auto real = [&](const char* name, double& to, const train::Range& range, const char* help) {
    options.value(name, help, fmt::format("{}", to), [&to, name, range](const std::string& v) {
      to = train::parse_real(name, v);
      train::check_range(name, to, range);
    });
  };
  real("sampling_temperature", o.sampling_temperature, {1, 100},
       "share of a language in the mixture: its rows to the power of 1 / N; 1 = its rows");
  options.integer("max_rows_per_language", o.max_rows_per_language,
                  "train on so many rows of a language, drawn by the seed; 0 = all", {0, 1e12});
  real("validation_split_percentage", o.validation_split_percentage, {0, 50, train::Range::Ends::without_min},
       "without --validation_file: share of the source's training rows that is held out");
  options.text("seeds", o.seed_list, "seeds of training, with commas");
  options.text("few_shot", o.few_shot_list,
               "then train on so many rows of each label of a target (tokens, questions: rows), with commas");
  options.list("few_shot_files", o.few_shot_files, "labelled rows to draw them from: de=FILE,fr=FILE");
  options.integer("few_shot_sets", o.few_shot_sets, "sets of rows that are drawn for each number", {1, 1000});
  options.text("few_shot_arguments", o.few_shot_arguments,
               "training arguments of it that differ: name=value with commas, or a json file; default: "
               "num_train_epochs=10");
  options.flag("json", o.json, "the tables on stdout as json");
  return options;
}

// What a run of several seeds and languages has another way for.
struct Refused {
  const char *name, *why, *hint;
};
constexpr Refused kRefused[] = {{"seed", "a matrix has several", "give them as --seeds 1,2,3"},
                                {"language", "answers are compared by the rules of each test file's language",
                                 "--source_language names that of the training"}};

void check_options(const Options& options, const TrainingArguments& a) {
  for (const Refused& r : kRefused)
    if (options.typed(r.name)) throw UsageError(fmt::format("--{} is refused: {}", r.name, r.why), r.hint);
  refuse_resuming(a, "each seed and each score");
  refuse_no_training(options, a);
}

}  // namespace

int xling(int argc, char** argv) {
  XlingOptions o;
  Options options = declare_xling(o);
  if (!options.parse(argc, argv, 2)) return 0;
  check_options(options, o.job.arguments);
  // Another average takes the place of the default one.
  if (!options.given("average_checkpoints") &&
      (o.job.arguments.ema_decay > 0 || o.job.arguments.swa_start > 0)) {
    o.job.arguments.average_checkpoints = 0;
    say(fmt::format("--{} takes the place of --average_checkpoints {}",
                    o.job.arguments.ema_decay > 0 ? "ema_decay" : "swa_start",
                    transfer::kAveragedCheckpoints));
  }
  o.seeds.clear();
  for (const std::string& seed : train::words_of(o.seed_list))
    o.seeds.push_back(train::parse_unsigned("seeds", seed));
  for (const std::string& k : train::words_of(o.few_shot_list))
    o.few_shot.push_back(train::parse_integer("few_shot", k));
  train::use_log_level(o.job.arguments.log_level);
  const EndOnSignals ends("\nStopped. Completed seeds are kept; the same command goes on from there.\n");
  transfer::check_xling(o);  // before the download
  if (o.job.model.empty() == o.job.config_name.empty())
    throw UsageError("give --model (a checkpoint) or --config_name (random weights), one of the two",
                     "graft xling --help shows examples");
  if (o.job.model.empty() && o.job.tokenizer_name.empty())
    throw UsageError("--config_name needs --tokenizer_name: a config.json has no vocabulary",
                     "--tokenizer_name DIR names the folder of a tokenizer");
  const std::filesystem::path checkpoint = train::find_checkpoint(o.job, find_model);
  const transfer::XlingResult result = transfer::xling(
      o, checkpoint, o.job.tokenizer_name.empty() ? checkpoint : find_model(o.job.tokenizer_name),
      stage_hooks(o.job.arguments));
  if (result.interrupted) {
    say("interrupted; the same command goes on from here");
    return signal_exit_code();
  }
  say(fmt::format("done; the table is in {0}/xling_results.md, the model of seed {1} in {0}",
                  result.model.string(), o.seeds.front()));
  fmt::print("{}", o.json ? transfer::to_json(result, o).dump() + "\n" : transfer::table_of(result, o));
  return 0;
}

}  // namespace graft::cli
