#include "transfer/pretraining_text.h"

#include <cctype>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "tasks/translation_lm.h"
#include "train/parts.h"
#include "transfer/contrastive.h"
#include "transfer/parallel_text.h"
#include "transfer/row_choice.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

double measured(const LogEntry& entry, const std::string& name) {
  for (const auto& [key, value] : entry)
    if (key == name) return value;
  fail("the evaluation gave no {}", name);
}

bool has_languages(const PretrainingText& text) { return !text.corpora.front().language.empty(); }

// The name of its evaluation set: zh_Hant for zh-Hant.
std::string set_of_language(std::string code) {
  for (char& c : code)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return code;
}

EvaluationSet set_of_file(const std::string& name, const fs::path& file) {
  EvaluationSet set{name};
  set.files = {file};
  return set;
}

// Of a prepared file of lines SOURCE TAB TARGET.
ParallelText pairs_in(const fs::path& file) {
  ParallelText pairs;
  const MappedFile mapped(file);
  for (std::string_view rest = mapped.text(); !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const size_t tab = line.find('\t');
    pairs.source.emplace_back(line.substr(0, tab));
    pairs.target.emplace_back(line.substr(tab + 1));
    rest.remove_prefix(line.size() + 1);
  }
  return pairs;
}

// The text of one corpus, with the task that learns from it.
tasks::PreparedTask prepare_text(Trainer::Parts& p, const CorpusOfLanguage& corpus,
                                 const tasks::FeatureSettings& settings) {
  if (!corpus.language.empty()) log_info("{}:", corpus.language);
  TaskData data;
  data.train_files = {PreparedFiles(corpus.folder).train};
  data.tokenizer = p.tokenizer;
  return tasks::prepare_task(p.model, data, settings);
}

// Pairs of the share that is asked for, beside so many tokens of text.
int64_t pairs_of_epoch(const PretrainingText& text, const tasks::Features& pairs, double text_tokens) {
  if (!text.tlm_share) return pairs.size();
  return examples_of(pairs, text_tokens * *text.tlm_share / (1 - *text.tlm_share));
}

}  // namespace

PreparedFiles::PreparedFiles(const fs::path& folder)
    : train(folder / "train.txt"), held_out(folder / "held_out.txt") {
  if (const fs::path file = folder / "general_held_out.txt"; path_exists(file)) general = file;
}

bool is_mixed(const PretrainingText& text) { return has_languages(text) || text.parallel; }

std::vector<fs::path> training_files(const PretrainingText& text) {
  std::vector<fs::path> files;
  for (const CorpusOfLanguage& corpus : text.corpora) files.push_back(PreparedFiles(corpus.folder).train);
  if (text.parallel) files.push_back(PreparedFiles(*text.parallel).train);
  return files;
}

Json key_of(const PretrainingText& text) {
  std::vector<fs::path> files;
  Json languages = Json::array();
  for (const CorpusOfLanguage& corpus : text.corpora) {
    const PreparedFiles prepared(corpus.folder);
    files.insert(files.end(), {prepared.train, prepared.held_out});
    if (prepared.general) files.push_back(*prepared.general);
    languages.push_back(corpus.language);
  }
  Json key = {{"text", files_fingerprint(files)}};
  if (has_languages(text)) {
    key["languages"] = languages;
    key["sampling_temperature"] = text.sampling_temperature;
  }
  if (text.parallel) {
    const PreparedFiles pairs(*text.parallel);
    key["parallel"] = files_fingerprint({pairs.train, pairs.held_out});
    key["tlm_share"] = text.tlm_share ? Json(*text.tlm_share) : Json(nullptr);
  }
  return key;
}

