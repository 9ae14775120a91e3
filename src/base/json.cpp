#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"

namespace graft {

Json::Json(std::string text) : kind_(Kind::string), string_(new std::string(std::move(text))) {}

Json::Json(std::initializer_list<Json> list) : Json() {
  const bool pairs = std::all_of(list.begin(), list.end(), [](const Json& item) {
    return item.is_array() && item.array_->size() == 2 && item.array_->front().is_string();
  });
  if (!pairs) {
    *this = array(list);
    return;
  }
  *this = object();
  for (const Json& pair : list) {
    const std::string& key = *pair.array_->front().string_;
    if (!contains(key)) object_->emplace_back(key, pair.array_->back());
  }
}

Json Json::array(std::initializer_list<Json> list) {
  Json out = make(Kind::array);
  out.array_->assign(list.begin(), list.end());
  return out;
}

Json Json::make(Kind kind) {
  Json out;
  if (kind == Kind::object)
    out.object_ = new std::vector<Member>();
  else
    out.array_ = new std::vector<Json>();
  out.kind_ = kind;
  return out;
}

Json::Json(const Json& other) : kind_(Kind::null), integer_(other.integer_) {
  if (other.is_object())
    object_ = new std::vector<Member>(*other.object_);
  else if (other.is_array())
    array_ = new std::vector<Json>(*other.array_);
  else if (other.is_string())
    string_ = new std::string(*other.string_);
  kind_ = other.kind_;
}

void Json::destroy() {
  if (is_object()) delete object_;
  if (is_array()) delete array_;
  if (is_string()) delete string_;
}

const char* Json::type_name() const {
  constexpr const char* kNames[] = {"null",    "object", "array",  "string",
                                    "boolean", "number", "number", "number"};
  return kNames[static_cast<size_t>(kind_)];
}

void Json::wrong_kind(const char* wanted) const {
  throw JsonError(std::string("type must be ") + wanted + ", but is " + type_name());
}

bool Json::equals(const Json& other) const {
  if (is_number() && other.is_number()) {
    if (kind_ == Kind::real || other.kind_ == Kind::real) return get<double>() == other.get<double>();
    return integer_ == other.integer_;
  }
  if (kind_ != other.kind_) return false;
  if (is_object()) return *object_ == *other.object_;
  if (is_array()) return *array_ == *other.array_;
  if (is_string()) return *string_ == *other.string_;
  return is_null() || boolean_ == other.boolean_;
}

size_t Json::size() const {
  if (is_object()) return object_->size();
  if (is_array()) return array_->size();
  return is_null() ? 0 : 1;
}

const Json* Json::find_member(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const Member& m : *object_)
    if (m.first == key) return &m.second;
  return nullptr;
}

const Json* Json::member_of_object(std::string_view key) const {
  if (!is_object()) wrong_kind("object");
  return find_member(key);
}

Json::ConstIterator Json::find(std::string_view key) const {
  if (!is_object()) return end();
  const auto at =
      std::find_if(object_->begin(), object_->end(), [&](const Member& m) { return m.first == key; });
  return ConstIterator(static_cast<const Member*>(object_->data() + (at - object_->begin())));
}

const Json& Json::at(std::string_view key) const {
  if (const Json* member = member_of_object(key)) return *member;
  throw JsonError("key \"" + std::string(key) + "\" not found");
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) *this = object();
  if (const Json* member = member_of_object(key)) return const_cast<Json&>(*member);
  return object_->emplace_back(std::string(key), Json()).second;
}

const std::vector<Json>& Json::elements() const {
  if (!is_array()) wrong_kind("array");
  return *array_;
}

const Json& Json::element(size_t index) const {
  if (index < elements().size()) return (*array_)[index];
  throw JsonError("array index " + std::to_string(index) + " is out of range");
}

void Json::update(const Json& other) {
  for (const auto& [key, value] : other.items()) (*this)[key] = value;
}

void Json::push_back(Json value) {
  if (is_null()) *this = array();
  if (!is_array()) wrong_kind("array");
  array_->push_back(std::move(value));
}

void Json::erase(std::string_view key) {
  if (!is_object()) wrong_kind("object");
  std::erase_if(*object_, [&](const Member& m) { return m.first == key; });
}

Json::ConstIterator Json::begin() const {
  if (is_object()) return ConstIterator(static_cast<const Member*>(object_->data()));
  return is_array() ? ConstIterator(static_cast<const Json*>(array_->data())) : ConstIterator();
}

Json::ConstIterator Json::end() const {
  if (is_object()) return ConstIterator(static_cast<const Member*>(object_->data() + object_->size()));
  return is_array() ? ConstIterator(static_cast<const Json*>(array_->data() + array_->size()))
                    : ConstIterator();
}

