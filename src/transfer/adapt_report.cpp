// The tables of `graft adapt`.
#include <cmath>

#include "base/error.h"
#include "base/folder.h"
#include "transfer/adapt.h"

namespace graft::transfer {
namespace {

std::string number(std::optional<double> value) {
  return value && std::isfinite(*value) ? fmt::format("{:.3f}", *value) : "-";
}

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json json_of_scores(const HeldOutScores& p) {
  Json json = {{"held_out", p.domain ? Json(*p.domain) : Json(nullptr)}};
  if (p.general) json["general"] = *p.general;
  if (p.tlm) json["tlm"] = *p.tlm;
  for (const auto& [language, score] : p.languages) json["languages"][language] = score;
  return json;
}

// The parts of a stage that has several: its languages, and pairs of sentences.
std::string rows_of_parts(const PretrainingResult& r) {
  std::string text;
  const auto row = [&](const std::string& name, std::optional<double> before, std::optional<double> after) {
    text += fmt::format("  {:<12} {:>10} {:>10}\n", name, number(before), number(after));
  };
  for (size_t i = 0; i < r.after.languages.size(); ++i)
    row(r.after.languages[i].first, r.before.languages[i].second, r.after.languages[i].second);
  if (r.after.tlm) row("tlm", r.before.tlm, r.after.tlm);
  return text;
}

std::string stage_table(const AdaptResult& result) {
  bool general = false, languages = false;
  for (const StageRow& row : result.stages) general |= row.result.after.general.has_value();
  std::string text = fmt::format("{:<14} {:>10} {:>10}", result.measure, "before", "after");
  if (general) text += fmt::format(" {:>15} {:>14}", "general before", "general after");
  text += fmt::format(" {:>8} {:>9}\n", "steps", "seconds");
  for (const auto& [name, r] : result.stages) {
    text += fmt::format("{:<14} {:>10} {:>10}", name, number(r.before.domain), number(r.after.domain));
    if (general) text += fmt::format(" {:>15} {:>14}", number(r.before.general), number(r.after.general));
    text +=
        fmt::format(" {:>8} {:>9.0f}{}\n", r.steps, r.seconds + r.head_seconds, r.cached ? "  (cached)" : "");
    text += rows_of_parts(r);
    languages |= !r.after.languages.empty();
  }
  if (languages) text += "of several languages: the geometric mean, then each\n";
  return text;
}

std::string arm_table(const AdaptResult& result, const AdaptJob& job) {
  std::string text = fmt::format("\n{:<14} {:>9} {:>9} {:>9} {:>8}   {}\n", "fine-tuned", "mean", "sd",
                                 "- base", "p", "of each seed");
  for (const Arm& arm : result.arms) {
    text += fmt::format("{:<14} {:>9.4f} {:>9}", arm.name, mean_of(arm.scores),
                        arm.scores.size() > 1 ? fmt::format("{:.4f}", standard_deviation(arm.scores)) : "-");
    text +=
        arm.against_base
            ? fmt::format(" {:>+9.4f} {:>8}  ", arm.against_base->difference,
                          std::isnan(arm.against_base->p) ? "-" : fmt::format("{:.3f}", arm.against_base->p))
            : fmt::format(" {:>9} {:>8}  ", "", "");
    for (const double score : arm.scores) text += fmt::format(" {:.4f}", score);
    text += '\n';
  }
  text += fmt::format("{} over {} seed{}; p: paired t-test over seeds against base, two-sided\n",
                      result.metric, job.seeds.size(), job.seeds.size() == 1 ? "" : "s");
  return text;
}

}  // namespace

std::string table_of(const AdaptResult& result, const AdaptJob& job) {
  if (result.plan) return table_of(*result.plan);
  std::string text = result.stages.empty() ? "" : stage_table(result);
  if (!result.arms.empty()) text += arm_table(result, job);
  return text;
}

Json to_json(const AdaptResult& result, const AdaptJob& job) {
  Json stages = Json::array(), arms = Json::array();
  for (const auto& [name, r] : result.stages)
    stages.push_back({{"stage", name},
                      {"before", json_of_scores(r.before)},
                      {"after", json_of_scores(r.after)},
                      {"new_head", r.new_head},
                      {"steps", r.steps},
                      {"seconds", r.seconds},
                      {"head_seconds", r.head_seconds},
                      {"folder", r.folder.filename().string()}});
  for (size_t i = 0; i < result.stages.size(); ++i)
    if (const auto& mixture = result.stages[i].result.mixture; !mixture.empty())
      stages[i]["mixture"] = to_json(mixture);
  for (const Arm& arm : result.arms) {
    Json json = {{"arm", arm.name},
                 {"scores", arm.scores},
                 {"mean", mean_of(arm.scores)},
                 {"sd", number_or_null(standard_deviation(arm.scores))}};
    if (arm.against_base)
      json.update({{"difference_to_base", arm.against_base->difference},
                   {"t", number_or_null(arm.against_base->t)},
                   {"p", number_or_null(arm.against_base->p)}});
    arms.push_back(std::move(json));
  }
  Json out = {{"measure", result.measure}, {"stages", stages}};
  for (const auto& [name, report] : result.corpora) out["corpora"][name] = to_json(report);
  if (result.plan) out["plan"] = to_json(*result.plan);
  if (result.vocabulary) out["vocabulary"] = to_json(*result.vocabulary);
  if (!result.arms.empty()) {
    out["metric"] = result.metric;
    out["test"] = "paired t-test over seeds, two-sided";
    out["seeds"] = job.seeds;
    out["arms"] = arms;
  }
  return out;
}

}  // namespace graft::transfer