TaskData data_of(const PretrainingText& text, const Objective& objective, const fs::path& tokenizer) {
  const PreparedFiles first(text.corpora.front().folder);
  TaskData data;
  if (objective.contrastive) data = contrastive_data(first.train, first.held_out, first.general.value_or(""));
  data.tokenizer = Tokenizer::from_pretrained(tokenizer);
  if (objective.contrastive) return data;
  if (has_languages(text)) {
    for (const auto& [language, folder] : text.corpora)
      data.eval_sets.push_back(set_of_file(set_of_language(language), PreparedFiles(folder).held_out));
    return data;
  }
  if (!is_mixed(text)) data.train_files = {first.train};
  if (!is_mixed(text) && !first.general) {
    data.eval_files = {first.held_out};
    return data;
  }
  data.eval_sets.push_back(set_of_file(kDomain, first.held_out));
  if (first.general) data.eval_sets.push_back(set_of_file(kGeneral, *first.general));
  return data;
}

std::vector<MixtureRow> use_mixture(Trainer& trainer, const PretrainingText& text) {
  Trainer::Parts& p = trainer.parts();
  tasks::FeatureSettings settings = train::feature_settings(p.arguments);
  std::vector<MixturePart> parts;
  std::unique_ptr<tasks::Task> task;
  std::vector<int64_t> tokens;
  for (const CorpusOfLanguage& corpus : text.corpora) {
    tasks::PreparedTask prepared = prepare_text(p, corpus, settings);
    ++settings.seed;  // sets of equal lengths are masked differently
    if (!task) task = std::move(prepared.task);
    tokens.push_back(tokens_of(*prepared.train));
    const int64_t all = prepared.train->size();
    parts.push_back({corpus.language.empty() ? "mlm" : corpus.language, std::move(prepared.train), all});
  }
  const std::vector<int64_t> mixed = mixture_of(tokens, text.sampling_temperature);
  double text_tokens = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (mixed[i] != tokens[i])
      parts[i].examples = examples_of(*parts[i].features, static_cast<double>(mixed[i]));
    text_tokens += static_cast<double>(mixed[i]);
  }
  if (text.parallel) {
    const PreparedFiles files(*text.parallel);
    const ParallelText train = pairs_in(files.train), held_out = pairs_in(files.held_out);
    auto pairs =
        tasks::translation_features(p.model, *p.tokenizer, train.source, train.target, settings, "train");
    const int64_t examples = pairs_of_epoch(text, *pairs, text_tokens);
    parts.push_back({kTlm, std::move(pairs), examples});
    p.evaluation_sets.push_back({kTlm, tasks::translation_features(p.model, *p.tokenizer, held_out.source,
                                                                   held_out.target, settings, "held-out")});
  }
  std::vector<MixtureRow> rows = rows_of(parts);
  tasks::PreparedTask prepared;
  prepared.task = std::move(task);
  prepared.train = std::make_unique<Mixture>(std::move(parts), p.arguments.seed);
  train::use_features(p, std::move(prepared));
  return rows;
}

void log_mixture(const std::vector<MixtureRow>& rows, const PretrainingText& text, const std::string& stage) {
  log_info(
      "{}: an epoch has{}\n{}", stage,
      has_languages(text) ? fmt::format(" (--sampling_temperature {}):", text.sampling_temperature) : ":",
      table_of(rows, has_languages(text) ? "language" : "objective"));
}

HeldOutScores scores_of(const LogEntry& metrics, const Objective& objective, const PretrainingText& text) {
  const char* measure = objective.measure();
  const auto of_set = [&](const std::string& set) {
    return measured(metrics, fmt::format("eval_{}_{}", set, measure));
  };
  HeldOutScores scores;
  if (text.parallel) scores.tlm = of_set(kTlm);
  if (has_languages(text)) {
    double sum = 0;
    for (const CorpusOfLanguage& corpus : text.corpora) {
      scores.languages.emplace_back(corpus.language, of_set(set_of_language(corpus.language)));
      sum += std::log(scores.languages.back().second);
    }
    scores.domain = std::exp(sum / static_cast<double>(text.corpora.size()));
    return scores;
  }
  const bool general = PreparedFiles(text.corpora.front().folder).general.has_value();
  scores.domain =
      general || text.parallel ? of_set(kDomain) : measured(metrics, fmt::format("eval_{}", measure));
  if (general) scores.general = of_set(kGeneral);
  return scores;
}

}  // namespace graft::transfer
