#include "data/json_rows.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/json_values.h"
#include "graft/dataset.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Cell::Kind;

std::vector<Row> read(std::unique_ptr<RowReader> reader) {
  std::vector<Row> rows;
  Row row;
  while (reader->next(row)) rows.push_back(row);
  return rows;
}
std::vector<Row> jsonl(std::string_view bytes) { return read(jsonl_rows(memory_stream(bytes), "in.jsonl")); }
std::vector<Row> json(std::string_view bytes) { return read(json_rows(memory_stream(bytes), "in.json")); }

TEST(Jsonl, CellsKeepTheirKinds) {
  const auto rows =
      jsonl(R"({"a": "x\ny", "b": 3, "c": 2.50, "d": true, "e": null, "f": ["p", 1], "g": {"h": 1}})");
  ASSERT_EQ(rows.size(), 1u);
  const auto& c = rows[0].cells;
  ASSERT_EQ(c.size(), 7u);
  EXPECT_EQ(c[0].kind, Kind::text);
  EXPECT_EQ(c[0].text, "x\ny");
  EXPECT_EQ(c[1].kind, Kind::integer);
  EXPECT_EQ(c[1].text, "3");
  EXPECT_EQ(c[2].kind, Kind::real);
  EXPECT_EQ(c[2].text, "2.5");
  EXPECT_EQ(c[3].kind, Kind::boolean);
  EXPECT_EQ(c[3].text, "true");
  EXPECT_EQ(c[4].kind, Kind::null);
  ASSERT_EQ(c[5].kind, Kind::list);
  EXPECT_EQ(c[5].text, "[\"p\", 1]");
  EXPECT_EQ(c[6].kind, Kind::object);
}

TEST(Jsonl, KeysInAnyOrderAndNewOnes) {
  const auto reader = jsonl_rows(
      memory_stream("{\"a\":\"1\",\"b\":\"2\"}\n\n{\"b\":\"4\",\"a\":\"3\"}\r\n{\"c\":\"5\"}\n"), "in.jsonl");
  EXPECT_THAT(reader->columns(), ElementsAre("a", "b"));
  Row row;
  ASSERT_TRUE(reader->next(row));
  ASSERT_TRUE(reader->next(row));
  EXPECT_EQ(row.line, 3);
  EXPECT_EQ(row.cells[0].text, "3");
  EXPECT_EQ(row.cells[1].text, "4");
  ASSERT_TRUE(reader->next(row));
  EXPECT_THAT(reader->columns(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(row.cells[0].kind, Kind::missing);
  EXPECT_EQ(row.cells[2].text, "5");
  EXPECT_FALSE(reader->next(row));
}

TEST(Jsonl, ErrorsNameLineAndColumn) {
  EXPECT_THAT(error_of([] { jsonl("{\"a\": 1}\n{\"a\": 2,}\n"); }),
              HasSubstr("in.jsonl: line 2, column 9: not valid JSON"));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": \"cut"); }),
              HasSubstr("line 1, column 11: not valid JSON (it ends too early)"));
  EXPECT_THAT(
      error_of([] { jsonl("{\"a\": 1}\n[1, 2]\n"); }),
      AllOf(HasSubstr("in.jsonl: line 2: a row is an array instead of an object"), HasSubstr("{\"text\"")));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": 1e999}"); }), HasSubstr("number is too large"));
  EXPECT_THAT(error_of([] { jsonl(""); }), HasSubstr("in.jsonl: no rows in the file"));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": \"\xFF\"}"); }), HasSubstr("in.jsonl: line 1: not valid UTF-8"));
}

TEST(Jsonl, NumbersAsWritten) {
  const auto rows = jsonl(R"({"a": 18446744073709551616, "b": -0, "c": 1E2, "d": 1.0})");
  const auto& c = rows.at(0).cells;
  EXPECT_EQ(c[0].kind, Kind::integer);
  EXPECT_EQ(c[0].text, "18446744073709551616");
  EXPECT_EQ(c[1].text, "-0");
  EXPECT_EQ(c[2].kind, Kind::real);
  EXPECT_EQ(c[2].text, "100.0");
  EXPECT_EQ(c[3].text, "1.0");
}

TEST(Jsonl, ListItems) {
  const auto rows = jsonl(R"({"a": [ "x,]\"" , 1,2.5,[3, [4]],{"b":[5]},null,true ], "b": []})");
  const std::vector<Cell> items = list_items(rows.at(0).cells.at(0), 100);
  ASSERT_EQ(items.size(), 7u);
  EXPECT_EQ(items[0].text, "x,]\"");
  EXPECT_EQ(items[1].text, "1");
  EXPECT_EQ(items[2].kind, Kind::real);
  EXPECT_EQ(items[3].text, "[3, [4]]");
  EXPECT_EQ(items[4].kind, Kind::object);
  EXPECT_EQ(items[5].kind, Kind::null);
  EXPECT_EQ(items[6].text, "true");
  EXPECT_EQ(list_items(rows[0].cells[0], 2).size(), 2u);
  EXPECT_TRUE(list_items(rows[0].cells[1], 100).empty());
}

TEST(Jsonl, AKeyTwiceIsRefused) {
  EXPECT_THAT(error_of([] { jsonl("{\"a\": 1}\n{\"a\": 1, \"b\": 2, \"a\": null}"); }),
              HasSubstr("in.jsonl: line 2: the row has the key 'a' twice"));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": null, \"\\u0061\": 2}"); }), HasSubstr("the key 'a' twice"));
}

