#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

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

// The byte where a text stops being JSON.
size_t wrong_at(std::string_view text) {
  try {
    Json::parse(text);
  } catch (const JsonParseError& e) {
    EXPECT_EQ(e.reason, JsonParseError::Reason::syntax) << text;
    return e.at;
  }
  ADD_FAILURE() << "parsed: " << text;
  return 0;
}

TEST(Json, SaysWhereATextStopsBeingJson) {
  EXPECT_EQ(wrong_at(""), 0u);
  EXPECT_EQ(wrong_at("[1, tru]"), 7u);
  EXPECT_EQ(wrong_at("{\"a\" 12}"), 6u);  // the last byte of what does not belong there
  EXPECT_EQ(wrong_at("[1,]"), 3u);
  EXPECT_EQ(wrong_at("{\"a\":1,}"), 7u);
  EXPECT_EQ(wrong_at("{1:2}"), 1u);
  EXPECT_EQ(wrong_at("[1] x"), 4u);
  EXPECT_EQ(wrong_at("[01]"), 2u);
  EXPECT_EQ(wrong_at("[1.]"), 3u);
  EXPECT_EQ(wrong_at("[-]"), 2u);
  EXPECT_EQ(wrong_at("[1e+]"), 4u);
  EXPECT_EQ(wrong_at("[\"a\nb\"]"), 3u);
  EXPECT_EQ(wrong_at("\"\\x\""), 2u);
  EXPECT_EQ(wrong_at("\"\\u12g4\""), 5u);
  EXPECT_EQ(wrong_at("\"\\ud800 \""), 7u);  // half of a surrogate pair
  EXPECT_EQ(wrong_at("\"\\udc00\""), 6u);
  EXPECT_EQ(wrong_at("\"\\ud800\\u0041\""), 12u);
  EXPECT_EQ(wrong_at("\"open"), 5u);
  EXPECT_EQ(wrong_at("\"\xC3\""), 2u);
}

TEST(Json, NestingIsBounded) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(Json::parse(nested(1000)).dump(), nested(1000));
  EXPECT_THAT(
      test::error_of([&] { parse_json(nested(1001), "deep.json"); }),
      testing::HasSubstr("deep.json: JSON beyond the limits of graft: brackets nested over 1000 deep"));
  EXPECT_THROW(Json::parse(std::string(100000, '[')), JsonParseError);
}

TEST(Json, TextsAreDecodedAndWrittenBack) {
  const Json j = Json::parse(R"(["\u00e9\ud83d\ude00\b\f\n\r\t\"\\\/\u0001", "\u007f"])");
  EXPECT_EQ(j[0].get<std::string>(), "\xC3\xA9\xF0\x9F\x98\x80\b\f\n\r\t\"\\/\x01");
  EXPECT_EQ(j.dump(), "[\"\xC3\xA9\xF0\x9F\x98\x80\\b\\f\\n\\r\\t\\\"\\\\/\\u0001\",\"\x7F\"]");
  EXPECT_EQ(Json("a\xFFz\xE4\xB8").dump(), "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
}

TEST(Json, NumbersKeepTheirKindAndTheirDigits) {
  const char* same[] = {
      "0",   "-1",  "18446744073709551615", "-9223372036854775808", "1e-05", "5e-324", "1e+100",
      "0.1", "3.0", "123456789.125"};
  for (const char* text : same) EXPECT_EQ(Json::parse(text).dump(), text);
  EXPECT_EQ(Json::parse("-0").dump(), "0");
  EXPECT_EQ(Json::parse("-0.0").dump(), "-0.0");
  EXPECT_EQ(Json::parse("1E5").dump(), "100000.0");
  EXPECT_EQ(Json::parse("18446744073709551616").dump(), "1.8446744073709552e+19");
  EXPECT_EQ(Json::parse("1e-400").dump(), "0.0");
  EXPECT_TRUE(Json::parse("7").is_number_integer());
  EXPECT_FALSE(Json::parse("7.0").is_number_integer());
  EXPECT_EQ(Json::parse("7"), 7);
  EXPECT_EQ(Json::parse("7"), 7.0);
  EXPECT_NE(Json::parse("7"), "7");
  EXPECT_EQ(Json(1.0 / 0.0).dump(), "null");
  EXPECT_THAT(
      test::error_of([] { parse_json("[1e999]", "big.json"); }),
      testing::HasSubstr("big.json: JSON beyond the limits of graft: number overflow parsing '1e999'"));
}

TEST(Json, OfTwoMembersWithOneKeyTheLastValueStaysInTheFirstPlace) {
  EXPECT_EQ(Json::parse(R"({"a":1,"b":2,"a":3})").dump(), R"({"a":3,"b":2})");
  std::string text = "{", want = "{";  // many: another way through the parser
  for (int i = 0; i < 100; ++i) text += "\"k" + std::to_string(i % 60) + "\":" + std::to_string(i) + ",";
  for (int i = 0; i < 60; ++i)
    want += "\"k" + std::to_string(i) + "\":" + std::to_string(i < 40 ? i + 60 : i) + ",";
  text.back() = want.back() = '}';
  EXPECT_EQ(Json::parse(text).dump(), want);
}

