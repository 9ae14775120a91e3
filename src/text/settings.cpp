#include "text/settings.h"

#include <cmath>

#include "base/error.h"

namespace graft::text {
namespace {

enum class Kind { flag, flag_or_null, length, side, count, text };
struct Setting {
  const char* name;
  Kind kind;
};

constexpr Setting kSettings[] = {
    {"do_lower_case", Kind::flag},
    {"tokenize_chinese_chars", Kind::flag},
    {"strip_accents", Kind::flag_or_null},
    {"add_prefix_space", Kind::flag_or_null},
    {"trim_offsets", Kind::flag},
    {"keep_accents", Kind::flag_or_null},
    {"remove_space", Kind::flag_or_null},
    {"split_by_punct", Kind::flag_or_null},
    {"add_bos_token", Kind::flag_or_null},
    {"add_eos_token", Kind::flag_or_null},
    {"clean_up_tokenization_spaces", Kind::flag_or_null},
    {"split_special_tokens", Kind::flag_or_null},
    {"do_basic_tokenize", Kind::flag_or_null},
    {"legacy", Kind::flag_or_null},
    {"model_max_length", Kind::length},
    {"max_len", Kind::length},
    {"padding_side", Kind::side},
    {"truncation_side", Kind::side},
    {"extra_ids", Kind::count},
    {"tokenizer_class", Kind::text},
};

constexpr int64_t kMaxCount = 1'000'000;  // of T5's extra ids; bounds the memory for a damaged file

bool is_valid(Kind kind, const Json& value) {
  switch (kind) {
    case Kind::flag:
      return value.is_boolean();
    case Kind::flag_or_null:
      return value.is_boolean() || value.is_null();
    case Kind::length: {  // the reference writes 1e30 for no limit
      if (value.is_null()) return true;
      const double length = value.is_number() ? value.get<double>() : 0;
      return length > 0 && length == std::floor(length);
    }
    case Kind::side:
      return value == Json("left") || value == Json("right");
    case Kind::count:
      return value.is_number_integer() && value.get<double>() >= 0 && value.get<double>() <= kMaxCount;
    case Kind::text:
      return value.is_string() || value.is_null();
  }
  return false;
}

std::string allowed(Kind kind) {
  switch (kind) {
    case Kind::flag:
      return "true or false";
    case Kind::flag_or_null:
      return "true, false or null";
    case Kind::length:
      return "a whole number from 1 on, or null";
    case Kind::side:
      return "\"left\" or \"right\"";
    case Kind::count:
      return fmt::format("an integer from 0 to {}", kMaxCount);
    case Kind::text:
      return "a string or null";
  }
  return "";
}

void check(const Setting& setting, const Json& json, const std::string& where) {
  const auto it = json.find(setting.name);
  if (it == json.end() || is_valid(setting.kind, *it)) return;
  const std::string given = it->is_string() ? it->get<std::string>() : "";
  const bool quoted = given == "true" || given == "false" ||
                      (setting.kind == Kind::length && !given.empty() &&
                       given.find_first_not_of("0123456789") == std::string::npos);
  fail_with(quoted ? fmt::format("write it without the quotes: \"{}\": {}", setting.name, given) : "",
            "{}: {:?} must be {}, not {}", where, setting.name, allowed(setting.kind),
            it->dump().substr(0, 100));
}

}  // namespace

void check_settings(const Json& tokenizer_config, const std::string& where) {
  for (const Setting& setting : kSettings) check(setting, tokenizer_config, where);
}

void check_model_settings(const Json& model_config, const std::string& where) {
  check({"tokenizer_class", Kind::text}, model_config, where);
  check({"model_type", Kind::text}, model_config, where);
}

}  // namespace graft::text
