#include "base/utf8.h"

#include <gtest/gtest.h>

namespace graft::utf8 {
namespace {

TEST(Utf8, DecodesEveryLength) {
  const std::string text = "a\u00e9\u20ac\U0001F600";
  std::vector<char32_t> points;
  for (size_t pos = 0; pos < text.size();) {
    char32_t c = 0;
    const int n = decode(text, pos, c);
    ASSERT_GT(n, 0);
    points.push_back(c);
    pos += static_cast<size_t>(n);
  }
  EXPECT_EQ(points, (std::vector<char32_t>{'a', 0xE9, 0x20AC, 0x1F600}));
  EXPECT_EQ(length(text), 4u);
}

TEST(Utf8, AppendInvertsDecode) {
  for (const char32_t c : {0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF}) {
    std::string text;
    append(text, c);
    char32_t back = 1;
    EXPECT_EQ(decode(text, 0, back), static_cast<int>(text.size()));
    EXPECT_EQ(back, c);
  }
}

// The 29 characters of which Python's str.isspace() is true.
TEST(Utf8, SpacesAreThoseOfPython) {
  int spaces = 0;
  for (char32_t c = 0; c < 0x110000; ++c) spaces += is_space(c);
  EXPECT_EQ(spaces, 29);
  for (const char32_t c : {0x09, 0x0D, 0x1C, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2029, 0x3000})
    EXPECT_TRUE(is_space(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : {0x08, 0x0E, 0x1B, 0x21, 0x180E, 0x200B, 0xFEFF})
    EXPECT_FALSE(is_space(c)) << static_cast<uint32_t>(c);
}

// Expected strings: what Python prints for bytes.decode("utf-8", errors="replace").
TEST(Utf8, ReplacesAsPython) {
  const std::string r = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {{"\xff", r},
                                                                  {"a\xc3", "a" + r},
                                                                  {"\xe2\x82", r},
                                                                  {"\xe2\x82z", r + "z"},
                                                                  {"\xed\xa0\x80", r + r + r},
                                                                  {"\xf0\x9f\x98", r},
                                                                  {"\xc0\xaf", r + r},
                                                                  {"\xf5\x80", r + r},
                                                                  {"\xf0\x80\x80\x80", r + r + r + r}};
  for (const auto& [bytes, expected] : cases) {
    size_t count = 0;
    EXPECT_EQ(replace_invalid(bytes, &count), expected);
    EXPECT_EQ(count, (expected.size() - (expected.back() == 'z') - (expected.front() == 'a')) / 3);
    EXPECT_NE(find_invalid(bytes), std::string::npos);
  }
  EXPECT_EQ(find_invalid("plain \u20ac"), std::string::npos);
}

}  // namespace
}  // namespace graft::utf8
