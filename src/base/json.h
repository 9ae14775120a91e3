// JSON with insertion order kept (files are written as they were read), and errors that name the file.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace graft {

using Json = nlohmann::ordered_json;

// Parses `text`; `origin` (a path) starts the message of the Error, which names line and column.
Json parse_json(std::string_view text, const std::string& origin);
Json read_json(const std::filesystem::path& path);
// Two-space indentation and a final newline, as `transformers` writes; durable as write_file.
void write_json(const std::filesystem::path& path, const Json& json);

}  // namespace graft
