#include "transfer/plan.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "transfer/corpus.h"
#include "transfer/line_file.h"
#include "transfer/words.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kSampleBytes = uint64_t{2} << 20, kPilotHeldOutBytes = uint64_t{64} << 10;

// Lines spread evenly over a file of lines, about `bytes` of them.
void sample_lines(const fs::path& from, const fs::path& to, uint64_t bytes) {
  LineFile out(to);
  const auto size = static_cast<double>(std::max<size_t>(MappedFile(from).size(), 1));
  const double share = static_cast<double>(bytes) / size;
  uint64_t done = 0;
  for_each_line(from, [&](std::string_view line) {
    done += line.size() + 1;
    if (static_cast<double>(out.size()) < share * static_cast<double>(done)) out.append(line);
  });
  out.finish();
}

// The most frequent words of a file of lines: text between white space, in lower case, without punctuation at
// its ends.
struct WordCounts {
  std::unordered_map<std::string, int64_t> counts;

  void add(std::string_view line) {
    const auto is_letter = [](unsigned char c) { return c >= 0x80 || std::isalnum(c) != 0; };
    for (size_t pos = 0; pos < line.size();) {
      while (pos < line.size() && !is_letter(static_cast<unsigned char>(line[pos]))) ++pos;
      size_t end = pos;
      while (end < line.size() && is_letter(static_cast<unsigned char>(line[end]))) ++end;
      if (end == pos) break;
      std::string word(line.substr(pos, end - pos));
      for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      ++counts[word];
      pos = end;
    }
  }

  std::vector<std::string> top(size_t n) const {
    std::vector<std::pair<int64_t, std::string>> all;
    for (const auto& [word, count] : counts) all.emplace_back(-count, word);
    std::sort(all.begin(), all.end());
    std::vector<std::string> words;
    for (size_t i = 0; i < std::min(n, all.size()); ++i) words.push_back(all[i].second);
    return words;
  }
};

std::vector<std::string> top_words(const fs::path& lines) {
  WordCounts counts;
  for_each_line(lines, [&](std::string_view line) { counts.add(line); });
  return counts.top(kTopWords);
}

double overlap_of(const std::vector<std::string>& domain, const std::vector<std::string>& general) {
  const std::unordered_set<std::string> known(general.begin(), general.end());
  const auto shared =
      std::count_if(domain.begin(), domain.end(), [&](const std::string& w) { return known.count(w); });
  return static_cast<double>(shared) / static_cast<double>(std::max<size_t>(domain.size(), 1));
}

double whole_words_of(const std::vector<std::string>& words, const Tokenizer& tokenizer) {
  EncodeOptions options;
  options.add_special_tokens = false;
  options.ids_only = true;
  int64_t whole = 0;
  // Behind a space: the first word of a text is another token in BPE vocabularies.
  for (const std::string& word : words) {
    const std::optional<int32_t> unknown = tokenizer.special_id("unk_token");
    const std::vector<int32_t> ids = tokenizer.encode(" " + word, options).input_ids;
    whole += ids.size() == 1 && ids.front() != unknown.value_or(-1);
  }
  return static_cast<double>(whole) / static_cast<double>(std::max<size_t>(words.size(), 1));
}

// The general text, cleaned as the corpus is.
void read_general(const PlanInputs& inputs, const fs::path& to) {
  TextSource source(inputs.general_files, inputs.columns);
  LineFile out(to);
  for (SourceText text; out.size() < kSampleBytes && source.next(text);) out.append(text.text);
  out.finish();
  if (out.size() == 0) fail("{}: no text", inputs.general_files.front().string());
}

void pilot(const PlanInputs& inputs, PretrainingSettings settings, const fs::path& sample,
           const fs::path& root, const Hooks& hooks, Plan& plan) {
  settings.arguments.max_steps = inputs.pilot_steps;
  settings.arguments.save_strategy = "no";
  const PretrainingResult r =
      pretrain("pilot", inputs.model, {.corpora = {{"", sample}}}, settings, root, hooks);
  plan.interrupted = r.interrupted;
  if (r.interrupted) return;
  plan.pilot_steps = r.steps;
  plan.step_seconds = r.seconds / static_cast<double>(std::max<int64_t>(r.steps, 1));
  plan.perplexity_before = r.before.domain;
  plan.perplexity_after = r.after.domain;
}

std::string duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

Plan make_plan(const PlanInputs& inputs, const PretrainingSettings& settings, const fs::path& root,
               const Hooks& hooks) {
  Plan plan;
  const fs::path sample = root / "plan-sample";
  remove_tree(sample);
  make_folders(sample);
  sample_lines(inputs.corpus / "train.txt", sample / "train.txt", kSampleBytes);
  sample_lines(inputs.corpus / "held_out.txt", sample / "held_out.txt", kPilotHeldOutBytes);
  const auto tokenizer = Tokenizer::from_pretrained(inputs.model);
  plan.domain = tokenizer_stats(*tokenizer, sample / "train.txt");
  const std::vector<std::string> words = top_words(sample / "train.txt");
  plan.whole_words = whole_words_of(words, *tokenizer);
  if (!inputs.general_files.empty()) {
    read_general(inputs, sample / "general.txt");
    plan.general = tokenizer_stats(*tokenizer, sample / "general.txt");
    plan.overlap = overlap_of(words, top_words(sample / "general.txt"));
  }
  pilot(inputs, settings, sample, root, hooks, plan);
  const TrainingArguments& a = settings.arguments;
  const double bytes = static_cast<double>(MappedFile(inputs.corpus / "train.txt").size());
  plan.corpus_tokens = static_cast<int64_t>(bytes / std::max(plan.domain.bytes_per_token(), 1e-9));
  const double per_step =
      static_cast<double>(a.max_seq_length * a.per_device_train_batch_size * a.gradient_accumulation_steps);
  plan.steps = a.max_steps > 0 ? a.max_steps
                               : static_cast<int64_t>(std::ceil(static_cast<double>(plan.corpus_tokens) *
                                                                a.num_train_epochs / per_step));
  plan.run_seconds = plan.step_seconds * static_cast<double>(plan.steps);
  remove_tree(sample);
  plan.recommendation = recommendation_of(plan);
  return plan;
}