Json::Iterator<Json, Json::Member> Json::begin() {
  if (is_object()) return Iterator<Json, Member>(object_->data());
  return is_array() ? Iterator<Json, Member>(array_->data()) : Iterator<Json, Member>();
}

Json::Iterator<Json, Json::Member> Json::end() {
  if (is_object()) return Iterator<Json, Member>(object_->data() + object_->size());
  return is_array() ? Iterator<Json, Member>(array_->data() + array_->size()) : Iterator<Json, Member>();
}

const std::vector<Json::Member>& Json::items() const {
  static const std::vector<Member> none;
  if (is_null()) return none;
  if (!is_object()) wrong_kind("object");
  return *object_;
}

template <class T>
void Json::out_of_range() const {
  throw JsonError(fmt::format("must be an integer from {} to {}, but is {}", std::numeric_limits<T>::min(),
                              std::numeric_limits<T>::max(), dump()));
}

// A real number may stand for an integer (512.0) if its value is one.
template <class T>
T Json::integer() const {
  if (kind_ == Kind::real) {
    constexpr double kEnd = 2.0 * static_cast<double>(uint64_t{1} << (std::numeric_limits<T>::digits - 1));
    constexpr double kBegin = std::numeric_limits<T>::is_signed ? -kEnd : 0.0;
    if (!(real_ >= kBegin && real_ < kEnd) || real_ != std::trunc(real_)) out_of_range<T>();
    return static_cast<T>(real_);
  }
  if (!is_number()) wrong_kind("number");
  const bool fits = kind_ == Kind::integer ? std::in_range<T>(integer_) : std::in_range<T>(unsigned_);
  if (!fits) out_of_range<T>();
  return kind_ == Kind::integer ? static_cast<T>(integer_) : static_cast<T>(unsigned_);
}

void Json::read(bool& out) const {
  if (!is_boolean()) wrong_kind("boolean");
  out = boolean_;
}

void Json::read(int& out) const { out = integer<int>(); }
void Json::read(int64_t& out) const { out = integer<int64_t>(); }
void Json::read(uint64_t& out) const { out = integer<uint64_t>(); }

void Json::read(double& out) const {
  if (!is_number()) wrong_kind("number");
  out = kind_ == Kind::real      ? real_
        : kind_ == Kind::integer ? static_cast<double>(integer_)
                                 : static_cast<double>(unsigned_);
}

void Json::read(float& out) const {
  const auto value = get<double>();
  if (std::abs(value) > std::numeric_limits<float>::max() && std::isfinite(value))
    throw JsonError(fmt::format("must fit into a 32-bit float, but is {}", dump()));
  out = static_cast<float>(value);
}

void Json::read(std::string& out) const {
  if (!is_string()) wrong_kind("string");
  out = *string_;
}

std::string& Json::text() {
  if (!is_string()) wrong_kind("string");
  return *string_;
}

Json Json::value(std::string_view key, const Json& fallback) const {
  const Json* member = member_of_object(key);
  return member ? *member : fallback;
}

std::string Json::value(std::string_view key, const char* fallback) const {
  return value(key, std::string(fallback));
}

void Json::rethrow(std::string_view key, const JsonError& error) {
  throw JsonError(fmt::format("{:?}: {}", key, error.what()));
}

std::ostream& operator<<(std::ostream& out, const Json& json) { return out << json.dump(); }

Json parse_json(std::string_view text, const std::string& origin) {
  text = utf8::without_bom(text);
  if (const size_t bad = utf8::find_invalid(text); bad != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    fail_with("save the file as UTF-8", "{}: line {}: not valid UTF-8", origin, line);
  }
  // nlohmann's reader takes the first NUL as the end of the text.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n');
    fail_with("the file is damaged: copy or download it again",
              "{}: line {}: a NUL byte, which JSON cannot hold", origin, line);
  }
  try {
    return Json::parse(text);
  } catch (const JsonParseError& e) {
    if (e.reason != JsonParseError::Reason::syntax)
      fail("{}: JSON beyond the limits of graft: {}", origin, e.what());
    const auto head = text.substr(0, e.at);
    const auto line = 1 + std::count(head.begin(), head.end(), '\n');
    const size_t newline = head.rfind('\n');
    const size_t column = newline == std::string_view::npos ? e.at + 1 : e.at - newline;
    fail("{}: not valid JSON at line {}, column {}{}", origin, line, column,
         e.at >= text.size() ? " (the file ends too early)" : "");
  }
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const Json& json) {
  write_file(path, json.dump(2) + "\n");
}

}  // namespace graft
