#include "train/evaluation_sets.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "train/evaluation.h"

namespace graft::train {
namespace {

bool is_word(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

// "en=a.csv,de=b.csv"; nothing if a piece has no name.
std::vector<std::pair<std::string, std::string>> pairs_of(const std::string& value) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t begin = 0; begin <= value.size();) {
    const size_t end = std::min(value.find(',', begin), value.size());
    const std::string piece = value.substr(begin, end - begin);
    const size_t equals = piece.find('=');
    if (equals == std::string::npos || !is_word(piece.substr(0, equals)) || equals + 1 == piece.size())
      return {};
    out.emplace_back(piece.substr(0, equals), piece.substr(equals + 1));
    begin = end + 1;
  }
  return out;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> named_files(const std::vector<std::string>& values) {
  std::vector<std::pair<std::string, std::string>> out;
  std::set<std::string> names;
  bool plain = false;
  for (const std::string& value : values) {
    const auto pairs = path_exists(value) ? decltype(out)() : pairs_of(value);
    plain |= pairs.empty();
    if (pairs.empty() && !path_exists(value) && value.find(',') != std::string::npos)
      throw UsageError(fmt::format("--validation_file {}: there is no such file", value),
                       "several evaluation sets have names: --validation_file en=dev.en.csv,de=dev.de.csv");
    for (const auto& [name, file] : pairs) {
      if (!names.insert(name).second)
        throw UsageError(
            fmt::format("--validation_file {}={}: the name {} is given twice", name, file, name));
      out.emplace_back(name, file);
    }
  }
  if (plain && !out.empty())
    throw UsageError("--validation_file: some files have a name and some have none",
                     "give each a name: --validation_file en=dev.en.csv,de=dev.de.csv");
  return out;
}

std::vector<Trainer::Parts::NamedFeatures> prepare_evaluation_sets(Model& model, const TaskData& data,
                                                                   const tasks::FeatureSettings& settings) {
  std::vector<Trainer::Parts::NamedFeatures> out;
  for (const EvaluationSet& set : data.eval_sets) {
    if (!is_word(set.name))
      fail("the name of an evaluation set is a word of letters, digits and underscores, not \"{}\"",
           set.name);
    TaskData one;  // as `graft evaluate` has it
    one.tokenizer = data.tokenizer;
    one.columns = data.columns;
    one.test = set.data;
    one.eval_files = set.files;
    tasks::PreparedTask prepared = tasks::prepare_task(model, one, settings);
    auto features = set.files.empty() ? std::move(prepared.test) : std::move(prepared.eval);
    if (!features || features->size() == 0) fail("the evaluation set {} is empty", set.name);
    out.push_back({set.name, std::move(features)});
  }
  return out;
}

bool has_evaluation(const Trainer::Parts& p) { return p.features.eval || !p.evaluation_sets.empty(); }

LogEntry evaluate_sets(Trainer::Parts& p) {
  if (p.evaluation_sets.empty()) return evaluate_parts(p, p.features.eval.get(), "eval_");
  LogEntry all;
  std::optional<tasks::Collapse> collapse;
  for (const auto& [name, features] : p.evaluation_sets) {
    const LogEntry one = evaluate_parts(p, features.get(), "eval_" + name + "_");
    all.insert(all.end(), one.begin(), one.end());
    if (!collapse) collapse = p.collapse;
  }
  p.collapse = collapse;
  return all;
}

}  // namespace graft::train
