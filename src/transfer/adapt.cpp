#include "transfer/adapt.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/shown.h"
#include "data/text_reader.h"
#include "models/generator.h"
#include "models/registry.h"
#include "train/arguments.h"
#include "train/output.h"
#include "train/output_lock.h"
#include "train/reports.h"
#include "train/sequence_length.h"
#include "train/trained_model.h"
#include "transfer/adapt_options.h"
#include "transfer/finetuning.h"
#include "transfer/folders.h"
#include "transfer/language_text.h"
#include "transfer/line_file.h"
#include "transfer/parallel_text.h"
#include "transfer/stage.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

void check_same_tokens(const Tokenizer& tokenizer, const fs::path& generator) {
  const std::shared_ptr<Tokenizer> other = Tokenizer::from_pretrained(generator);
  const int32_t size = std::max(tokenizer.vocab_size(), other->vocab_size());
  for (int32_t id = 0; id < size; ++id)
    if (tokenizer.id_to_token(id) != other->id_to_token(id))
      throw UsageError(
          fmt::format("--generator {}: its vocabulary is another one: token {} is '{}', and '{}' in that of "
                      "the model",
                      generator.string(), id, shown(other->id_to_token(id)),
                      shown(tokenizer.id_to_token(id))),
          "give a generator that was made for the model's vocabulary");
}

class Adaptation {
 public:
  Adaptation(AdaptJob& job, const Stages& stages, fs::path checkpoint, const Hooks& hooks)
      : job_(job),
        stages_(stages),
        checkpoint_(std::move(checkpoint)),
        start_(checkpoint_),
        hooks_(hooks),
        output_(job.job.arguments.output_dir),
        root_(output_ / "stages") {
    if (job.job.arguments.peft_type.empty()) check_whole_model(checkpoint_);
    settings_.objective = choose_objective(job.objective, train::config_of(checkpoint_));
    settings_.arguments = job.job.arguments;
    result_.measure = settings_.objective.measure();
    check_objective();
    if (settings_.objective.replaced_tokens && (stages_.dapt || stages_.tapt)) choose_generator();
    settings_.head_steps = job.head_steps;
    settings_.head_learning_rate = job.head_learning_rate;
    settings_.dropout = job.job.dropout;
    settle_length();
    tapt_ = settings_;
    tapt_.arguments.max_steps = -1;
    tapt_.arguments.num_train_epochs = kTaptEpochs;
    if (stages_.tapt) set_arguments(tapt_.arguments, "tapt_arguments", job.tapt_arguments);
    say_settings();
  }

  AdaptResult run() {
    if (job_.plan) {
      make_plan_of_run();
      return result_;
    }
    if (!pretrain_all() || (stages_.task && !finetune_all())) {
      result_.interrupted = true;
      return result_;
    }
    publish();
    return result_;
  }

 private:
  // Task texts are few: the paper takes 100 epochs; ten cost a tenth and gain most of it.
  static constexpr double kTaptEpochs = 10;

  // What the objective of the model cannot do.
  void check_objective() const {
    const Objective& objective = settings_.objective;
    const char* name = objective.contrastive ? "simcse" : objective.replaced_tokens ? "rtd" : nullptr;
    if (job_.plan && name)
      throw UsageError(
          fmt::format("--plan is refused for --objective {}: its pilot is measured by perplexity", name));
    if (!settings_.arguments.peft_type.empty() && objective.head != &models::kMaskedLm)
      throw UsageError(
          fmt::format("--peft_type is refused for the objective {}: a language adapter learns by predicting "
                      "masked tokens",
                      in_words(objective)),
          "give --objective masked-lm, for a model of a family that has it");
    if (name && !files_by_language(job_.corpus, "corpus").empty())
      throw UsageError(
          fmt::format("--corpus with languages is refused for --objective {}: it reads one corpus", name),
          "give the files without languages");
    if (!job_.generator.empty() && !objective.replaced_tokens)
      throw UsageError(fmt::format("--generator is refused: the objective is {} here", in_words(objective)),
                       "it belongs to --objective rtd, of a model of model_type \"electra\"");
    if (job_.extend_vocabulary > 0 && objective.replaced_tokens)
      throw UsageError(
          "--extend_vocabulary is refused for --objective rtd: generator and discriminator have one "
          "vocabulary");
    if (!job_.parallel.empty() && objective.head != &models::kMaskedLm)
      throw UsageError(
          fmt::format("--parallel is refused: translation language modelling predicts masked tokens, and the "
                      "objective of model_type \"{}\" is {} here",
                      train::config_of(checkpoint_).model_type(), in_words(objective)),
          "take a model of a family with masked-lm, such as BERT or XLM-RoBERTa, and --objective masked-lm");
  }

