// docs/models-and-tasks.md against the tables of families and head kinds, cell by cell.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "models/model_case.h"
#include "models/registry.h"

namespace graft::test {
namespace {

using Cells = std::vector<std::string>;

// The rows of the first table of a Markdown file, its header first, without the line below it.
std::vector<Cells> table_of(const std::filesystem::path& file) {
  std::vector<Cells> rows;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("|") || line.starts_with("|---")) continue;
    Cells cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) {
      const size_t first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
      cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
    }
    rows.push_back(cells);
  }
  return rows;
}

std::vector<Cells> expected_table() {
  std::vector<Cells> rows(1);
  rows[0].push_back("model_type");
  for (const models::HeadKind* kind : models::head_kinds()) rows[0].push_back(kind->task);
  for (const models::Family* family : models::families()) {
    rows.push_back({family->model_type});
    for (const models::HeadKind* kind : models::head_kinds()) {
      const bool has = std::any_of(family->heads.begin(), family->heads.end(),
                                   [&](const models::FamilyHead& head) { return head.kind == kind; });
      rows.back().push_back(has ? "yes" : "-");
    }
  }
  return rows;
}

std::string as_markdown(const std::vector<Cells>& rows) {
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "|";
    for (const std::string& cell : rows[r]) out += " " + cell + " |";
    out += "\n";
    if (r == 0) {
      out += "|";
      for (size_t c = 0; c < rows[0].size(); ++c) out += "---|";
      out += "\n";
    }
  }
  return out;
}

TEST(ModelsAndTasks, TheDocumentHasTheTablesCells) {
  const std::vector<Cells> expected = expected_table(),
                           written = table_of(GRAFT_SOURCE_DIR "/docs/models-and-tasks.md");
  EXPECT_EQ(written, expected) << "docs/models-and-tasks.md must have this table:\n\n"
                               << as_markdown(expected);
}

}  // namespace
}  // namespace graft::test
