#include "cli/rerank.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "base/shown.h"
#include "cli/output_stream.h"
#include "data/json_values.h"
#include "data/rows.h"
#include "train/inference.h"

namespace graft::cli {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

size_t find_column(const data::RowReader& rows, const char* name) {
  const std::vector<std::string>& columns = rows.columns();
  const auto at = std::find(columns.begin(), columns.end(), name);
  return at == columns.end() ? kNone : static_cast<size_t>(at - columns.begin());
}

struct QueryRow {
  std::string query;
  std::vector<std::string> candidates;
};

QueryRow read_query(const data::RowReader& rows, const data::Row& row, const std::string& path) {
  const auto cell = [&](const char* name) {
    const size_t i = find_column(rows, name);
    return i < row.cells.size() ? row.cells[i] : data::Cell();
  };
  const data::Cell query = cell("query"), candidates = cell("candidates");
  constexpr const char* kForm = R"(write rows such as {"query": "...", "candidates": ["...", "..."]})";
  if (query.kind != data::Cell::Kind::text || query.text.empty())
    fail_with(kForm, "{}: line {}: 'query' is no text", path, row.line);
  if (candidates.kind != data::Cell::Kind::list)
    fail_with(kForm, "{}: line {}: 'candidates' is no list", path, row.line);
  QueryRow out;
  out.query = query.text;
  data::JsonValues values(candidates.text);
  for (std::string_view value; values.next(value);) {
    const data::Cell text = data::to_cell(value);
    if (text.kind != data::Cell::Kind::text || text.text.empty())
      fail_with(kForm, "{}: line {}: candidate {} is no text", path, row.line, out.candidates.size() + 1);
    out.candidates.push_back(text.text);
  }
  if (out.candidates.empty()) fail_with(kForm, "{}: line {}: there are no candidates", path, row.line);
  return out;
}

std::string ranked_line(const QueryRow& row, const std::vector<Prediction>& scores, int64_t top_k) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a].score > scores[b].score; });
  if (top_k > 0 && static_cast<size_t>(top_k) < order.size()) order.resize(static_cast<size_t>(top_k));
  Json list = Json::array();
  for (const size_t i : order)
    list.push_back(
        {{"corpus_id", static_cast<int64_t>(i)}, {"score", scores[i].score}, {"text", row.candidates[i]}});
  return Json({{"query", row.query}, {"candidates", std::move(list)}}).dump() + "\n";
}

}  // namespace

bool has_candidates(const data::RowReader& rows) {
  return !rows.untyped() && find_column(rows, "query") != kNone && find_column(rows, "candidates") != kNone;
}

void rerank(const Pipeline& pipeline, data::RowReader& rows, const std::string& input,
            const std::string& output, int64_t top_k) {
  if (pipeline.labels().size() != 1)
    fail_with("fine-tune a model with one output: the labels are numbers",
              "{}: its rows have candidates, which need one score each; the model has {} labels", input,
              pipeline.labels().size());
  OutputStream out(output);
  for (data::Row row; rows.next(row);) {
    const QueryRow query = read_query(rows, row, input);
    const std::vector<std::string> queries(query.candidates.size(), query.query);
    try {
      out.write(ranked_line(query, pipeline.predict(queries, query.candidates), top_k));
    } catch (const train::TextError& e) {
      throw Error(fmt::format("{}: line {}: candidate {}: {}", input, row.line, e.index() + 1, e.reason()),
                  e.hint());
    }
    out.flush();
  }
  out.finish();
}

}  // namespace graft::cli