  // The one of --generator, else that of the model's folder.
  void choose_generator() {
    const fs::path own = checkpoint_ / models::kGeneratorFolder;
    settings_.generator = job_.generator.empty() ? own : fs::path(job_.generator);
    if (job_.generator.empty() && !path_exists(own / "config.json"))
      throw UsageError(
          fmt::format("--generator is needed: {} is a discriminator of replaced tokens, and a generator "
                      "replaces them",
                      checkpoint_.string()),
          "give the folder of an ELECTRA with a masked-lm head and the same vocabulary: "
          "google/electra-small-generator belongs to google/electra-small-discriminator; or --objective "
          "masked-lm, which trains a new head without a generator");
    check_same_tokens(*Tokenizer::from_pretrained(checkpoint_), settings_.generator);
  }

  void settle_length() {
    int64_t& length = settings_.arguments.max_seq_length;
    if (length > 0) return;
    constexpr int64_t kBlock = 128;
    ModelOptions options;
    options.task = settings_.objective.head->task;
    length = train::smaller_limit(kBlock, train::length_limit(Model::from_pretrained(checkpoint_, options),
                                                              *Tokenizer::from_pretrained(checkpoint_)));
  }

  void say_settings() const {
    const TrainingArguments& a = settings_.arguments;
    log_info(
        "objective: {}; blocks of {} tokens, {} a step, learning rate {}, {} (defaults of adapt where not "
        "given)",
        in_words(settings_.objective), a.max_seq_length,
        a.per_device_train_batch_size * a.gradient_accumulation_steps, a.learning_rate,
        a.max_steps > 0 ? fmt::format("{} steps", a.max_steps)
                        : fmt::format("{} epoch{}", a.num_train_epochs, a.num_train_epochs == 1 ? "" : "s"));
  }

  // The stage of a corpus, prepared; `name`: "corpus", "control-corpus", "task-text".
  fs::path prepare(const std::string& name, const CorpusOptions& o) {
    Stage stage = open_stage(root_, name,
                             {{"files", files_fingerprint(o.files)},
                              {"held_out_files", files_fingerprint(o.held_out_files)},
                              {"exclude_files", files_fingerprint(o.exclude_files)},
                              {"replay_files", files_fingerprint(o.replay_files)},
                              {"columns", Json::array({o.columns.text_column, o.columns.text_pair_column})},
                              {"remove_overlap", o.remove_overlap},
                              {"remove_duplicates", o.remove_duplicates},
                              {"near_duplicates", o.near_duplicates},
                              {"held_out_percentage", o.held_out_percentage},
                              {"replay_ratio", o.replay_ratio},
                              {"max_bytes", o.max_bytes},
                              {"seed", o.seed}});
    CorpusReport report;
    if (stage.complete) {
      report = corpus_report(read_json(stage.folder / "corpus.json"));
      log_info("{}: taken from the cache {}: every input byte is the same", name, stage.folder.string());
    } else {
      report = prepare_corpus(o, stage.folder);
      write_json(stage.folder / "corpus.json", to_json(report));
      complete_stage(stage);
    }
    log_corpus(report, o, name);
    result_.corpora.emplace_back(name, std::move(report));
    return stage.folder;
  }

  CorpusOptions corpus_options(const std::vector<std::string>& files, const char* option) const {
    CorpusOptions o;
    o.files = corpus_files(files, option);
    o.columns = job_.job.columns;
    o.remove_duplicates = job_.remove_duplicates;
    o.near_duplicates = job_.near_duplicates;
    o.held_out_percentage = job_.held_out_percentage;
    o.remove_overlap = job_.remove_overlap;
    for (const auto* test : {&job_.exclude_file, &job_.job.test_file, &job_.job.validation_file})
      o.exclude_files.insert(o.exclude_files.end(), test->begin(), test->end());
    o.seed = job_.job.arguments.seed;
    return o;
  }

  // A stage of pretraining and its row; false if it was interrupted.
  bool add_row(const std::string& name, const fs::path& from, const PretrainingText& text,
               const PretrainingSettings& settings, fs::path& model) {
    PretrainingSettings own = settings;
    if (from != start_) {
      own.head_steps = kHeadSteps;  // not said again to have no effect: the last stage has made the head
      own.head_learning_rate = kHeadLearningRate;
      // The generator as the last stage left it.
      if (settings.objective.replaced_tokens) own.generator = from / models::kGeneratorFolder;
    }
    PretrainingResult r = pretrain(name, from, text, own, root_, hooks_);
    if (r.interrupted) return false;
    model = r.folder;
    result_.stages.push_back({name, std::move(r)});
    return true;
  }

