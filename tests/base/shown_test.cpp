#include "base/shown.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(Shown, PrintableTextStaysAsItIs) {
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("a fine 'film'"), "a fine 'film'");
  EXPECT_EQ(shown("Größe 東京"), "Größe 東京");
}

TEST(Shown, WhatATerminalWouldObeyOrHideIsEscaped) {
  EXPECT_EQ(shown("a\x1B[2Jb\r\n\tc\x7F"), "a\\u001B[2Jb\\r\\n\\tc\\u007F");
  EXPECT_EQ(shown(std::string_view("a\0b", 3)), "a\\u0000b");
  EXPECT_EQ(shown("a\u00A0b\u200B\u202Ec\uFEFF"), "a\\u00A0b\\u200B\\u202Ec\\uFEFF");
  EXPECT_EQ(shown("a\xFF\xC3"), "a\\xFF\\xC3");
  EXPECT_EQ(shown("\U000E0041"), "\\U000E0041");
}

TEST(Shown, LongTextsAreCutAtACharacter) {
  EXPECT_EQ(shown("ééé", 3), "ééé");
  EXPECT_EQ(shown("éééé", 3), "ééé... (8 bytes)");
  EXPECT_EQ(shown(std::string(1 << 20, 'a')), std::string(60, 'a') + "... (1048576 bytes)");
}

TEST(Shown, LookAlikesDifferInAscii) {
  EXPECT_EQ(shown_in_ascii("caf\u00E9"), "caf\\u00E9");
  EXPECT_EQ(shown_in_ascii("cafe\u0301"), "cafe\\u0301");
}

}  // namespace
}  // namespace graft
