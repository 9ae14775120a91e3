// JSON that keeps the insertion order, so that files are written as they were read. Errors name the file. The
// value type has no templates, so that including this header is cheap.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/error.h"

namespace graft {

// The value has another type than requested, or a key is missing.
class JsonError : public Error {
 public:
  using Error::Error;
};

// The text is not JSON. `at`: position of the invalid byte; the text's size if it ends too early.
class JsonParseError : public Error {
 public:
  enum class Reason : uint8_t { syntax, number_too_large, too_deep };
  JsonParseError(Reason why, size_t where, const std::string& what) : Error(what), reason(why), at(where) {}
  Reason reason;
  size_t at;
};

class Json {
 public:
  enum class Kind : uint8_t { null, object, array, string, boolean, integer, unsigned_integer, real };
  using Member = std::pair<std::string, Json>;
  template <class Value, class MemberOf>
  class Iterator;
  using ConstIterator = Iterator<const Json, const Member>;

  Json() : kind_(Kind::null), integer_(0) {}
  Json(std::nullptr_t) : Json() {}
  Json(const char* text) : Json(std::string(text)) {}
  Json(std::string_view text) : Json(std::string(text)) {}
  Json(std::string text);
  template <std::integral T>
  Json(T value) : Json() {
    if constexpr (std::same_as<T, bool>) {
      kind_ = Kind::boolean, boolean_ = value;
    } else if constexpr (std::signed_integral<T>) {
      kind_ = Kind::integer, integer_ = value;
    } else {
      kind_ = Kind::unsigned_integer, unsigned_ = value;
    }
  }
  template <std::floating_point T>
  Json(T value) : kind_(Kind::real), real_(static_cast<double>(value)) {}
  // {{"key", value}, ...} is an object; every other list is an array.
  Json(std::initializer_list<Json> list);
  // A container of values is an array, a map with string keys an object.
  template <class C>
  requires(!std::same_as<C, Json> && !std::convertible_to<C, std::string> &&
           requires(const C& c) { c.begin(), c.end(); }) Json(const C& container)
      : Json(make(requires { typename C::mapped_type; } ? Kind::object : Kind::array)) {
    if constexpr (requires { typename C::mapped_type; }) {
      for (const auto& [key, value] : container) (*this)[key] = value;
    } else {
      for (const auto& value : container) push_back(Json(static_cast<const typename C::value_type&>(value)));
    }
  }
  static Json array(std::initializer_list<Json> list = {});
  static Json object() { return make(Kind::object); }

  Json(const Json& other);
  Json(Json&& other) noexcept : kind_(other.kind_), integer_(other.integer_) {
    static_assert(sizeof(void*) <= sizeof(int64_t));
    other.kind_ = Kind::null;
  }
  Json& operator=(Json other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(integer_, other.integer_);
    return *this;
  }
  ~Json() {
    if (kind_ >= Kind::object && kind_ <= Kind::string) destroy();
  }

