// graft adapt: continued pretraining on text of a domain and of a task, and the table that shows whether it
// helped.
#include "transfer/adapt.h"

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

struct AdaptOptions : transfer::AdaptJob {
  std::string seed_list = "1,2,3";
  bool json = false;
};

Options declare_adapt(AdaptOptions& o) {
  Options options(
      "adapt", "continued pretraining on text of a domain, and a table of what it gains on a task",
      {"graft adapt --model bert-base-uncased --corpus abstracts.txt.xz --output_dir adapted",
       "graft adapt --model DIR --corpus texts/ --replay general.txt.xz --replay_ratio 0.1 \\",
       "    --output_dir adapted",
       "graft adapt --model DIR --corpus de=de.txt,fr=fr.txt.xz --sampling_temperature 3.3 \\",
       "    --output_dir adapted",
       "graft adapt --model DIR --corpus de=de.txt,fr=fr.txt --parallel de-fr.tsv --tlm_share 0.5 \\",
       "    --output_dir adapted",
       "graft adapt --model google/electra-small-discriminator --generator google/electra-small-generator \\",
       "    --corpus abstracts.txt.xz --output_dir adapted",
       "graft adapt --model DIR --stages dapt,tapt,task --corpus domain.txt --control other.txt \\",
       "    --task ner --train_file train.conll --test_file test.conll --output_dir adapted"});
  o.job.arguments = transfer::adaptation_arguments();
  declare_job(options, o.job);
  options.explain("train_file", "labelled data of the stages tapt (its texts) and task");
  options.explain("validation_file",
                  "evaluation data of the stage task; its texts are looked for in the corpus");
  options.explain("test_file", "labelled data that the stage task is scored on; looked for as well");
  for (const char* refused : {"config_name", "tokenizer_name", "load_lang_adapter", "do_predict"})
    options.explain(refused, "");
  options.list(
      "corpus", o.corpus,
      "text of the domain: files, as --train_file takes them, and folders of such; or a file of each "
      "language, de=FILE,fr=FILE");
  options.text(
      "stages", o.stages,
      "dapt (text of --corpus), tapt (texts of --train_file, without labels), task (fine-tuning); in this "
      "order, with commas");
  options.text("objective", o.objective,
               "masked-lm, causal-lm, span-corruption, rtd (replaced-token detection, of an ELECTRA "
               "discriminator) or simcse (of sentence encoders; learning rate 3e-5); default: what the model "
               "was pretrained by");
  options.text("generator", o.generator,
               "of --objective rtd: an ELECTRA generator, a folder or a name, which fills the masked tokens "
               "and is trained as well; it has the vocabulary of --model. Default: the folder generator in "
               "that of --model");
  options.integer(
      "head_steps", o.head_steps,
      "a checkpoint without a head for its objective gets one, which is trained alone for so many steps; "
      "0 = head and body at once",
      {0, 1e9});
  options.value(
      "head_learning_rate", "learning rate of these steps", fmt::format("{}", o.head_learning_rate),
      [&o](const std::string& v) { o.head_learning_rate = train::parse_real("head_learning_rate", v); });
  options.list("held_out_file", o.held_out_file,
               "text to measure perplexity on, in place of a share of the corpus; with the languages of "
               "--corpus where it names them");
  options.list("parallel", o.parallel,
               "pairs of sentences for translation language modelling beside masked-lm on --corpus: files of "
               "SOURCE TAB TARGET without a header, or two files en.txt,de.txt");
  const auto real = [&](const char* name, double& to, const train::Range& range, const char* help) {
    options.value(name, help, fmt::format("{}", to), [&to, name, range](const std::string& v) {
      to = train::parse_real(name, v);
      train::check_range(name, to, range);
    });
  };
  real("held_out_percentage", o.held_out_percentage, {0, 50, train::Range::Ends::without_min},
       "share of the corpus that is held out, at most 256 KiB of text");
  options.value(
      "tlm_share",
      "share of --parallel in the tokens of an epoch, which has the corpus once; default: each pair "
      "once",
      "", [&o](const std::string& v) {
        o.tlm_share = train::parse_real("tlm_share", v);
        train::check_range("tlm_share", *o.tlm_share, {0, 0.95, train::Range::Ends::without_min});
      });
  real("sampling_temperature", o.sampling_temperature, {1, 100},
       "share of a language of --corpus: its tokens to the power of 1 / N (XLM-R's alpha is 1 / N, 0.3); 1 = "
       "its tokens");
  options.integer("max_corpus_bytes", o.max_corpus_bytes,
                  "train on so many bytes of the corpus (of each language), sampled by content; 0 = all",
                  {0, 1e15});
  options.flag("remove_duplicates", o.remove_duplicates, "leave out texts that occur more than once");
  real("near_duplicates", o.near_duplicates, {0, 2, train::Range::Ends::without_min},
       "Jaccard similarity (runs of 5 words) from which on texts are duplicates; above 1: equal texts alone");
  options.list("exclude_file", o.exclude_file,
               "test sets that are looked for in the corpus, beside --test_file and --validation_file");
  options.flag("remove_overlap", o.remove_overlap, "leave out lines of the corpus that hold a text of them");
  options.list("replay", o.replay, "general text that is mixed in against forgetting");
  real("replay_ratio", o.replay_ratio, {0, 0.9, train::Range::Ends::without_min},
       "its share of the training text");
  options.flag(
      "plan", o.plan,
      "measure before spending: tokens per word, overlap of vocabularies, a pilot's perplexity, time, and a "
      "recommendation; trains the pilot alone");
  options.integer("pilot_steps", o.pilot_steps, "steps of the pilot of --plan", {1, 1e6});
  options.list("general", o.general,
               "general text that --plan compares the corpus with; default: that of --replay");
  options.integer("extend_vocabulary", o.extend_vocabulary,
                  "add N pieces of the corpus to the vocabulary, each the mean of its parts", {0, 1e6});
  options.list("control", o.control,
               "an unrelated corpus, cut to the size of --corpus: what more training alone gives");
  options.text(
      "task_arguments", o.task_arguments,
      "training arguments of the stage task: name=value with commas, or a json file; default: those of "
      "`graft train`");
  options.text("tapt_arguments", o.tapt_arguments,
               "training arguments of the stage tapt that differ; default: num_train_epochs=10");
  options.text("seeds", o.seed_list, "seeds of fine-tuning, with commas");
  options.flag("ablation", o.ablation,
               "false: fine-tune the last stage alone, without the ways to compare it with");
  options.flag("json", o.json, "the tables on stdout as json");
  return options;
}

}  // namespace

