#include "data/stream.h"

#include <gmock/gmock.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string xz(const std::string& text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  EXPECT_EQ(
      lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
                              text.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
      LZMA_OK);
  out.resize(size);
  return out;
}

std::string read_all(ByteStream& stream, size_t block = 1000) {
  std::string out, buffer(block, '\0');
  while (const size_t n = stream.read(buffer.data(), block)) out.append(buffer, 0, n);
  return out;
}

std::vector<std::string> lines_of(std::string_view bytes, bool strip_cr = true) {
  LineReader reader(memory_stream(bytes), "in.txt", strip_cr);
  std::vector<std::string> out;
  std::string line;
  while (reader.next(line)) {
    out.push_back(line);
    EXPECT_EQ(reader.line_number(), static_cast<int64_t>(out.size()));
  }
  return out;
}

// A text of several blocks whose halves differ, so that lost or repeated blocks show.
std::string long_text() {
  std::string text;
  for (int i = 0; text.size() < 700000; ++i) text += "line " + std::to_string(i * 7919) + "\n";
  return text;
}

struct Packer {
  const char* extension;
  std::string (*pack)(const std::string&);
  const char* name;
};
const Packer kPackers[] = {{".gz", gzip, "gzip"}, {".zst", zstd, "zstd"}, {".xz", xz, "xz"}};

TEST(Stream, EveryCompressionGivesTheBytes) {
  const TempDir dir;
  const std::string text = long_text();
  EXPECT_EQ(read_all(*open_stream(dir.write("a.txt", text))), text);
  for (const Packer& p : kPackers) {
    const auto path = dir.write(std::string("a.txt") + p.extension, p.pack(text));
    EXPECT_EQ(read_all(*open_stream(path)), text) << p.name;
    EXPECT_EQ(read_all(*open_stream(path), 1 << 20), text) << p.name;
  }
}

TEST(Stream, SeveralMembersFollowEachOther) {
  const TempDir dir;
  for (const Packer& p : kPackers) {
    const auto path =
        dir.write(std::string("a") + p.extension, p.pack("one\n") + p.pack("") + p.pack("two\n"));
    EXPECT_EQ(read_all(*open_stream(path)), "one\ntwo\n") << p.name;
  }
  EXPECT_EQ(read_all(*open_stream(dir.write("b.gz", gzip("one") + std::string(5, '\0')))), "one");
}

TEST(Stream, TruncatedArchivesNameTheFile) {
  const TempDir dir;
  const std::string text = long_text();
  for (const Packer& p : kPackers) {
    const std::string whole = p.pack(text);
    for (const size_t size : {size_t{0}, size_t{3}, whole.size() / 2, whole.size() - 1}) {
      const auto path = dir.write(std::string("cut") + p.extension, whole.substr(0, size));
      const std::string error = error_of([&] { read_all(*open_stream(path)); });
      EXPECT_THAT(error, AllOf(HasSubstr(path.string()), HasSubstr(p.name), HasSubstr("truncated"),
                               HasSubstr("download the file again")))
          << size;
    }
  }
}

TEST(Stream, DamagedArchivesNameTheFile) {
  const TempDir dir;
  for (const Packer& p : kPackers) {
    const auto path = dir.write(std::string("bad") + p.extension, "text,label\nthis is no archive,1\n");
    EXPECT_THAT(error_of([&] { read_all(*open_stream(path)); }),
                AllOf(HasSubstr(path.string()), HasSubstr("damaged"), HasSubstr(p.name),
                      HasSubstr(std::string("must not end in ") + p.extension)));
    std::string flipped = p.pack(long_text());
    flipped[flipped.size() / 2] ^= 0x5A;
    const auto other = dir.write(std::string("flipped") + p.extension, flipped);
    EXPECT_THAT(error_of([&] { read_all(*open_stream(other)); }), HasSubstr(other.string())) << p.name;
  }
}

TEST(Stream, MissingFileAndFolder) {
  const TempDir dir;
  EXPECT_THAT(error_of([&] { open_stream(dir / "none.csv"); }),
              AllOf(HasSubstr("none.csv"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { open_stream(dir.path()); }), HasSubstr("is a folder"));
}

TEST(LineReader, LinesEndAtNewlineOnly) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_of(""), Lines{});
  EXPECT_EQ(lines_of("a"), Lines{"a"});
  EXPECT_EQ(lines_of("a\n"), Lines{"a"});
  EXPECT_EQ(lines_of("a\n\nb\r\n\n"), (Lines{"a", "", "b", ""}));
  EXPECT_EQ(lines_of("a\r\r\n", true), Lines{"a\r"});
  EXPECT_EQ(lines_of("a\r\n", false), Lines{"a\r"});
  EXPECT_EQ(lines_of("a\u2028b\u0085c\vd\re\n"), Lines{"a\u2028b\u0085c\vd\re"});
  EXPECT_EQ(lines_of("\xEF\xBB\xBFtext\n\xEF\xBB\xBFx"), (Lines{"text", "\xEF\xBB\xBFx"}));
}

