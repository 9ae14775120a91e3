// Converts Json from and to text with nlohmann's reader and writer. Only this source includes them, because
// their templates take seconds to compile.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/json.h"
#include "base/json_check.h"

namespace graft {
namespace {

constexpr size_t kMaxDepth = 1000;  // of brackets; functions on values recurse to this depth

// Of several members with the same key the last value is kept, at the position of the first.
void drop_repeated_keys(std::vector<Json::Member>& members) {
  std::vector<size_t> order(members.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return members[a].first < members[b].first; });
  std::vector<bool> dropped(members.size());
  bool any = false;
  for (size_t first = 0, i = 1; i < order.size(); ++i) {
    if (members[order[i]].first != members[order[first]].first) {
      first = i;
      continue;
    }
    members[order[first]].second = std::move(members[order[i]].second);
    dropped[order[i]] = any = true;
  }
  if (!any) return;
  size_t kept = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    if (dropped[i]) continue;
    if (kept != i) members[kept] = std::move(members[i]);
    ++kept;
  }
  members.resize(kept);
}

[[noreturn]] void throw_parse_error(size_t position, size_t size, const nlohmann::json::exception& e) {
  using Reason = JsonParseError::Reason;
  constexpr int kOutOfRange = 406;
  const std::string what = e.what();  // "[json.exception.out_of_range.406] number overflow ..."
  throw JsonParseError(e.id == kOutOfRange ? Reason::number_too_large : Reason::syntax,
                       std::min(position > 0 ? position - 1 : 0, size),
                       what.substr(what.find("] ") == what.npos ? 0 : what.find("] ") + 2));
}

[[noreturn]] void throw_too_deep() {
  throw JsonParseError(JsonParseError::Reason::too_deep, 0,
                       "brackets nested over " + std::to_string(kMaxDepth) + " deep");
}

// nlohmann takes a NUL as the end of the text.
void throw_at_nul(std::string_view text) {
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    throw JsonParseError(JsonParseError::Reason::syntax, nul, "NUL byte");
}

// Receives the same events and only tracks the depth.
struct JsonChecker {
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(int64_t) { return true; }
  bool number_unsigned(uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool key(std::string&) { return true; }
  bool start_object(size_t) { return ++depth <= kMaxDepth; }
  bool start_array(size_t) { return ++depth <= kMaxDepth; }
  bool end_object() { return --depth, true; }
  bool end_array() { return --depth, true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) {
    throw_parse_error(position, size, e);
  }
  size_t size, depth = 0;
};

}  // namespace

// Receives the events of nlohmann's reader (its `json_sax_t`).
class JsonBuilder {
 public:
  explicit JsonBuilder(size_t size) : size_(size) {}
  Json take() { return std::move(root_); }

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(nlohmann::json::binary_t&) { return false; }  // does not occur in a text
  bool key(std::string& name) {
    open_.back().key = std::move(name);
    return true;
  }
  bool start_object(size_t) { return open(Json::Kind::object); }
  bool start_array(size_t) { return open(Json::Kind::array); }
  bool end_object() {
    drop_repeated_keys(*open_.back().value.object_);
    return end_array();
  }
  bool end_array() {
    Json done = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(done));
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) {
    throw_parse_error(position, size_, e);
  }

 private:
  struct Open {
    Json value;
    std::string key;  // of the next member
  };

  bool add(Json value) {
    if (open_.empty())
      root_ = std::move(value);
    else if (Open& in = open_.back(); in.value.is_object())
      in.value.object_->emplace_back(std::move(in.key), std::move(value));
    else
      in.value.array_->push_back(std::move(value));
    return true;
  }
  bool open(Json::Kind kind) {
    if (open_.size() == kMaxDepth) return false;
    open_.push_back({Json::make(kind), {}});
    return true;
  }

  size_t size_;
  Json root_;
  std::vector<Open> open_;
};

Json Json::parse(std::string_view text) {
  JsonBuilder builder(text.size());
  const char* at = text.data();
  if (!nlohmann::json::sax_parse(at, at + text.size(), &builder)) throw_too_deep();
  throw_at_nul(text);
  return builder.take();
}

void check_json(std::string_view text) {
  JsonChecker checker{text.size()};
  const char* at = text.data();
  if (!nlohmann::json::sax_parse(at, at + text.size(), &checker)) throw_too_deep();
  throw_at_nul(text);
}

namespace {

nlohmann::ordered_json to_nlohmann(const Json& json) {
  using Kind = Json::Kind;
  switch (json.kind()) {
    case Kind::object: {
      nlohmann::ordered_json::object_t out;
      out.reserve(json.size());
      for (const auto& [key, value] : json.items()) out.Container::emplace_back(key, to_nlohmann(value));
      return out;
    }
    case Kind::array: {
      nlohmann::ordered_json::array_t out;
      out.reserve(json.size());
      for (const Json& value : json) out.push_back(to_nlohmann(value));
      return out;
    }
    case Kind::string:
      return json.get<std::string>();
    case Kind::boolean:
      return json.get<bool>();
    case Kind::integer:
      return json.get<int64_t>();
    case Kind::unsigned_integer:
      return json.get<uint64_t>();
    case Kind::real:
      return json.get<double>();
    case Kind::null:
      break;
  }
  return nullptr;
}

}  // namespace

std::string Json::dump(int indent) const {
  return to_nlohmann(*this).dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace graft
