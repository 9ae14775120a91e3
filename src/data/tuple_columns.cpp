// The columns of tuples of texts: two that are alike, texts that are not, and a score.
#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "data/columns.h"
#include "data/rows.h"

namespace graft::data {
namespace {

// In order of preference: the names of sentence-transformers' data sets, then common ones.
constexpr std::pair<const char*, const char*> kUsualTuples[] = {
    {"anchor", "positive"},     {"query", "positive"},        {"query", "answer"},
    {"question", "answer"},     {"query", "passage"},         {"query", "document"},
    {"sentence1", "sentence2"}, {"sentence_A", "sentence_B"}, {"premise", "hypothesis"},
    {"text", "text_pair"},      {"text1", "text2"},           {"question1", "question2"},
    {"source", "target"},
};
constexpr const char* kUsualTupleList =
    "anchor + positive, query + answer, question + answer, query + passage, sentence1 + sentence2, premise + "
    "hypothesis, text + text_pair, text1 + text2, source + target";
constexpr const char* kUsualScores[] = {"score",      "label",  "similarity_score",
                                        "similarity", "labels", "scores"};

size_t index_of(const std::vector<std::string>& columns, const std::string& name) {
  const auto at = std::find(columns.begin(), columns.end(), name);
  return name.empty() || at == columns.end() ? Columns::kNone : static_cast<size_t>(at - columns.begin());
}

size_t named_column(const std::vector<std::string>& columns, const std::string& name, const char* option,
                    const std::string& path) {
  const size_t i = index_of(columns, name);
  if (i != Columns::kNone) return i;
  const std::string near = nearest_name(name, columns);
  fail_with(near.empty() ? fmt::format("choose one of them with --{}", option)
                         : fmt::format("did you mean --{} '{}'?", option, shown(near)),
            "{}: there is no column '{}' (columns: {})", path, shown(name), join_names(columns));
}

// negative, negatives, negative_1, hard_negative_2, ...
bool is_negative(const std::string& name) {
  return name.starts_with("negative") || name.starts_with("hard_negative");
}

void choose_pair(Columns& chosen, const std::vector<std::string>& columns, const std::string& path) {
  for (const auto& [text, pair] : kUsualTuples) {
    const size_t first = index_of(columns, text), second = index_of(columns, pair);
    if (chosen.text != Columns::kNone ? first != chosen.text : first == Columns::kNone) continue;
    if (chosen.pair != Columns::kNone ? second != chosen.pair : second == Columns::kNone) continue;
    chosen.text = first;
    chosen.pair = second;
    return;
  }
  fail_with("name them with --text_column and --text_pair_column",
            "{}: no two columns of texts (columns: {}; looked for: {})", path, join_names(columns),
            kUsualTupleList);
}

}  // namespace

Columns choose_tuple_columns(const std::vector<std::string>& columns, const DatasetOptions& options,
                             const std::string& path) {
  Columns chosen;
  if (!options.text_column.empty())
    chosen.text = named_column(columns, options.text_column, "text_column", path);
  if (!options.text_pair_column.empty())
    chosen.pair = named_column(columns, options.text_pair_column, "text_pair_column", path);
  if (chosen.text == Columns::kNone || chosen.pair == Columns::kNone) choose_pair(chosen, columns, path);
  if (chosen.text == chosen.pair)
    fail_with("choose another --text_pair_column", "{}: the column '{}' is both text and pair", path,
              shown(columns[chosen.text]));
  for (size_t i = 0; i < columns.size(); ++i)
    if (is_negative(columns[i]) && i != chosen.text && i != chosen.pair) chosen.negatives.push_back(i);
  if (!options.label_column.empty()) {
    chosen.label = named_column(columns, options.label_column, "label_column", path);
  } else if (chosen.negatives.empty()) {
    for (const char* name : kUsualScores)
      if (chosen.label == Columns::kNone) chosen.label = index_of(columns, name);
  }
  if (chosen.label != Columns::kNone && !chosen.negatives.empty())
    fail_with("remove the column of the scores or those of the negatives",
              "{}: rows have a score ('{}') and negatives ('{}'): no loss reads both", path,
              shown(columns[chosen.label]), shown(columns[chosen.negatives.front()]));
  std::string line =
      fmt::format("'{}' and '{}' are alike", shown(columns[chosen.text]), shown(columns[chosen.pair]));
  if (chosen.label != Columns::kNone)
    line = fmt::format("'{}' and '{}' with the score '{}'", shown(columns[chosen.text]),
                       shown(columns[chosen.pair]), shown(columns[chosen.label]));
  for (const size_t i : chosen.negatives) line += fmt::format(", '{}' is not", shown(columns[i]));
  log_info("{}: {}", path, line);
  return chosen;
}

}  // namespace graft::data
