#include "data/columns.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "data/rows.h"

namespace graft::data {
namespace {

struct UsualPair {
  const char* text;
  const char* pair;
  bool pair_needed;  // `text` alone does not say enough to be taken
};

// In order of preference. QNLI's question + sentence comes before a lone sentence.
constexpr UsualPair kUsual[] = {
    {"text", "text_pair", false},     {"question", "sentence", true},  {"sentence", "", false},
    {"sentence1", "sentence2", true}, {"premise", "hypothesis", true}, {"question1", "question2", true},
    {"text1", "text2", true},         {"question", "passage", true},
};
constexpr const char* kUsualList =
    "text (+ text_pair), sentence, sentence1 + sentence2, premise + hypothesis, question1 + question2, "
    "question + sentence, text1 + text2, question + passage";
constexpr const char* kUsualLabels[] = {"label", "labels"};

struct UsualTarget {
  const char* source;
  const char* target;
};

// In order of preference: run_summarization's summarization_name_mapping, then common names.
constexpr UsualTarget kUsualTargets[] = {
    {"source", "target"},        {"document", "summary"},         {"article", "highlights"},
    {"article", "summary"},      {"dialogue", "summary"},         {"text", "summary"},
    {"body", "summary"},         {"description", "abstract"},     {"extract_text", "summary_text"},
    {"news_body", "news_title"}, {"review_body", "review_title"}, {"input", "output"},
    {"input", "target"},         {"input_text", "target_text"},   {"question", "answer"},
    {"text", "target"},          {"sentence", "target"},          {"source_text", "target_text"},
};
constexpr const char* kUsualTargetList =
    "source + target, document + summary, article + highlights, dialogue + summary, text + summary, input + "
    "output, input_text + target_text, question + answer, text + target";

bool is_usual_text(const std::string& name) {
  return std::any_of(std::begin(kUsual), std::end(kUsual), [&](const UsualPair& usual) {
    return !name.empty() && (name == usual.text || name == usual.pair);
  });
}

std::string normal_form(std::string name) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  name.erase(std::remove_if(name.begin(), name.end(), is_space), name.end());
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

class Chooser {
 public:
  Chooser(const std::vector<std::string>& columns, const std::string& path, char separator, bool text_to_text)
      : columns_(columns), path_(path), separator_(separator), text_to_text_(text_to_text) {}

  // Index of `name`, kNone when absent; an error when it is there twice.
  size_t find(const std::string& name) const {
    const auto at = std::find(columns_.begin(), columns_.end(), name);
    if (name.empty() || at == columns_.end()) return Columns::kNone;
    if (std::find(at + 1, columns_.end(), name) != columns_.end()) {
      fail_with("give every column its own name", "{}: two columns are named '{}' (columns: {})", path_,
                shown(name), join_names(columns_));
    }
    return static_cast<size_t>(at - columns_.begin());
  }

  // Index of a column that the user asked for by `option`.
  size_t require(const std::string& name, const char* option) const {
    const size_t i = find(name);
    if (i != Columns::kNone) return i;
    check_separator();
    const std::string near = shown(look_alike(name, columns_));
    fail_with(near.empty() ? fmt::format("choose one of them with --{}", option)
                           : fmt::format("did you mean --{} '{}'?", option, near),
              "{}: there is no column '{}' (columns: {})", path_, shown(name), join_names(columns_));
  }

  // The column that differs from `name` in case and spaces only, else the nearest, else "".
  static std::string look_alike(const std::string& name, const std::vector<std::string>& columns) {
    for (const std::string& c : columns) {
      if (normal_form(c) == normal_form(name)) return c;
    }
    return nearest_name(name, columns);
  }

  // The columns that have no use yet: a hint to another one leads to a second error.
  std::vector<std::string> unused(const Columns& chosen) const {
    std::vector<std::string> names;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i != chosen.text && i != chosen.pair && i != chosen.label && i != chosen.target)
        names.push_back(columns_[i]);
    }
    return names;
  }

  void choose_text(Columns& chosen) const {
    for (const UsualPair& usual : kUsual) {
      const size_t text = find(usual.text), pair = find(usual.pair);
      if (text == Columns::kNone || text == chosen.pair || text == chosen.label || text == chosen.target)
        continue;
      if (chosen.pair != Columns::kNone) {  // the user named the pair's column only
        chosen.text = text;
        return;
      }
      const bool paired = pair != Columns::kNone && pair != chosen.label && pair != chosen.target;
      if (usual.pair_needed && !paired) continue;
      chosen.text = text;
      chosen.pair = paired ? pair : Columns::kNone;
      return;
    }
    if (choose_lone_source(chosen)) return;
    fail_no_text(chosen);
  }

