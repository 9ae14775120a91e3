#include "base/json.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"

namespace graft {

Json parse_json(std::string_view text, const std::string& origin) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  if (const size_t bad = utf8::find_invalid(text); bad != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    fail_with("save the file as UTF-8", "{}: line {}: not valid UTF-8", origin, line);
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    const size_t at = std::min(e.byte > 0 ? e.byte - 1 : 0, text.size());
    const auto head = text.substr(0, at);
    const auto line = 1 + std::count(head.begin(), head.end(), '\n');
    const size_t newline = head.rfind('\n');
    const size_t column = newline == std::string_view::npos ? at + 1 : at - newline;
    fail("{}: not valid JSON at line {}, column {}{}", origin, line, column,
         at >= text.size() ? " (the file ends too early)" : "");
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not JSON that can be held: {}", origin, e.what());  // a number beyond a double's range
  }
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const Json& json) {
  write_file(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace graft
