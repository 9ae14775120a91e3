// graft tokenize: the jsonl that the reference fixtures check.
#include <fmt/format.h>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::HasSubstr;

TEST(Tokenize, TheFixturesOfABertTokenizer) {
  GRAFT_SHARED_PATH(golden, "golden/tokenizers/small-bert-uncased.json");
  GRAFT_SHARED_PATH(texts, "golden/tokenizers/texts.txt");
  GRAFT_SHARED_PATH(model, "data/tokenizers/small-bert-uncased");
  const Json expected = read_json(golden)["lines"];
  const std::vector<Json> lines =
      json_lines(graft_output({"tokenize", "--model", model.string(), "--input", texts.string()}));
  const std::vector<Json> plain = json_lines(graft_output(
      {"tokenize", "--model", model.string(), "--add_special_tokens", "false"}, read_file(texts)));
  ASSERT_EQ(lines.size(), expected.size());
  ASSERT_EQ(plain.size(), expected.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["input_ids"], expected[i]["ids"]) << "line " << i;
    EXPECT_EQ(lines[i]["tokens"].size(), expected[i]["ids"].size()) << "line " << i;
    Json offsets = Json::array();
    for (const Json& pair : lines[i]["offsets"]) offsets.push_back(pair[0]), offsets.push_back(pair[1]);
    EXPECT_EQ(offsets, expected[i]["offsets"]) << "line " << i;
    EXPECT_EQ(plain[i]["input_ids"], expected[i]["plain_ids"]) << "line " << i;
  }
}

TEST(Tokenize, TheFormat) {
  World world;
  const std::string out = graft_output({"tokenize", "--model", world / "start"}, "A ungood film\n\nfilm\r");
  EXPECT_EQ(
      out,
      R"({"input_ids":[2,13,7,8,10,3],"tokens":["[CLS]","a","un","##good","film","[SEP]"],"offsets":[[0,0],[0,1],[2,4],[4,8],[9,13],[0,0]]})"
      "\n"
      R"({"input_ids":[2,3],"tokens":["[CLS]","[SEP]"],"offsets":[[0,0],[0,0]]})"
      "\n"
      R"({"input_ids":[2,10,3],"tokens":["[CLS]","film","[SEP]"],"offsets":[[0,0],[0,4],[0,0]]})"
      "\n");
  EXPECT_EQ(graft_output({"tokenize", "--model", world / "start"}, ""), "");
}

TEST(Tokenize, InvalidUtf8IsReplacedAndSaid) {
  World world;
  RunOptions options;
  options.input = "film \xff film\n";
  const Result r = run_graft({"tokenize", "--model", world / "start"}, options);
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(json_lines(r.out).front()["input_ids"].size(), 4u);
  EXPECT_THAT(r.err, HasSubstr("U+FFFD"));
}

TEST(Tokenize, AByteOrderMarkIsDropped) {
  World world;
  const std::string want = graft_output({"tokenize", "--model", world / "start"}, "film\nfilm\n");
  EXPECT_EQ(graft_output({"tokenize", "--model", world / "start"},
                         "\xEF\xBB\xBF"
                         "film\nfilm\n"),
            want);
  world.write("marked.txt",
              "\xEF\xBB\xBF"
              "film\nfilm\n");
  world.write("bare.txt", "film\nfilm\n");
  const auto stats = [&](const char* file) {
    return json_lines(graft_output({"tokenize", "--model", world / "start", "--stats", "--json", "--input",
                                    world / file}))
        .front();
  };
  EXPECT_EQ(stats("marked.txt")["tokens"], 2);
  EXPECT_EQ(stats("marked.txt")["bytes"], stats("bare.txt")["bytes"]);
}

TEST(Tokenize, ALineWithoutEndIsAnErrorThatNamesIt) {
  World world;
  world.write("long.txt", "film\n" + std::string((size_t{64} << 20) + 1, 'x'));
  for (const char* stats : {"false", "true"}) {
    const Result r =
        run_graft({"tokenize", "--model", world / "start", "--stats", stats, "--input", world / "long.txt"});
    EXPECT_EQ(r.code, 1);
    EXPECT_THAT(r.err, HasSubstr("long.txt: line 2: longer than 64 MiB"));
  }
}

// Blocks, parts of blocks and long lines give what single lines give.
TEST(Tokenize, ManyLinesAndALongOne) {
  World world;
  std::string text, want;
  const std::string one = graft_output({"tokenize", "--model", world / "start"}, "a \"film\"\n"),
                    empty = graft_output({"tokenize", "--model", world / "start"}, "\n");
  for (int i = 0; i < 150000; ++i) {
    text += i % 3 == 2 ? "\n" : "a \"film\"\n";
    want += i % 3 == 2 ? empty : one;
  }
  EXPECT_TRUE(graft_output({"tokenize", "--model", world / "start"}, text) == want);
  std::string line;
  while (line.size() < size_t{3} << 20) line += "film ";
  const std::vector<Json> lines = json_lines(graft_output({"tokenize", "--model", world / "start"}, line));
  ASSERT_EQ(lines.size(), 1u);
  const size_t words = line.size() / 5;
  EXPECT_EQ(lines[0]["input_ids"].size(), words + 2);
  EXPECT_EQ(lines[0]["tokens"].size(), words + 2);
  EXPECT_EQ(lines[0]["offsets"].size(), words + 2);
  EXPECT_EQ(lines[0]["offsets"][words].dump(), fmt::format("[{},{}]", 5 * words - 5, 5 * words - 1));
}

TEST(Tokenize, Streams) {
  World world;
  RunningGraft graft({"tokenize", "--model", world / "start"});
  graft.write_input("film\n");
  EXPECT_THAT(graft.read_line(), HasSubstr("\"film\""));
  graft.close_input();
  EXPECT_EQ(graft.wait(), 0);
}

TEST(Tokenize, AFolderWithoutATokenizer) {
  World world;
  std::filesystem::create_directory(world / "empty");
  const Result r = run_graft({"tokenize", "--model", world / "empty"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, testing::AllOf(HasSubstr(world / "empty"), HasSubstr("vocab.txt")));
}

}  // namespace
}  // namespace graft::test