  // `replays`: general text is mixed in where it is given.
  fs::path prepare_domain(bool replays) {
    CorpusOptions o = corpus_options(job_.corpus, "corpus");
    if (!job_.held_out_file.empty()) o.held_out_files = corpus_files(job_.held_out_file, "held_out_file");
    if (replays && !job_.replay.empty()) o.replay_files = corpus_files(job_.replay, "replay");
    o.replay_ratio = job_.replay_ratio;
    o.max_bytes = static_cast<uint64_t>(job_.max_corpus_bytes);
    return prepare("corpus", o);
  }

  void warn_of_scripts(const LanguageFile& one) const {
    data::TextReader reader({one.file}, job_.job.columns);
    std::vector<std::string> texts;
    for (std::string text; texts.size() < kTextsForScripts && reader.next(text);) texts.push_back(text);
    for (const std::string& why : script_complaints(scripts_of_texts(texts), one.language))
      log_warning("--corpus {}={}: {}", one.language, one.file.string(), why);
  }

  // All text of the stage dapt: one corpus or that of each language, and pairs.
  PretrainingText prepare_domain_text() {
    PretrainingText text;
    text.sampling_temperature = job_.sampling_temperature;
    text.tlm_share = job_.tlm_share;
    if (!job_.parallel.empty()) text.parallel = prepare_parallel();
    const std::vector<LanguageFile> held_out = files_by_language(job_.held_out_file, "held_out_file");
    for (const LanguageFile& one : files_by_language(job_.corpus, "corpus")) {
      warn_of_scripts(one);
      CorpusOptions o = corpus_options({one.file.string()}, "corpus");
      for (const LanguageFile& other : held_out)
        if (other.language == one.language) o.held_out_files = {other.file};
      o.max_bytes = static_cast<uint64_t>(job_.max_corpus_bytes);
      text.corpora.push_back({one.language, prepare("corpus-" + one.language, o)});
    }
    if (text.corpora.empty()) text.corpora.push_back({"", prepare_domain(true)});
    return text;
  }

  // The pairs as lines SOURCE TAB TARGET, cleaned and held out as those of a corpus.
  fs::path prepare_parallel() {
    const ParallelText pairs = read_parallel(job_.parallel);
    const fs::path lines = root_ / "parallel.txt";
    make_folders(root_);
    LineFile out(lines);
    for (size_t i = 0; i < pairs.source.size(); ++i) out.append(pairs.source[i] + "\t" + pairs.target[i]);
    out.finish();
    fs::path prepared = prepare("parallel", corpus_options({lines.string()}, "parallel"));
    remove_file(lines);
    return prepared;
  }

  void make_plan_of_run() {
    PlanInputs inputs = {checkpoint_, prepare_domain(false)};
    inputs.general_files = corpus_files(job_.general.empty() ? job_.replay : job_.general, "general");
    inputs.columns = job_.job.columns;
    inputs.pilot_steps = job_.pilot_steps;
    result_.plan = make_plan(inputs, settings_, root_, hooks_);
    result_.interrupted = result_.plan->interrupted;
  }

  // The checkpoint with pieces of the domain, as a stage.
  void extend(const fs::path& corpus) {
    const fs::path text = corpus / "train.txt";
    Stage stage = open_stage(root_, "vocabulary",
                             {{"model", model_fingerprint(checkpoint_)},
                              {"text", files_fingerprint({text})},
                              {"pieces", job_.extend_vocabulary},
                              {"objective", in_words(settings_.objective)}});
    start_ = stage.folder;
    const fs::path report = stage.folder / "stage.json";
    if (stage.complete) {
      result_.vocabulary = extended_vocabulary(read_json(report));
    } else {
      result_.vocabulary =
          extend_vocabulary(checkpoint_, text, job_.extend_vocabulary, settings_.objective, start_);
      write_json(report, to_json(*result_.vocabulary));
      complete_stage(stage);
    }
    log_vocabulary(*result_.vocabulary);
  }

  bool pretrain_all() {
    if (stages_.dapt) {
      const PretrainingText text = prepare_domain_text();
      const fs::path& corpus = text.corpora.front().folder;
      if (job_.extend_vocabulary > 0) extend(job_.replay.empty() ? corpus : prepare_domain(false));
      if (!add_row("dapt", start_, text, settings_, dapt_model_)) return false;
      if (!job_.control.empty() && !control(corpus)) return false;
    }
    if (!stages_.tapt) return true;
    const fs::path texts = root_ / "texts-of-train_file.txt";
    job_.job.model = checkpoint_.string();
    train::check_job(job_.job);
    write_task_texts(job_.job, texts);
    const PretrainingText prepared = {
        .corpora = {{"", prepare("task-text", corpus_options({texts.string()}, "train_file"))}}};
    remove_file(texts);
    const fs::path& from = stages_.dapt ? dapt_model_ : start_;
    if (!add_row(stages_.dapt ? "dapt-tapt" : "tapt", from, prepared, tapt_, final_tapt_)) return false;
    if (!stages_.dapt || !stages_.task || !job_.ablation) return true;
    return add_row("tapt", start_, prepared, tapt_, tapt_alone_);
  }

