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
  Chooser(const std::vector<std::string>& columns, const std::string& path, char separator)
      : columns_(columns), path_(path), separator_(separator) {}

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
      if (i != chosen.text && i != chosen.pair && i != chosen.label) names.push_back(columns_[i]);
    }
    return names;
  }

  void choose_text(Columns& chosen) const {
    for (const UsualPair& usual : kUsual) {
      const size_t text = find(usual.text), pair = find(usual.pair);
      if (text == Columns::kNone || text == chosen.pair || text == chosen.label) continue;
      if (chosen.pair != Columns::kNone) {  // the user named the pair's column only
        chosen.text = text;
        return;
      }
      if (usual.pair_needed && (pair == Columns::kNone || pair == chosen.label)) continue;
      chosen.text = text;
      chosen.pair = pair == chosen.label ? Columns::kNone : pair;
      return;
    }
    fail_no_text(chosen);
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
    for (const auto& [column, option] :
         {std::pair{chosen.label, "label_column"}, std::pair{chosen.pair, "text_pair_column"}}) {
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
    std::string hint = near.empty() ? "name it with --text_column"
                                    : fmt::format("did you mean --text_column '{}'?", shown(near));
    if (separator_ != 0)
      hint +=
          "; a file without a header needs one: its first line must name the columns, for example: "
          "text,label";
    fail_with(hint, "{}: no text column (columns: {}; looked for: {})", path_, join_names(columns_),
              kUsualList);
  }

  void choose_label(Columns& chosen, bool required) const {
    const std::string name = usual_label_column(columns_);
    chosen.label = find(name);
    if (chosen.label != Columns::kNone) return;
    std::string near;
    for (const std::string& c : columns_) {
      if (normal_form(c) == "label" || normal_form(c) == "labels") near = c;
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

 private:
  const std::vector<std::string>& columns_;
  const std::string& path_;
  char separator_;
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

Columns choose_columns(const std::vector<std::string>& columns, const DatasetOptions& options,
                       const std::string& path, char separator) {
  const Chooser chooser(columns, path, separator);
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