// One mechanism for every format and compression: the mark is no part of the first name or text.
TEST(Stream, AByteOrderMarkIsDropped) {
  const TempDir dir;
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(read_all(*open_stream(dir.write("a.txt", mark + "alpha one")), 1), "alpha one");
  EXPECT_EQ(read_all(*memory_stream(mark)), "");
  EXPECT_EQ(read_all(*memory_stream(mark + mark + "x")), mark + "x");
  EXPECT_EQ(read_all(*memory_stream("\xEF\xBB")), "\xEF\xBB");
  for (const Packer& p : kPackers) {
    const auto path = dir.write(std::string("a.txt") + p.extension, p.pack(mark + "alpha one\n"));
    EXPECT_EQ(read_all(*open_stream(path)), "alpha one\n") << p.name;
  }
}

TEST(Stream, OtherEncodingsAreRefusedByName) {
  const TempDir dir;
  const auto error = [&](std::string_view bytes) {
    return error_of([&] { read_all(*open_stream(dir.write("a.csv", std::string(bytes)))); });
  };
  EXPECT_THAT(error({"\xFF\xFEt\0e\0", 6}), AllOf(HasSubstr("a.csv: the text is UTF-16, UTF-8 was expected"),
                                                  HasSubstr("iconv -f UTF-16 -t UTF-8 IN > OUT")));
  EXPECT_THAT(error({"\xFE\xFF\0t\0e", 6}), HasSubstr("is UTF-16,"));
  EXPECT_THAT(error({"\xFF\xFE\0\0t\0\0\0", 8}), HasSubstr("is UTF-32,"));
  EXPECT_THAT(error({"t\0e\0x\0t\0", 8}), HasSubstr("iconv -f UTF-16LE -t UTF-8"));
  EXPECT_THAT(error({"\0t\0e\0x\0t", 8}), HasSubstr("iconv -f UTF-16BE -t UTF-8"));
  const auto packed = dir.write("b.txt.gz", gzip(std::string("\xFF\xFEt\0", 4)));
  EXPECT_THAT(error_of([&] { read_all(*open_stream(packed)); }), HasSubstr("b.txt.gz: the text is UTF-16"));
  // Zeros here and there are text.
  EXPECT_EQ(read_all(*memory_stream({"a\0bcdefg", 8})), std::string("a\0bcdefg", 8));
}

TEST(Stream, ExtensionsInCapitalsAreRead) {
  const TempDir dir;
  EXPECT_EQ(read_all(*open_stream(dir.write("A.TXT.GZ", gzip("one")))), "one");
}

// A few bytes of header ask for a dictionary of 256 MiB.
TEST(Stream, XzThatNeedsTooMuchMemoryIsRefused) {
  const TempDir dir;
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 0);
  options.dict_size = 256u << 20;
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  std::string out(4096, '\0');
  size_t size = 0;
  const uint8_t in[] = "text";
  ASSERT_EQ(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, nullptr, in, 4,
                                      reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  const auto path = dir.write("wide.xz", out.substr(0, size));
  EXPECT_THAT(error_of([&] { read_all(*open_stream(path)); }),
              HasSubstr("needs more than 128 MiB to decompress"));
}

TEST(LineReader, LinesAcrossBlocks) {
  std::string text;
  std::vector<std::string> expected;
  for (size_t size : {10, 200000, 0, 131071, 131072, 131073, 5}) {
    expected.emplace_back(size, static_cast<char>('a' + expected.size()));
    text += expected.back() + "\n";
  }
  EXPECT_EQ(lines_of(text), expected);
}

TEST(LineReader, InvalidUtf8NamesFileAndLine) {
  EXPECT_THAT(error_of([] { lines_of("good\nbad \xE4hnlich\n"); }),
              AllOf(HasSubstr("in.txt: line 2: not valid UTF-8 (byte 0xE4 at byte 5 of the line)"),
                    HasSubstr("save the file as UTF-8")));
  EXPECT_THAT(error_of([] { lines_of(gzip("abc")); }), HasSubstr("end in .gz"));
  EXPECT_THAT(error_of([] { lines_of(zstd("abc")); }), HasSubstr("end in .zst"));
  EXPECT_THAT(error_of([] { lines_of(xz("abc")); }), HasSubstr("end in .xz"));
}

// A bomb: 100 MB without a line end in a hundred kilobytes.
TEST(LineReader, EndlessLineIsRefused) {
  const TempDir dir;
  const auto path = dir.write("bomb.txt.gz", gzip(std::string(100u << 20, 'a')));
  std::string line;
  EXPECT_THAT(error_of([&] { LineReader(path).next(line); }),
              HasSubstr("bomb.txt.gz: line 1: longer than 64 MiB"));
}

}  // namespace
}  // namespace graft::data