  // An unrelated corpus of the size of the domain's, with the perplexity of the domain's held-out text.
  bool control(const fs::path& corpus) {
    CorpusOptions o = corpus_options(job_.control, "control");
    o.held_out_files = {corpus / "held_out.txt"};
    o.max_bytes = MappedFile(corpus / "train.txt").size();
    const PretrainingText prepared = {.corpora = {{"", prepare("control-corpus", o)}}};
    return add_row("control", start_, prepared, settings_, control_model_);
  }

  bool finetune_all() {
    result_.arms.push_back({"base", checkpoint_});
    const bool both = stages_.dapt && stages_.tapt;
    if (!job_.ablation) result_.arms.clear();
    if (job_.ablation && both) result_.arms.push_back({"tapt", tapt_alone_});
    if (stages_.dapt && (job_.ablation || !both)) result_.arms.push_back({"dapt", dapt_model_});
    if (!job_.control.empty() && job_.ablation) result_.arms.push_back({"control", control_model_});
    if (stages_.tapt) result_.arms.push_back({both ? "dapt-tapt" : "tapt", final_tapt_});
    if (!stages_.dapt && !stages_.tapt && !job_.ablation) result_.arms.push_back({"base", checkpoint_});
    train::TrainJob task = job_.job;
    task.arguments = TrainingArguments();
    for (const char* shared : {"bf16", "log_level", "disable_tqdm"}) {
      const Json value = train::to_json(job_.job.arguments).at(shared);
      if (!value.is_null())
        train::set_argument(task.arguments, shared,
                            value.is_string() ? value.get<std::string>() : value.dump());
    }
    task.arguments.save_strategy = "no";
    set_arguments(task.arguments, "task_arguments", job_.task_arguments);
    for (const uint64_t seed : job_.seeds) {
      for (Arm& arm : result_.arms) {
        const bool keeps = seed == job_.seeds.front() && arm.name == final_arm();
        const FinetuningResult r = finetune("task-" + arm.name, arm.model, task, seed, keeps, root_, hooks_);
        if (r.interrupted) return false;
        arm.scores.push_back(r.score);
        if (keeps) final_task_ = r.folder;
        result_.metric = read_json(r.folder / "stage.json").at("metric").get<std::string>();
      }
    }
    for (Arm& arm : result_.arms)
      if (job_.ablation && arm.name != "base")
        arm.against_base = paired_t_test(result_.arms.front().scores, arm.scores);
    return true;
  }

  // The way of all --stages.
  std::string final_arm() const {
    return stages_.dapt && stages_.tapt ? "dapt-tapt"
           : stages_.tapt               ? "tapt"
           : stages_.dapt               ? "dapt"
                                        : "base";
  }

  // The model of the last stage becomes that of the output folder.
  void publish() {
    const fs::path last = stages_.task ? final_task_ : stages_.tapt ? final_tapt_ : dapt_model_;
    publish_model(last, output_, {{"adapt_results.json", to_json(result_, job_).dump(2) + "\n"}});
    result_.model = output_;
  }

  AdaptJob& job_;
  Stages stages_;
  fs::path checkpoint_, start_;  // start_: the checkpoint, its vocabulary extended if that is asked for
  const Hooks& hooks_;
  fs::path output_, root_;
  PretrainingSettings settings_, tapt_;
  fs::path dapt_model_, control_model_, tapt_alone_, final_tapt_, final_task_;
  AdaptResult result_;
};

}  // namespace

TrainingArguments adaptation_arguments() {
  TrainingArguments a;
  a.learning_rate = 1e-4;
  a.num_train_epochs = 1;
  a.per_device_train_batch_size = a.per_device_eval_batch_size = 32;
  a.warmup_ratio = 0.06;
  a.weight_decay = 0.01;
  a.save_total_limit = 1;
  a.logging_steps = 50;
  return a;
}

AdaptResult adapt(AdaptJob job, const fs::path& checkpoint, const Hooks& hooks) {
  const Stages stages = parse_stages(job.stages);
  check_options(job, stages);
  train::expand_home(job.job.arguments.output_dir);
  train::check(job.job.arguments);
  check_output(job.job.arguments.output_dir, job.job.overwrite_output_dir);
  const train::OutputLock lock(job.job.arguments.output_dir);
  Adaptation adaptation(job, stages, checkpoint, hooks);
  return adaptation.run();
}

}  // namespace graft::transfer