  // Text to text: the source and the target, whichever was not named. A label is a target where no other is.
  void choose_source_and_target(Columns& chosen, const DatasetOptions& options) const {
    const bool named = chosen.text != Columns::kNone, needs_target = !options.ignore_label;
    for (const UsualTarget& usual : kUsualTargets) {
      const size_t source = find(usual.source), target = find(usual.target);
      if (named ? source != chosen.text : source == Columns::kNone || source == chosen.target) continue;
      if (chosen.target != Columns::kNone ? target != chosen.target : target == Columns::kNone) continue;
      if (!named && source != Columns::kNone) chosen.text = source;
      if (needs_target) chosen.target = target;
      break;
    }
    if (needs_target && chosen.target == Columns::kNone) choose_lone_target(chosen);
    if (chosen.text == Columns::kNone) choose_text(chosen);
  }

  bool choose_lone_source(Columns& chosen) const {
    for (const UsualTarget& usual : kUsualTargets) {
      const size_t source = text_to_text_ ? find(usual.source) : Columns::kNone;
      if (source == Columns::kNone || source == chosen.target || source == chosen.pair) continue;
      chosen.text = source;
      return true;
    }
    return false;
  }

  // The target where its usual source is missing, or was replaced by --text_column.
  void choose_lone_target(Columns& chosen) const {
    for (const UsualTarget& usual : kUsualTargets) {
      const size_t target = find(usual.target);
      if (target == Columns::kNone || target == chosen.text || target == chosen.pair) continue;
      chosen.target = target;
      return;
    }
    const size_t label = find(usual_label_column(columns_));
    if (label == Columns::kNone || label == chosen.text || label == chosen.pair) fail_no_target(chosen);
    chosen.target = label;
    log_info("{}: the target is the label, '{}', as text", path_, shown(columns_[label]));
  }

  [[noreturn]] void fail_no_target(const Columns& chosen) const {
    if (columns_.empty())
      fail_with(R"(write rows such as {"source": "...", "target": "..."})", "{}: the first row has no key",
                path_);
    check_separator();
    const std::vector<std::string> left = unused(chosen);
    std::string near;
    for (const UsualTarget& usual : kUsualTargets)
      if (near.empty()) near = look_alike(usual.target, left);
    fail_with(near.empty() ? "name the column of the texts to be written with --target_column"
                           : fmt::format("did you mean --target_column '{}'?", shown(near)),
              "{}: no target column (columns: {}; looked for: {}; label)", path_, join_names(columns_),
              kUsualTargetList);
  }

  // A header in one piece that holds another separator, or names in single quotes: the columns are not what
  // the writer of the file meant.
  void check_separator() const {
    if (separator_ == 0) return;
    const std::string& header = columns_.front();
    const char* const own = separator_ == ',' ? "comma" : "tab";
    for (const char other : {'\t', ';', '|', ','}) {
      if (columns_.size() > 1 || other == separator_ || header.find(other) == std::string::npos) continue;
      const std::string named = other == '\t' ? "tabs" : other == ',' ? "commas" : fmt::format("'{}'", other);
      const std::string hint =
          other == '\t'  ? "a file separated by tabs must be named .tsv"
          : other == ',' ? "a file separated by commas must be named .csv"
                         : fmt::format("save the file with {}s between the columns, or as .jsonl", own);
      fail_with(hint, "{}: the header has no {} but {} ({})", path_, own, named, shown(header));
    }
    if (header.size() > 1 && header.front() == '\'' && header.back() == '\'') {
      fail_with("write the names without quotes, or in double quotes (\")",
                "{}: the header is in single quotes ({})", path_, join_names(columns_));
    }
  }

  // A usual column of texts that the user gave another role is the reason why none is left.
  void check_roles(const Columns& chosen) const {
    for (const auto& [column, option] : {std::pair{chosen.label, "label_column"},
                                         {chosen.pair, "text_pair_column"},
                                         {chosen.target, "target_column"}}) {
      if (column == Columns::kNone || !is_usual_text(columns_[column])) continue;
      const std::string name = shown(columns_[column]);
      const std::vector<std::string> left = unused(chosen);
      fail_with(left.empty()
                    ? fmt::format("choose another --{}, or add a column with the texts", option)
                    : fmt::format("name the column of the texts with --text_column (left are: {}), or choose "
                                  "another --{}",
                                  join_names(left), option),
                "{}: no text column: '{}' is not read as the text because of --{} {} (columns: {})", path_,
                name, option, name, join_names(columns_));
    }
  }

