// Row readers on arbitrary bytes: graft::Error or rows, and csv rows that are written and read again are the
// same. The first byte chooses the format.
#include <cstdlib>
#include <string>
#include <string_view>

#include "data/columns.h"
#include "data/csv.h"
#include "data/label_tally.h"
#include "data/rows.h"
#include "graft/error.h"

namespace {

using namespace graft;
using namespace graft::data;

void append_record(std::string& out, const std::vector<std::string>& fields) {
  for (size_t i = 0; i < fields.size(); ++i) {
    out += i == 0 ? "\"" : ",\"";
    for (const char c : fields[i]) out.append(c == '"' ? 2 : 1, c);
    out += '"';
  }
  out += '\n';
}

std::vector<std::string> texts_of(const Row& row) {
  std::vector<std::string> texts;
  for (const Cell& cell : row.cells) texts.push_back(cell.text);
  return texts;
}

// Written by RFC 4180 and read again.
void check_round_trip(const std::vector<std::string>& columns,
                      const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  append_record(text, columns);
  for (const auto& row : rows) append_record(text, row);
  const auto reader = csv_rows(memory_stream(text), "again.csv");
  if (reader->columns() != columns) std::abort();
  Row row;
  for (const auto& expected : rows) {
    if (!reader->next(row) || texts_of(row) != expected) std::abort();
  }
  if (reader->next(row)) std::abort();
}

void read(Format format, std::string_view bytes) {
  const auto reader = open_rows(memory_stream(bytes), format, "fuzz.csv");
  std::vector<std::vector<std::string>> rows;
  LabelTally tally("fuzz.csv", "label", reader->untyped());
  Row row;
  while (reader->next(row)) {
    Example example;
    if (!row.cells.empty()) tally.add(row.cells.back(), row.line, example);
    if (format == Format::csv) rows.push_back(texts_of(row));
  }
  if (format == Format::csv) check_round_trip(reader->columns(), rows);
  choose_columns(reader->columns(), {}, "fuzz.csv");
  tally.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto format = static_cast<Format>(data[0] % 5);
  try {
    read(format, {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const graft::Error&) {
  }
  return 0;
}
