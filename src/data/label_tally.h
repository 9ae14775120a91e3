// Infers the label type of a file from its label cells.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/rows.h"
#include "graft/dataset.h"

namespace graft::data {

// An ASCII integer, with optional spaces around it; nullopt if it is malformed or too large.
std::optional<int64_t> parse_integer(std::string_view text);
// Whether the text is an integer of any size.
bool is_integer(std::string_view text);
// A finite number, spaces around it allowed.
std::optional<double> parse_number(std::string_view text);

class LabelTally {
 public:
  // `path` and `column` are for messages; `untyped`: a csv cell, where "1" is an integer as pandas reads it.
  LabelTally(std::string path, std::string column, bool untyped)
      : path_(std::move(path)), column_(std::move(column)), untyped_(untyped) {}

  // Sets example.labels from the cell; false when the cell holds no label. Throws Error naming the line, also
  // of a list that is a vector of zeros and ones.
  bool add(const Cell& cell, int64_t line, Example& example);
  // As add, for labels that are already in the example; `as_list`: the labels of all examples are lists.
  void add_strings(const Example& example, bool as_list);

  // Call after the last row. Determines the kinds and throws Error with the line numbers if labels have
  // different kinds. Warns of names that look alike, of a name that pandas reads as a missing value, and of a
  // file with only one label.
  void finish();
  LabelKind kind() const { return kind_; }
  LabelKind item_kind() const { return item_kind_; }
  std::vector<LabelCount> counts() const;
  // The stored form of a label: integers in their shortest form ("01" is 1).
  std::string canonical(const std::string& label) const;

 private:
  enum Type { integer, real, boolean, text, missing_value, not_finite, num_types };
  struct Seen {
    int64_t count = 0, line = 0;
    std::string value;
  };

  std::string place(int64_t line) const;
  Type type_of(const Cell& item, int64_t line) const;
  void note(Type type, const std::string& value, int64_t line);
  void add_list(const std::vector<Cell>& items, int64_t line, Example& example);
  void check_names() const;
  void warn_of_many() const;
  void warn_of_joined_names() const;
  [[noreturn]] void fail_vector(const std::vector<Cell>& items, int64_t line, const char* what) const;
  std::string in_words(const Seen& seen) const;
  [[noreturn]] void fail_mixed(const Seen& a, const Seen& b) const;
  LabelKind scalar_kind() const;

  std::string path_, column_;
  bool untyped_;
  Seen lists_, scalars_;
  std::array<Seen, num_types> seen_;
  std::vector<LabelCount> counts_;
  std::unordered_map<std::string, size_t> index_;
  int64_t pairs_ = 0;  // lists that hold 0 and 1, and the first of them
  std::vector<Cell> first_pair_;
  LabelKind kind_ = LabelKind::none, item_kind_ = LabelKind::none;
};

}  // namespace graft::data