int adapt(int argc, char** argv) {
  AdaptOptions o;
  Options options = declare_adapt(o);
  if (!options.parse(argc, argv, 2)) return 0;
  refuse_resuming(o.job.arguments, "each stage");
  refuse_no_training(options, o.job.arguments);
  o.seeds.clear();
  for (const std::string& seed : train::words_of(o.seed_list))
    o.seeds.push_back(train::parse_unsigned("seeds", seed));
  train::use_log_level(o.job.arguments.log_level);
  constexpr double kSimCseRate = 3e-5;  // of the paper
  if (o.objective == "simcse" && !options.given("learning_rate")) o.job.arguments.learning_rate = kSimCseRate;
  const EndOnSignals ends("\nStopped. Completed stages are kept; the same command goes on from there.\n");
  const transfer::Hooks hooks = stage_hooks(o.job.arguments);
  if (o.job.model.empty()) throw UsageError("--model is needed", "graft adapt --help shows examples");
  if (!o.generator.empty()) o.generator = find_model(o.generator).string();
  const transfer::AdaptResult result = transfer::adapt(o, find_model(o.job.model), hooks);
  if (result.interrupted) {
    say("interrupted; the same command goes on from here");
    return signal_exit_code();
  }
  if (!result.plan) say(fmt::format("done; the model is in {}", result.model.string()));
  fmt::print("{}", o.json ? transfer::to_json(result, o).dump() + "\n" : transfer::table_of(result, o));
  return 0;
}

}  // namespace graft::cli
