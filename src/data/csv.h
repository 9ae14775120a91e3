// csv (RFC 4180) and tsv rows.
#pragma once
#include <memory>

#include "data/rows.h"

namespace graft::data {

// csv: fields in double quotes may hold commas, line ends and doubled quotes; U+000D before a line end is
// dropped. What RFC 4180 does not allow inside quotes (a closing quote followed by text, a quote that is
// never closed) is an error: guessing would merge rows. tsv: a row is one line. A field that is wholly in
// quotes, inner quotes doubled, is unquoted as pandas and datasets do; any other quote is text, as in GLUE's
// files. Both: blank lines are skipped, a row must have as many fields as the header.
std::unique_ptr<RowReader> csv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path);
std::unique_ptr<RowReader> tsv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path);

}  // namespace graft::data
