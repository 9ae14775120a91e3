// What the options of `graft xling` must not be.
#include "base/error.h"
#include "train/arguments.h"
#include "train/evaluation_sets.h"
#include "transfer/adapt_options.h"
#include "transfer/languages.h"
#include "transfer/xling.h"

namespace graft::transfer {
namespace {

void refuse(bool given, const char* name, const std::string& why, const std::string& hint) {
  if (given) throw UsageError(fmt::format("--{} is refused: {}", name, why), hint);
}

// Labels of a target must not choose a model. A file without a name is the source's.
void take_validation_file(XlingJob& job) {
  const auto named = train::named_files(job.job.validation_file);
  for (const auto& [language, file] : named) {
    check_language(language, fmt::format("--validation_file {}={}", language, file));
    if (usual_code(language) == job.source_language) continue;
    throw UsageError(
        fmt::format(
            "--validation_file {}={} is refused: {} is a target language, and a model that is chosen by "
            "labels of a target is not transferred without them",
            language, file, language_name(language)),
        fmt::format("give development data of the source language alone: --validation_file {}=FILE; "
                    "--few_shot and --train_files train on labelled rows of a target and say so",
                    job.source_language));
  }
  job.validation_file_is_named |= !named.empty();
  if (!named.empty()) job.job.validation_file = {named.front().second};
  if (job.job.validation_file.size() > 1)
    throw UsageError("--validation_file takes one file: the source language's",
                     "several training languages are compared by --test_files");
}

void check_few_shot(const XlingJob& job) {
  refuse(job.few_shot.empty() && !job.few_shot_files.empty(), "few_shot_files",
         "without --few_shot nothing reads them", "--few_shot 1,5,10 trains on so many rows of each label");
  refuse(job.few_shot.empty() && !job.few_shot_arguments.empty(), "few_shot_arguments",
         "there is no --few_shot", "--few_shot 1,5,10 trains on so many rows of each label");
  refuse(job.few_shot.empty() && job.few_shot_sets != XlingJob().few_shot_sets, "few_shot_sets",
         "there is no --few_shot", "--few_shot 1,5,10 trains on so many rows of each label");
  if (!job.few_shot.empty() && job.few_shot_files.empty())
    throw UsageError("--few_shot needs --few_shot_files: the labelled rows that it draws from",
                     "--few_shot_files de=train.de.csv,fr=train.fr.csv");
  for (size_t i = 0; i < job.few_shot.size(); ++i)
    if (job.few_shot[i] < 1 || (i > 0 && job.few_shot[i] <= job.few_shot[i - 1]))
      throw UsageError(fmt::format("--few_shot: {} is out of place: the numbers of rows ascend from 1 on",
                                   job.few_shot[i]),
                       "--few_shot 1,5,10");
}

void check_arguments(const XlingJob& job) {
  const TrainingArguments& a = job.job.arguments;
  refuse(!job.job.test_file.empty(), "test_file", "each language has a test file of its own",
         "--test_files de=test.de.csv,fr=test.fr.csv");
  refuse(a.do_predict, "do_predict", "the result is a table", "`graft predict` labels texts with the model");
  refuse(a.do_eval && !*a.do_eval, "do_eval false",
         "the scores of the source's development rows are part of the result", "leave it out");
  refuse(!a.peft_type.empty(), "peft_type", "xling trains whole models",
         "`graft train` trains adapters, and `graft evaluate` scores them on each language");
  refuse(!job.job.load_lang_adapter.empty(), "load_lang_adapter", "xling trains whole models",
         "`graft train` trains a task adapter, and `graft evaluate` scores it above that of each language");
  refuse(!a.tokenized_path.empty(), "tokenized_path", "the rows are tokenised in memory", "leave it out");
  refuse(a.overwrite_cache, "overwrite_cache", "the rows are tokenised in memory",
         "stages are made again in another --output_dir");
  refuse(!job.job.validation_file.empty() &&
             job.validation_split_percentage != XlingJob().validation_split_percentage,
         "validation_split_percentage", "--validation_file has the development rows", "give one of the two");
  refuse(a.prediction_loss_only, "prediction_loss_only", "the table has the task's metric", "leave it out");
  const bool several = !job.train_files.empty();
  refuse(several && !job.job.train_file.empty(), "train_file", "--train_files has the training languages",
         fmt::format("add the source to them: --train_files {}=FILE,de=FILE", job.source_language));
  if (!several && job.job.train_file.empty())
    throw UsageError("--train_file is needed: labelled rows of the source language",
                     "--train_files en=FILE,de=FILE trains on several languages");
  if (job.job.train_file.size() > 1)
    throw UsageError("--train_file takes one file: the source language's",
                     "--train_files en=FILE,de=FILE trains on several languages");
  refuse(!several && job.sampling_temperature != 1, "sampling_temperature",
         "it mixes the languages of --train_files", "--train_files en=FILE,de=FILE instead of --train_file");
}

}  // namespace

TrainingArguments xling_arguments() {
  TrainingArguments a;
  a.average_checkpoints = kAveragedCheckpoints;
  return a;
}

void check_xling(XlingJob& job) {
  check_language(job.source_language, "--source_language " + job.source_language);
  job.source_language = usual_code(job.source_language);
  if (job.test_files.empty())
    throw UsageError("--test_files is needed: a test file for each language",
                     "--test_files de=test.de.csv,fr=test.fr.csv");
  check_seeds(job.seeds);
  check_arguments(job);
  check_few_shot(job);
  take_validation_file(job);
}

}  // namespace graft::transfer
