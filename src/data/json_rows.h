// Rows of JSON: one object a line (.jsonl), or one array of objects (.json).
#pragma once
#include <memory>

#include "data/rows.h"

namespace graft::data {

std::unique_ptr<RowReader> jsonl_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path);
// An array of objects, or an object whose "data" is one; objects that follow each other are read as JSON
// lines, as `datasets` does. Streams: one object is in memory at a time.
std::unique_ptr<RowReader> json_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path);

}  // namespace graft::data