  [[noreturn]] void fail_no_text(const Columns& chosen) const {
    if (columns_.empty())
      fail_with(R"(write rows such as {"text": "...", "label": 0})", "{}: the first row has no key", path_);
    check_separator();
    check_roles(chosen);
    for (const UsualPair& usual : kUsual) {
      if (!usual.pair_needed || find(usual.text) == Columns::kNone) continue;
      fail_with(fmt::format("add the column '{}', or use --text_column {} to read that column alone",
                            usual.pair, usual.text),
                "{}: there is a column '{}' but no '{}' to go with it (columns: {})", path_, usual.text,
                usual.pair, join_names(columns_));
    }
    const std::vector<std::string> left = unused(chosen);
    std::string near;
    for (const UsualPair& usual : kUsual) {
      if (near.empty()) near = look_alike(usual.text, left);
    }
    for (const UsualTarget& usual : kUsualTargets)
      if (near.empty() && text_to_text_) near = look_alike(usual.source, left);
    std::string hint = near.empty() ? "name it with --text_column"
                                    : fmt::format("did you mean --text_column '{}'?", shown(near));
    if (separator_ != 0)
      hint +=
          "; a file without a header needs one: its first line must name the columns, for example: "
          "text,label";
    fail_with(hint, "{}: no text column (columns: {}; looked for: {}{}{})", path_, join_names(columns_),
              text_to_text_ ? kUsualTargetList : "", text_to_text_ ? ", " : "", kUsualList);
  }

  void choose_label(Columns& chosen, bool required) const {
    const std::string name = usual_label_column(columns_);
    chosen.label = find(name);
    if (chosen.label != Columns::kNone) return;
    std::string near;
    for (const std::string& c : columns_) {
      if (normal_form(c) == "label" || normal_form(c) == "labels") near = c;
      if (required && near.empty() && normal_form(c) == "score") near = c;
    }
    if (!required) {
      if (!near.empty()) {
        log_warning("{}: the column '{}' is not read as the label; pass --label_column '{}' if it is one",
                    path_, shown(near), shown(near));
      }
      return;
    }
    check_separator();
    if (near.empty()) near = nearest_name("label", unused(chosen));
    fail_with(near.empty() ? "name it with --label_column"
                           : fmt::format("did you mean --label_column '{}'?", shown(near)),
              "{}: no label column (columns: {}; looked for: label, labels)", path_, join_names(columns_));
  }

  // Logs which columns are read where others have usual names too.
  void explain_choice(const Columns& chosen, const DatasetOptions& options) const {
    const auto named = [&](size_t column) { return fmt::format("'{}'", shown(columns_[column])); };
    std::vector<std::string> texts, labels;
    for (const std::string& name : unused(chosen)) {
      if (options.text_column.empty() && is_usual_text(name)) texts.push_back(name);
      const bool label =
          std::find(std::begin(kUsualLabels), std::end(kUsualLabels), name) != std::end(kUsualLabels);
      if (label && options.label_column.empty() && !options.ignore_label) labels.push_back(name);
    }
    if (texts.empty() && labels.empty()) return;
    std::string line = "the text is " + named(chosen.text);
    if (chosen.pair != Columns::kNone) line += " with " + named(chosen.pair);
    if (chosen.label != Columns::kNone && !options.ignore_label) line += ", the label " + named(chosen.label);
    std::string choose;
    if (!texts.empty()) choose = "--text_column (and --text_pair_column)";
    if (!labels.empty()) choose += choose.empty() ? "--label_column" : " and --label_column";
    texts.insert(texts.end(), labels.begin(), labels.end());
    log_info("{}: {}; not read: {}; choose with {}", path_, line, join_names(texts), choose);
  }