std::string recommendation_of(const Plan& p) {
  if (!p.perplexity_before || !p.perplexity_after) return "none: the pilot was interrupted";
  const double drop = 1 - *p.perplexity_after / *p.perplexity_before;
  const double of_steps =
      static_cast<double>(p.pilot_steps) / static_cast<double>(std::max<int64_t>(p.steps, 1));
  std::string text;
  if (drop >= 0.05) {
    text =
        fmt::format("adapt: the pilot ({:.0f} % of the run) lowers the perplexity of the domain by {:.0f} %",
                    100 * std::min(of_steps, 1.0), 100 * drop);
  } else if (drop >= 0.01 && of_steps < 0.2) {
    text = fmt::format(
        "adapt: the pilot is {:.0f} % of the run and lowers the perplexity by {:.1f} %; expect a small gain",
        100 * of_steps, 100 * drop);
  } else if (constexpr double kUnderstood = 60; *p.perplexity_after > kUnderstood) {
    text = fmt::format(
        "unclear: the pilot changes the perplexity of the domain by {:+.1f} % only, and at {:.0f} the model "
        "does "
        "not know this text; give --pilot_steps more of them, or a higher --learning_rate",
        -100 * drop, *p.perplexity_after);
  } else {
    text = fmt::format(
        "do not adapt: the pilot changes the perplexity of the domain by {:+.1f} % only: the model knows "
        "this text",
        -100 * drop);
  }
  if (p.overlap && *p.overlap > 0.7)
    text += fmt::format("; {:.0f} % of the frequent words are those of the general text: the domain is near",
                        100 * *p.overlap);
  constexpr int64_t kFewSteps = 100;
  if (p.steps < kFewSteps)
    text += fmt::format("; {} steps are few: look for more text, or take more epochs (--num_train_epochs)",
                        p.steps);
  const double fertility = p.domain.fertility(), usual = p.general ? p.general->fertility() : 1.35;
  if (fertility > 1.15 * usual)
    text += fmt::format(
        "; {:.2f} tokens a word against {:.2f} {}: its vocabulary cuts the domain's words to pieces",
        fertility, usual, p.general ? "in general text" : "as is usual for English");
  if (p.domain.unknown_rate() > 0.005)
    text +=
        fmt::format("; {:.1f} % of the tokens are unknown to the vocabulary", 100 * p.domain.unknown_rate());
  return text;
}

std::string table_of(const Plan& p) {
  std::string text;
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("{:<34} {}\n", name, value);
  };
  const auto of_general = [&](const std::string& value) {
    return p.general ? " (general " + value + ")" : "";
  };
  line("tokens per word", fmt::format("{:.2f}", p.domain.fertility()) +
                              of_general(p.general ? fmt::format("{:.2f}", p.general->fertility()) : ""));
  line("unknown tokens",
       fmt::format("{:.3f} %", 100 * p.domain.unknown_rate()) +
           of_general(p.general ? fmt::format("{:.3f} %", 100 * p.general->unknown_rate()) : ""));
  line("frequent words that are one token", fmt::format("{:.1f} %", 100 * p.whole_words));
  if (p.overlap) line("frequent words of general text", fmt::format("{:.1f} %", 100 * *p.overlap));
  line("tokens of the corpus", fmt::format("{:.2f} M", static_cast<double>(p.corpus_tokens) / 1e6));
  if (p.perplexity_before && p.perplexity_after)
    line("perplexity in the pilot", fmt::format("{:.2f} -> {:.2f} after {} steps", *p.perplexity_before,
                                                *p.perplexity_after, p.pilot_steps));
  line("time of a step", fmt::format("{:.3f} s", p.step_seconds));
  line("estimated time of the run", fmt::format("{} ({} steps; the pilot's head and fine-tuning not counted)",
                                                duration(p.run_seconds), p.steps));
  return text + "\nrecommendation: " + p.recommendation + "\n";
}

Json to_json(const Plan& p) {
  Json json = {{"tokens_per_word", p.domain.fertility()},
               {"unknown_rate", p.domain.unknown_rate()},
               {"whole_words", p.whole_words},
               {"corpus_tokens", p.corpus_tokens},
               {"steps", p.steps},
               {"pilot_steps", p.pilot_steps},
               {"step_seconds", p.step_seconds},
               {"run_seconds", p.run_seconds},
               {"recommendation", p.recommendation}};
  if (p.general)
    json.update({{"general_tokens_per_word", p.general->fertility()},
                 {"general_unknown_rate", p.general->unknown_rate()}});
  if (p.overlap) json["vocabulary_overlap"] = *p.overlap;
  if (p.perplexity_before) json["perplexity_before"] = *p.perplexity_before;
  if (p.perplexity_after) json["perplexity_after"] = *p.perplexity_after;
  return json;
}

}  // namespace graft::transfer
