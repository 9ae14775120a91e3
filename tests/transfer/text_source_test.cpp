// Corpus files with everything that real ones have.
#include "transfer/text_source.h"

#include "support/shared.h"

namespace graft::transfer {
namespace {

using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> texts_of(TextSource& source) {
  std::vector<std::string> out;
  for (SourceText text; source.next(text);) out.push_back(text.text);
  return out;
}

TEST(TextSource, MarksLineEndsAndEmptyFilesAreNoText) {
  TempDir dir;
  TextSource source({dir.write("a.txt", "\xEF\xBB\xBFone\r\n\r\n \t\ntwo\n"), dir.write("empty.txt", ""),
                     dir.write("b.txt", "\xEF\xBB\xBF"), dir.write("c.txt", "no line end")},
                    {});
  EXPECT_THAT(texts_of(source), ElementsAre("one", "two", "no line end"));
  EXPECT_EQ(source.counts().lines, 5);
  EXPECT_EQ(source.counts().empty_lines, 2);
  EXPECT_EQ(source.counts().junk_lines, 0);
}

TEST(TextSource, DamagedLinesAreDroppedAndTheFirstIsNamed) {
  TempDir dir;
  std::string text;
  for (int i = 1; i <= 30; ++i) text += "line " + std::to_string(i) + "\n";
  text += "bad \xFF byte\nzero" + std::string(1, '\0') + "byte\nlast\n";
  const auto file = dir.write("a.txt", text);
  TextSource source({file}, {});
  EXPECT_EQ(texts_of(source).size(), 31u);
  EXPECT_EQ(source.counts().junk_lines, 2);
  EXPECT_EQ(source.counts().first_junk, file.string() + ": line 31 (byte 0xFF at byte 5 of the line)");
}

TEST(TextSource, ABinaryFileIsRefused) {
  TempDir dir;
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += static_cast<char>(i * 37 % 251);
  const auto file = dir.write("a.txt", bytes);
  TextSource source({file}, {});
  EXPECT_THAT(error_of([&] { texts_of(source); }),
              AllOf(HasSubstr(file.string()), HasSubstr("lines are no text, the first is line 1 (byte 0x"),
                    HasSubstr("binary or in another encoding")));
}

TEST(TextSource, RowsGiveBothTextsWithoutTheirLineEnds) {
  TempDir dir;
  TextSource source({dir.write("a.csv", "sentence1,sentence2,label\n\"two\nlines\",second,1\nthird,,0\n"),
                     dir.write("b.jsonl", "{\"text\": \"json\"}\n")},
                    {});
  EXPECT_THAT(texts_of(source), ElementsAre("two lines", "second", "third", "json"));
  EXPECT_EQ(source.counts().empty_lines, 1);
}

TEST(TextSource, FoldersAreTheirFilesOfText) {
  TempDir dir;
  dir.write("b.txt", "b");
  dir.write("a.jsonl", "{\"text\": \"a\"}");
  dir.write("notes.pdf", "x");
  EXPECT_THAT(corpus_files({dir.path().string()}, "corpus"), ElementsAre(dir / "a.jsonl", dir / "b.txt"));
  EXPECT_THAT(error_of([&] { corpus_files({(dir / "no.txt").string()}, "corpus"); }),
              HasSubstr("--corpus " + (dir / "no.txt").string() + ": no such file"));
  const std::string both = (dir / "b.txt").string() + "," + (dir / "b.txt").string();
  EXPECT_THAT(error_of([&] { corpus_files({both}, "corpus"); }), HasSubstr("write a space between files"));
  EXPECT_THAT(error_of([&] { corpus_files({(dir / "notes.pdf").string()}, "corpus"); }), HasSubstr(".pdf"));
  TempDir empty;
  EXPECT_THAT(error_of([&] { corpus_files({empty.path().string()}, "corpus"); }),
              HasSubstr("no file of text"));
}

}  // namespace
}  // namespace graft::transfer
