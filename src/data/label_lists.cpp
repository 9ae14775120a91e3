#include "data/label_lists.h"

#include <algorithm>

#include "base/shown.h"
#include "data/label_tally.h"

namespace graft::data {
namespace {

bool is_one(const Cell& item) {
  return item.text == "true" || (item.kind != Cell::Kind::boolean && parse_number(item.text) == 1.0);
}
bool is_zero(const Cell& item) {
  return item.text == "false" || (item.kind != Cell::Kind::boolean && parse_number(item.text) == 0.0);
}

// Numbers or quoted names with commas or spaces between them.
bool is_list_body(std::string_view body) {
  for (size_t pos = 0; (pos = body.find_first_not_of(" \t,;", pos)) != body.npos;) {
    size_t end = 0;
    if (body[pos] == '\'' || body[pos] == '"') {
      end = body.find(body[pos], pos + 1);
      if (end == body.npos) return false;
      ++end;
    } else {
      end = std::min(body.find_first_of(" \t,;", pos), body.size());
      if (!parse_number(body.substr(pos, end - pos))) return false;
    }
    pos = end;
  }
  return true;
}

}  // namespace

bool is_zeros_and_ones(const std::vector<Cell>& items) {
  return std::all_of(items.begin(), items.end(), [](const Cell& c) { return is_zero(c) || is_one(c); });
}

std::string shown_list(const std::vector<Cell>& items) {
  constexpr size_t kShown = 8;
  std::string out = "[";
  for (size_t i = 0; i < items.size() && i < kShown; ++i) {
    if (i > 0) out += ", ";
    const bool is_text = items[i].kind == Cell::Kind::text;
    out += is_text ? '"' + shown(items[i].text) + '"' : shown(items[i].text);
  }
  return out + (items.size() > kShown ? ", ...]" : "]");
}

std::string ids_of_vector(const std::vector<Cell>& items) {
  std::vector<Cell> ids;
  for (size_t i = 0; i < items.size(); ++i) {
    if (is_one(items[i])) ids.push_back({Cell::Kind::integer, std::to_string(i)});
  }
  return shown_list(ids);
}

NumberList number_list(std::string_view text) {
  const auto trim = [](std::string_view s) {
    const size_t begin = std::min(s.find_first_not_of(" \t"), s.size());
    return s.substr(begin, s.find_last_not_of(" \t") + 1 - begin);
  };
  text = trim(text);
  if (parse_number(text)) return NumberList::one;
  constexpr size_t kLongest = 1 << 16;
  if (text.size() < 2 || text.size() > kLongest) return NumberList::no;
  const bool brackets =
      (text.front() == '[' && text.back() == ']') || (text.front() == '(' && text.back() == ')');
  if (brackets) return is_list_body(text.substr(1, text.size() - 2)) ? NumberList::list : NumberList::no;
  size_t count = 0;
  for (size_t pos = 0; pos < text.size(); ++count) {
    const size_t end = std::min(text.find_first_of(" ,;|", pos), text.size());
    if (!parse_number(text.substr(pos, end - pos))) return NumberList::no;
    pos = text.find_first_not_of(' ', std::min(end + 1, text.size()));
    if (pos == text.npos) pos = text.size();
  }
  return count > 1 ? NumberList::several : NumberList::no;
}

}  // namespace graft::data