  Kind kind() const { return kind_; }
  const char* type_name() const;  // null, object, array, string, boolean, number
  bool is_null() const { return kind_ == Kind::null; }
  bool is_object() const { return kind_ == Kind::object; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_boolean() const { return kind_ == Kind::boolean; }
  bool is_number() const { return kind_ >= Kind::integer; }
  bool is_number_integer() const { return kind_ == Kind::integer || kind_ == Kind::unsigned_integer; }

  // Members of an object, elements of an array; 0 for null, 1 for everything else.
  size_t size() const;
  bool empty() const { return size() == 0; }
  bool contains(std::string_view key) const { return find_member(key) != nullptr; }
  ConstIterator find(std::string_view key) const;
  // A missing key is an error in a const value; otherwise it is added, and null becomes an object.
  const Json& operator[](std::string_view key) const { return at(key); }
  Json& operator[](std::string_view key);
  const Json& at(std::string_view key) const;
  template <std::integral I>
  const Json& operator[](I index) const {
    return element(static_cast<size_t>(index));
  }
  template <std::integral I>
  Json& operator[](I index) {
    return const_cast<Json&>(element(static_cast<size_t>(index)));
  }
  void update(const Json& other);  // adds the members of `other`; they replace members of the same keys
  void push_back(Json value);      // null becomes an array
  void erase(std::string_view key);

  // Elements of an array or values of an object; nothing for null.
  ConstIterator begin() const;
  ConstIterator end() const;
  Iterator<Json, Member> begin();
  Iterator<Json, Member> end();
  // for (const auto& [key, value] : object.items()); null has none.
  const std::vector<Member>& items() const;
  std::vector<Member>& items() { return const_cast<std::vector<Member>&>(std::as_const(*this).items()); }

  // bool, numbers, std::string, containers of these. An integer must be in the range of its type; a real
  // number without a fraction is taken for an integer.
  template <class T>
  T get() const {
    T out{};
    if constexpr (requires { read(out); }) {
      read(out);
    } else {
      for (const Json& value : elements()) out.insert(out.end(), value.get<typename T::value_type>());
    }
    return out;
  }
  std::string& text();  // of a string, for moving it out
  // The member, or `fallback` if there is none. The message about a wrong type names the key.
  template <class T>
  T value(std::string_view key, const T& fallback) const {
    const Json* member = member_of_object(key);
    if (!member) return fallback;
    try {
      return member->get<T>();
    } catch (const JsonError& e) {
      rethrow(key, e);
    }
  }
  Json value(std::string_view key, const Json& fallback) const;
  std::string value(std::string_view key, const char* fallback) const;

  // Number kinds compare by value; objects with the order of their keys.
  friend bool operator==(const Json& a, const Json& b) { return a.equals(b); }

  // indent < 0: one line. Bytes that are not UTF-8 become U+FFFD; infinities and NaN null.
  std::string dump(int indent = -1) const;
  // Throws JsonParseError.
  static Json parse(std::string_view text);

 private:
  friend class JsonBuilder;
  static Json make(Kind kind);
  void destroy();
  bool equals(const Json& other) const;
  const Json* find_member(std::string_view key) const;
  const Json* member_of_object(std::string_view key) const;
  const Json& element(size_t index) const;
  const std::vector<Json>& elements() const;
  [[noreturn]] void wrong_kind(const char* wanted) const;
  [[noreturn]] static void rethrow(std::string_view key, const JsonError& error);
  template <class T>
  [[noreturn]] void out_of_range() const;
  template <class T>
  T integer() const;
  void read(bool& out) const;
  void read(int& out) const;
  void read(int64_t& out) const;
  void read(uint64_t& out) const;
  void read(float& out) const;
  void read(double& out) const;
  void read(std::string& out) const;

  Kind kind_;
  union {
    bool boolean_;
    int64_t integer_;
    uint64_t unsigned_;
    double real_;
    std::string* string_;
    std::vector<Json>* array_;
    std::vector<Member>* object_;
  };
};

// Over the elements of an array or over the values of an object.
template <class Value, class MemberOf>
class Json::Iterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = Json;
  using difference_type = std::ptrdiff_t;
  using pointer = Value*;
  using reference = Value&;
  Iterator() = default;
  explicit Iterator(Value* value) : value_(value) {}
  explicit Iterator(MemberOf* member) : member_(member) {}
  Value& operator*() const { return member_ ? member_->second : *value_; }
  Value* operator->() const { return &**this; }
  Iterator& operator++() {
    member_ ? static_cast<void>(++member_) : static_cast<void>(++value_);
    return *this;
  }
  bool operator==(const Iterator&) const = default;

 private:
  Value* value_ = nullptr;
  MemberOf* member_ = nullptr;
};

std::ostream& operator<<(std::ostream& out, const Json& json);

// Parses `text`; `origin` (a path) starts the message of the Error, which names line and column.
Json parse_json(std::string_view text, const std::string& origin);
Json read_json(const std::filesystem::path& path);
// Two-space indentation and a final newline, as `transformers` writes; durable as write_file.
void write_json(const std::filesystem::path& path, const Json& json);

}  // namespace graft
