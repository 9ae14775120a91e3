// Reading the blocks of tokenizer.json with errors that name the block and the field.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"

namespace graft::text {

inline const Json& field(const Json& json, const char* name, const std::string& where) {
  const auto it = json.is_object() ? json.find(name) : json.end();
  if (it == json.end()) fail("{}: the field {:?} is missing in {}", where, name, json.dump().substr(0, 200));
  return *it;
}

inline std::string string_field(const Json& json, const char* name, const std::string& where) {
  const Json& value = field(json, name, where);
  if (!value.is_string()) fail("{}: {:?} must be a string, not {}", where, name, value.dump().substr(0, 100));
  return value.get<std::string>();
}

inline const Json& array_field(const Json& json, const char* name, const std::string& where) {
  const Json& value = field(json, name, where);
  if (!value.is_array()) fail("{}: {:?} must be a list, not {}", where, name, value.dump().substr(0, 100));
  return value;
}

// Older files have no type. Each of these blocks has a field that no other block has.
inline std::string infer_normalizer_type(const Json& json) {
  if (json.contains("handle_chinese_chars")) return "BertNormalizer";
  if (json.contains("precompiled_charsmap")) return "Precompiled";
  if (json.contains("normalizers")) return "Sequence";
  if (json.contains("strip_left")) return "Strip";
  if (json.contains("prepend")) return "Prepend";
  if (json.contains("pattern")) return "Replace";
  return "";
}

// Looks up the block's type in a table of (type, maker).
template <class Make>
auto make_component(const std::vector<std::pair<std::string, Make>>& table, const Json& json,
                    const std::string& inferred_type, const char* kind, const std::string& where) {
  if (!json.is_object()) fail("{}: a {} must be an object, not {}", where, kind, json.dump().substr(0, 100));
  std::string type = json.value("type", inferred_type);
  const std::string place = where + ": " + kind + " " + type;
  std::vector<std::string> known;
  for (const auto& [name, make] : table) {
    if (name == type) {
      try {
        return make(json, place);
      } catch (const JsonError& e) {
        fail("{}: {} {}: a field has the wrong type ({})", where, kind, type, e.what());
      }
    }
    known.push_back(name);
  }
  if (type.empty()) fail("{}: a {} without a type: {}", where, kind, json.dump().substr(0, 200));
  const std::string near = nearest_name(type, known);
  fail_with(near.empty() ? std::string("the file needs a newer graft, or is not a tokenizer.json")
                         : "did you mean " + near + "?",
            "{}: unknown {} type {:?}", where, kind, type);
}

}  // namespace graft::text