  void explain_source_and_target(const Columns& chosen, const DatasetOptions& options) const {
    std::vector<std::string> others;
    for (const std::string& name : unused(chosen)) {
      const bool source =
          is_usual_text(name) || std::any_of(std::begin(kUsualTargets), std::end(kUsualTargets),
                                             [&](const auto& u) { return name == u.source; });
      const bool target = std::any_of(std::begin(kUsualTargets), std::end(kUsualTargets),
                                      [&](const auto& u) { return name == u.target; });
      if ((source && options.text_column.empty()) ||
          (target && options.target_column.empty() && !options.ignore_label))
        others.push_back(name);
    }
    if (others.empty()) return;
    std::string line = fmt::format("the source is '{}'", shown(columns_[chosen.text]));
    if (chosen.pair != Columns::kNone) line += fmt::format(" with '{}'", shown(columns_[chosen.pair]));
    if (chosen.target != Columns::kNone)
      line += fmt::format(", the target '{}'", shown(columns_[chosen.target]));
    log_info("{}: {}; not read: {}; choose with --text_column{}", path_, line, join_names(others),
             options.ignore_label ? "" : " and --target_column");
  }

 private:
  const std::vector<std::string>& columns_;
  const std::string& path_;
  char separator_;
  bool text_to_text_;
};

}  // namespace

std::string usual_pair_column(const std::string& text, const std::vector<std::string>& columns) {
  for (const UsualPair& usual : kUsual) {
    if (text == usual.text && *usual.pair &&
        std::find(columns.begin(), columns.end(), usual.pair) != columns.end())
      return usual.pair;
  }
  return "";
}

std::string usual_label_column(const std::vector<std::string>& columns) {
  for (const char* name : kUsualLabels) {
    if (std::find(columns.begin(), columns.end(), name) != columns.end()) return name;
  }
  return "";
}

namespace {

Columns choose_source_and_target(const Chooser& chooser, const std::vector<std::string>& columns,
                                 const DatasetOptions& options, const std::string& path) {
  Columns chosen;
  const bool by_label = options.target_column.empty() && !options.label_column.empty();
  const std::string& target = by_label ? options.label_column : options.target_column;
  if (!options.target_column.empty() && !options.label_column.empty())
    fail_with("the text of a label is a target too: name one of the two",
              "{}: --target_column '{}' and --label_column '{}' are both given", path,
              shown(options.target_column), shown(options.label_column));
  if (!options.text_column.empty()) chosen.text = chooser.require(options.text_column, "text_column");
  if (!options.text_pair_column.empty())
    chosen.pair = chooser.require(options.text_pair_column, "text_pair_column");
  if (!target.empty() && !options.ignore_label)
    chosen.target = chooser.require(target, by_label ? "label_column" : "target_column");
  chooser.choose_source_and_target(chosen, options);
  if (chosen.target != Columns::kNone && (chosen.target == chosen.text || chosen.target == chosen.pair)) {
    fail_with("choose another --target_column or --text_column",
              "{}: the column '{}' is both source and target", path, shown(columns[chosen.target]));
  }
  if (chosen.pair != Columns::kNone && chosen.pair == chosen.text) {
    fail_with("choose another --text_pair_column", "{}: the column '{}' is both text and pair", path,
              shown(columns[chosen.text]));
  }
  chooser.explain_source_and_target(chosen, options);
  return chosen;
}

}  // namespace

Columns choose_columns(const std::vector<std::string>& columns, const DatasetOptions& options,
                       const std::string& path, char separator) {
  const Chooser chooser(columns, path, separator, options.text_to_text);
  if (options.text_to_text) return choose_source_and_target(chooser, columns, options, path);
  Columns chosen;
  if (!options.label_column.empty()) chosen.label = chooser.require(options.label_column, "label_column");
  if (!options.text_column.empty()) chosen.text = chooser.require(options.text_column, "text_column");
  if (!options.text_pair_column.empty())
    chosen.pair = chooser.require(options.text_pair_column, "text_pair_column");
  if (options.text_column.empty()) chooser.choose_text(chosen);
  if (options.label_column.empty() && !options.ignore_label)
    chooser.choose_label(chosen, options.require_label);
  if (chosen.label != Columns::kNone && (chosen.label == chosen.text || chosen.label == chosen.pair)) {
    fail_with("choose another --label_column or --text_column", "{}: the column '{}' is both text and label",
              path, shown(columns[chosen.label]));
  }
  if (chosen.pair != Columns::kNone && chosen.pair == chosen.text) {
    fail_with("choose another --text_pair_column", "{}: the column '{}' is both text and pair", path,
              shown(columns[chosen.text]));
  }
  chooser.explain_choice(chosen, options);
  return chosen;
}

}  // namespace graft::data
