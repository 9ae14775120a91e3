// What prepare_corpus found, in the log and in json.
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "transfer/corpus.h"
#include "transfer/duplicates.h"

namespace graft::transfer {

void log_corpus(const CorpusReport& r, const CorpusOptions& o, const std::string& name) {
  log_info(
      "{}: {} lines in {} file{} -> {} texts ({}) to train on, {} ({}) held out; dropped {} empty lines, "
      "{} exact and {} near duplicates{}",
      name, r.source.lines, o.files.size(), o.files.size() == 1 ? "" : "s", r.texts, format_bytes(r.bytes),
      r.held_out_texts, format_bytes(r.held_out_bytes), r.source.empty_lines, r.exact_duplicates,
      r.near_duplicates,
      o.remove_duplicates && o.near_duplicates <= 1
          ? fmt::format(" (Jaccard similarity of runs of {} words >= {})", kShingle, o.near_duplicates)
          : "");
  if (r.source.junk_lines > 0)
    log_warning("{}: {} line{} dropped that {} no text (invalid UTF-8 or control characters); the first: {}",
                name, r.source.junk_lines, r.source.junk_lines == 1 ? "" : "s",
                r.source.junk_lines == 1 ? "is" : "are", r.source.first_junk);
  if (!o.exclude_files.empty()) {
    const OverlapReport& v = r.overlap;
    if (v.found_texts == 0) {
      log_info(
          "{}: none of the {} texts of the test set occurs in it ({} of fewer than {} words were left out)",
          name, v.test_texts, v.short_texts, TestTexts::kFewestWords);
    } else {
      log_warning(
          "{}: {} of {} texts of the test set occur in {} of its lines (a run of {} words, or the whole text "
          "where "
          "it is shorter): {}",
          name, v.found_texts, v.test_texts, v.corpus_lines, TestTexts::kRun,
          o.remove_overlap ? "these lines were removed"
                           : "scores on that set will be too high; --remove_overlap true drops the lines");
      for (const OverlapExample& e : v.examples)
        log_info("  {} has {}: \"{}\"", e.corpus_place, e.test_place, e.text);
    }
  }
  if (o.replay_files.empty()) return;
  const double ratio = static_cast<double>(r.replay_bytes) / static_cast<double>(r.replay_bytes + r.bytes);
  log_info("{}: {} general texts ({}) mixed in: {:.1f} % of the training text{}", name, r.replay_texts,
           format_bytes(r.replay_bytes), 100 * ratio,
           ratio < 0.9 * o.replay_ratio
               ? fmt::format("; --replay_ratio {} needs a larger file", o.replay_ratio)
               : "");
}

Json to_json(const CorpusReport& r) {
  Json examples = Json::array();
  for (const OverlapExample& e : r.overlap.examples)
    examples.push_back({{"corpus", e.corpus_place}, {"test", e.test_place}, {"text", e.text}});
  return {{"lines", r.source.lines},
          {"empty_lines", r.source.empty_lines},
          {"junk_lines", r.source.junk_lines},
          {"first_junk", r.source.first_junk},
          {"exact_duplicates", r.exact_duplicates},
          {"near_duplicates", r.near_duplicates},
          {"texts", r.texts},
          {"bytes", r.bytes},
          {"held_out_texts", r.held_out_texts},
          {"held_out_bytes", r.held_out_bytes},
          {"replay_texts", r.replay_texts},
          {"replay_bytes", r.replay_bytes},
          {"overlap",
           {{"test_texts", r.overlap.test_texts},
            {"short_texts", r.overlap.short_texts},
            {"found_texts", r.overlap.found_texts},
            {"corpus_lines", r.overlap.corpus_lines},
            {"examples", examples}}}};
}

CorpusReport corpus_report(const Json& json) {
  CorpusReport r;
  for (const auto& [name, to] : {std::pair{"lines", &r.source.lines},
                                 {"empty_lines", &r.source.empty_lines},
                                 {"junk_lines", &r.source.junk_lines},
                                 {"exact_duplicates", &r.exact_duplicates},
                                 {"near_duplicates", &r.near_duplicates},
                                 {"texts", &r.texts},
                                 {"held_out_texts", &r.held_out_texts},
                                 {"replay_texts", &r.replay_texts}})
    *to = json.at(name).get<int64_t>();
  for (const auto& [name, to] : {std::pair{"bytes", &r.bytes},
                                 {"held_out_bytes", &r.held_out_bytes},
                                 {"replay_bytes", &r.replay_bytes}})
    *to = json.at(name).get<uint64_t>();
  r.source.first_junk = json.at("first_junk").get<std::string>();
  const Json& overlap = json.at("overlap");
  for (const auto& [name, to] : {std::pair{"test_texts", &r.overlap.test_texts},
                                 {"short_texts", &r.overlap.short_texts},
                                 {"found_texts", &r.overlap.found_texts},
                                 {"corpus_lines", &r.overlap.corpus_lines}})
    *to = overlap.at(name).get<int64_t>();
  for (const Json& e : overlap.at("examples"))
    r.overlap.examples.push_back({e.at("corpus").get<std::string>(), e.at("test").get<std::string>(),
                                  e.at("text").get<std::string>()});
  return r;
}

}  // namespace graft::transfer