TEST(Jsonl, ManyKeysAreRefused) {
  std::string row = "{";
  for (size_t i = 0; i <= kMaxColumns; ++i) row += fmt::format("{}\"k{}\":0", i ? "," : "", i);
  EXPECT_THAT(error_of([&] { jsonl(row + "}"); }), HasSubstr("line 1: more than 16384 different keys"));
}

// A list of a million items is as large in memory as in the file.
TEST(Jsonl, ListsAreNotTakenApart) {
  std::string row = "{\"x\":[0";
  for (int i = 0; i < 1 << 20; ++i) row += ",0";
  const auto rows = jsonl(row + "]}");
  EXPECT_LT(rows.at(0).cells.at(0).text.capacity(), row.size() + 100);
}

TEST(Jsonl, WhatPythonWritesBeyondJson) {
  EXPECT_THAT(error_of([] { jsonl("{\"a\": NaN}"); }), HasSubstr("NaN and Infinity are not JSON"));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": -Infinity}"); }), HasSubstr("NaN and Infinity are not JSON"));
  EXPECT_THAT(error_of([] { jsonl("{'a': 1}"); }), HasSubstr("JSON has double quotes"));
  EXPECT_THAT(error_of([] { jsonl("{\"a\": None}"); }), HasSubstr("JSON has true, false and null"));
  EXPECT_THAT(error_of([] { jsonl("[{\"a\": 1}]\n"); }), HasSubstr("must be named .json"));
}

TEST(Jsonl, NestingIsBounded) {
  EXPECT_THAT(error_of([] { jsonl("{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}"); }),
              HasSubstr("in.jsonl: line 1: brackets nested over 64 deep"));
  EXPECT_EQ(jsonl("{\"a\": \"" + std::string(1000, '[') + "\"}").size(), 1u);
}

TEST(JsonArray, RowsWithTheirLines) {
  const auto rows = json(
      "\xEF\xBB\xBF[\n  {\"text\": \"a, [b] {c} \\\" d\",\n   \"label\": 1},\n  {\"text\": \"x\"} , "
      "{\"text\": \"y\"}\n]\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].cells[0].text, "a, [b] {c} \" d");
  EXPECT_EQ(rows[0].line, 2);
  EXPECT_EQ(rows[1].line, 4);
  EXPECT_EQ(rows[2].line, 4);
  EXPECT_EQ(rows[2].cells[0].text, "y");
}

TEST(JsonArray, ObjectWithData) {
  EXPECT_EQ(json(R"({"data": [{"text": "a"}, {"text": "b"}]})").size(), 2u);
  EXPECT_EQ(
      json(R"({"version": "1", "more": {"data": [1]}, "data": [{"text": "a"}], "n": 1, "z": []})").size(),
      1u);
}

TEST(JsonArray, LinesInAJsonFile) {
  const auto rows = json("{\"text\": \"a\"}\n{\"text\": \"b\"}\n\n{\"text\":\n\"c\"}\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].cells[0].text, "a");
  EXPECT_EQ(rows[2].cells[0].text, "c");
  EXPECT_EQ(rows[2].line, 4);
}

TEST(JsonArray, ErrorsNameThePlace) {
  EXPECT_THAT(error_of([] { json(""); }), HasSubstr("in.json: the file is empty"));
  EXPECT_THAT(error_of([] { json("[]"); }), HasSubstr("in.json: no rows in the file"));
  EXPECT_THAT(error_of([] { json("text"); }), HasSubstr("in.json: line 1, column 1: not valid JSON rows"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1}\n {\"a\": 2}]"); }),
              HasSubstr("in.json: line 2, column 2: not valid JSON rows: expected ',' or ']' after a row"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1},\n {\"a\":\n  tru}]"); }),
              HasSubstr("in.json: line 3, column 6: not valid JSON"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1},\n {\"a\": \"x"); }),
              HasSubstr("in.json: line 2: the file ends inside a value that starts here"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1}"); }), HasSubstr("the file ends too early"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1}] x"); }), HasSubstr("expected the end of the file"));
  EXPECT_THAT(error_of([] { json("[1]"); }), HasSubstr("a row is a number instead of an object"));
  EXPECT_THAT(error_of([] { json("[{\"a\": 1},]"); }), HasSubstr("expected a value"));
}

// One object of columns, as pandas writes it by default, or of several sets.
TEST(JsonRowsTest, OneObjectOfListsIsNoRow) {
  const test::TempDir dir;
  for (const char* text : {R"({"train":[{"text":"a","label":1}],"test":[]})",
                           R"({"text":{"0":"a"},"label":{"0":1}})", R"({"text":["a","b"],"label":[0,1]})"}) {
    EXPECT_THAT(test::error_of([&] { Dataset::from_file(dir.write("a.json", text)); }),
                testing::AllOf(
                    testing::HasSubstr("a.json: the file is one object whose members are lists or objects"),
                    testing::HasSubstr("orient=\"records\"")))
        << text;
  }
  EXPECT_EQ(Dataset::from_file(dir.write("b.json", R"({"text":"a","label":["x"]})")).size(), 1u);
  EXPECT_THAT(test::error_of([&] {
                Dataset::from_file(
                    dir.write("c.json", "{\"data\":[{\"text\":\"a\"}],\n\"data\":[{\"text\":\"b\"}]}"));
              }),
              testing::HasSubstr("c.json: line 2: a second \"data\""));
}

}  // namespace
}  // namespace graft::data
