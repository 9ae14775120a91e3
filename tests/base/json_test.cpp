#include "base/json.h"

#include <gtest/gtest.h>

#include "support/shared.h"

namespace graft {
namespace {

TEST(Json, KeepsTheOrderOfKeys) {
  const Json j = parse_json(R"({"b":1,"a":2})", "x.json");
  EXPECT_EQ(j.dump(), R"({"b":1,"a":2})");
}

TEST(Json, NamesFileLineAndColumn) {
  const auto message = [](const std::string& text) {
    return test::error_of([&] { parse_json(text, "config.json"); });
  };
  EXPECT_THAT(message("{\n \"a\": ?\n}"),
              testing::HasSubstr("config.json: not valid JSON at line 2, column 7"));
  EXPECT_THAT(message("{\"a\": 1"), testing::HasSubstr("ends too early"));
  EXPECT_THAT(message("{\n\"a\": \"\xff\"}"), testing::HasSubstr("config.json: line 2: not valid UTF-8"));
}

TEST(Json, WritesAndReadsBack) {
  const test::TempDir dir;
  write_json(dir / "a.json", Json{{"x", {1, 2}}});
  EXPECT_EQ(read_json(dir / "a.json"), (Json{{"x", {1, 2}}}));
}

}  // namespace
}  // namespace graft