TEST(Json, ListsInBracesAreObjectsOrArrays) {
  EXPECT_EQ((Json{{"a", 1}, {"b", {1, "x", nullptr}}, {"c", {{"d", true}}}}).dump(),
            R"({"a":1,"b":[1,"x",null],"c":{"d":true}})");
  EXPECT_EQ(Json::array({{{"a", 1}}, 2}).dump(), R"([{"a":1},2])");
  EXPECT_EQ((Json{{1, "a"}, {2, "b"}}).dump(), R"([[1,"a"],[2,"b"]])");
  EXPECT_EQ(Json(std::vector<float>{0.5f, 2}).dump(), "[0.5,2.0]");
  EXPECT_EQ(Json(std::map<std::string, int>{{"b", 1}, {"a", 2}}).dump(), R"({"a":2,"b":1})");
  EXPECT_EQ(Json::object().dump(2), "{}");
  EXPECT_EQ(Json({{"a", Json::array({1, 2})}, {"b", Json::array()}}).dump(2),
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}");
}

TEST(Json, MembersAndElements) {
  Json j;
  j["x"]["y"] = 1;
  j["z"].push_back("e");
  EXPECT_EQ(j.dump(), R"({"x":{"y":1},"z":["e"]})");
  EXPECT_TRUE(j.contains("x"));
  EXPECT_EQ(j.find("none"), std::as_const(j).end());
  EXPECT_EQ(j.find("z")->size(), 1u);
  EXPECT_EQ(j.value("none", 3), 3);
  EXPECT_EQ(j["x"].value("y", 3), 1);
  const Json copy = j;
  j["z"][0] = 2.5;
  j.erase("x");
  EXPECT_EQ(j.dump(), R"({"z":[2.5]})");
  EXPECT_EQ(copy.dump(), R"({"x":{"y":1},"z":["e"]})");
  std::string keys;
  for (const auto& [key, value] : copy.items()) keys += key + (value.is_array() ? "[]" : "{}");
  EXPECT_EQ(keys, "x{}z[]");
  EXPECT_EQ(Json::parse("[1,2]").get<std::vector<int>>(), (std::vector<int>{1, 2}));
}

TEST(Json, WhatIsNotThereOrOfAnotherKindIsAnError) {
  const Json j = {{"text", "a"}, {"list", {1, 2}}};
  EXPECT_THAT(test::error_of([&] { j.at("none"); }), testing::HasSubstr("key \"none\" not found"));
  EXPECT_THAT(test::error_of([&] { j["text"].get<int>(); }),
              testing::HasSubstr("type must be number, but is string"));
  EXPECT_THAT(test::error_of([&] { j.value("list", ""); }),
              testing::HasSubstr("type must be string, but is array"));
  EXPECT_THAT(test::error_of([&] { j["list"][2]; }), testing::HasSubstr("index 2"));
  EXPECT_THAT(test::error_of([&] { j.value("text", 7); }),
              testing::HasSubstr("\"text\": type must be number, but is string"));
  EXPECT_THROW(j["text"].items(), JsonError);
  EXPECT_THROW(Json(1).push_back(2), JsonError);
}

TEST(Json, ANumberIsNeverCutToFit) {
  const auto message = [](const char* text, auto wanted) {
    return test::error_of([&] { Json::parse(text).value("n", wanted); });
  };
  EXPECT_THAT(message(R"({"n":1e300})", 0),
              testing::HasSubstr("\"n\": must be an integer from -2147483648 to 2147483647, but is 1e+300"));
  EXPECT_THAT(message(R"({"n":2147483648})", 0), testing::HasSubstr("but is 2147483648"));
  EXPECT_THAT(message(R"({"n":-2147483649})", 0), testing::HasSubstr("but is -2147483649"));
  EXPECT_THAT(message(R"({"n":2.5})", 0), testing::HasSubstr("but is 2.5"));
  EXPECT_THAT(message(R"({"n":9223372036854775808})", int64_t{0}), testing::HasSubstr("an integer from"));
  EXPECT_THAT(message(R"({"n":9223372036854775808.0})", int64_t{0}), testing::HasSubstr("an integer from"));
  EXPECT_THAT(message(R"({"n":-1})", uint64_t{0}), testing::HasSubstr("an integer from 0 to"));
  EXPECT_THAT(message(R"({"n":18446744073709551616})", uint64_t{0}), testing::HasSubstr("an integer from 0"));
  EXPECT_THAT(message(R"({"n":1e300})", 0.0f), testing::HasSubstr("32-bit float"));
  EXPECT_THAT(message(R"({"n":true})", 0), testing::HasSubstr("type must be number, but is boolean"));
  EXPECT_EQ(Json::parse(R"({"n":512.0})").value("n", 0), 512);
  EXPECT_EQ(Json::parse(R"({"n":-2147483648})").value("n", 0), -2147483647 - 1);
  EXPECT_EQ(Json::parse(R"({"n":18446744073709551615})").value("n", uint64_t{0}), UINT64_MAX);
  EXPECT_EQ(Json::parse(R"({"n":1e300})").value("n", 0.0), 1e300);
}

TEST(Json, ANulByteIsNotTheEnd) {
  using namespace std::string_literals;
  EXPECT_THAT(test::error_of([] { parse_json("{\"a\": 1}\n\0"s, "x.json"); }),
              testing::HasSubstr("x.json: line 2: a NUL byte"));
  EXPECT_THAT(test::error_of([] { parse_json("{\"a\": \0 1}"s, "x.json"); }),
              testing::HasSubstr("x.json: line 1: a NUL byte"));
  EXPECT_THROW(Json::parse("1\0"s), JsonParseError);
}

TEST(Json, WritesAndReadsBack) {
  const test::TempDir dir;
  write_json(dir / "a.json", Json{{"x", {1, 2}}});
  EXPECT_EQ(read_json(dir / "a.json"), (Json{{"x", {1, 2}}}));
}

}  // namespace
}  // namespace graft
