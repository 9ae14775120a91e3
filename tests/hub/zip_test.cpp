#include "hub/zip.h"

#include "support/shared.h"
#include "torch_writer.h"

namespace graft::hub {
namespace {

using namespace test_files;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

std::string content(ZipReader& zip, const std::string& name) {
  const ZipBytes data = zip.read(*zip.find(name));
  return {reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size()};
}

std::string refusal(const std::string& file, const std::string& name = "a") {
  return test::error_of([&] {
    ZipReader zip(bytes_of(file), "f");
    const ZipBytes data = zip.read(*zip.find(name));
    zip.check({{zip.find(name), data.bytes}});
  });
}

TEST(Zip, ReadsStoredAndDeflatedEntries) {
  const std::string repeated(100'000, 'x');
  for (const bool zip64 : {false, true}) {
    const std::string file = zip_file({{"a", "stored"}, {"b", repeated, true}, {"empty", ""}}, zip64);
    EXPECT_TRUE(ZipReader::is_zip(bytes_of(file)));
    ZipReader zip(bytes_of(file), "f");
    EXPECT_EQ(zip.entries().size(), 3u);
    EXPECT_EQ(content(zip, "a"), "stored");
    EXPECT_EQ(content(zip, "b"), repeated);
    EXPECT_EQ(content(zip, "empty"), "");
    EXPECT_EQ(zip.find("c"), nullptr);
    EXPECT_EQ(zip.read(*zip.find("a")).owner, nullptr) << "stored bytes are not copied";
  }
}

TEST(Zip, ReadsAnArchiveWithAComment) {
  std::string file = zip_file({{"a", "stored"}});
  file.replace(file.size() - 2, 2, raw(uint16_t{7}));
  file += "comment";
  ZipReader zip(bytes_of(file), "f");
  EXPECT_EQ(content(zip, "a"), "stored");
}

TEST(Zip, RefusesEntriesThatLeadOutside) {
  for (const char* name : {"../data.pkl", "a/../../b", "/etc/passwd", "a/..", ".."})
    EXPECT_THAT(refusal(zip_file({{"a", "x"}, {name, "y"}})),
                AllOf(HasSubstr("f: entry '" + std::string(name)), HasSubstr("leads outside the archive")));
  const std::string fine = zip_file({{"a", "x"}, {"..a/b..", "y"}});
  EXPECT_EQ(ZipReader(bytes_of(fine), "f").entries().size(), 2u);
}

TEST(Zip, SaysThatACutArchiveIsCut) {
  const std::string file = zip_file({{"a", "stored"}, {"b", "more"}});
  for (size_t size = 4; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    EXPECT_THAT(test::error_of([&] { ZipReader(bytes_of(cut), "f"); }), HasSubstr("f: is cut short")) << size;
  }
}

TEST(Zip, RefusesABombByWhatItDeclares) {
  // 80 MB of zeros in 80 kB: beyond what any checkpoint gains.
  const std::string bomb = zip_file({{"a", std::string(80'000'000, '\0'), true}});
  EXPECT_THAT(refusal(bomb), AllOf(HasSubstr("f: entry 'a' would grow from"),
                                   HasSubstr("to 80000000 bytes: suspicious compression ratio (zip bomb?)")));
  EXPECT_THAT(refusal(zip_file({{"a", "x", true, int64_t{1} << 50}}, true)),
              HasSubstr("suspicious compression ratio (zip bomb?)"));
}

TEST(Zip, RefusesABombByWhatItDoes) {
  EXPECT_THAT(refusal(zip_file({{"a", std::string(1'000'000, 'x'), true, 10}})),
              HasSubstr("entry 'a' does not unpack to its declared size of 10 bytes"));
  EXPECT_THAT(refusal(zip_file({{"a", "xxx", true, 1000}})),
              HasSubstr("does not unpack to its declared size of 1000 bytes"));
}

TEST(Zip, RefusesSharedBytes) {
  std::string file = zip_file({{"a", "xxxx"}, {"b", "yyyy"}});
  const size_t second = file.rfind("PK\1\2");
  file.replace(second + 42, 4, raw(uint32_t{0}));  // b's header offset: a's
  EXPECT_THAT(refusal(file), HasSubstr("overlap: refused as a zip bomb"));
}

TEST(Zip, RefusesWhatIsDamaged) {
  const std::string good = zip_file({{"a", "xxxx"}});
  EXPECT_THAT(refusal(zip_file({{"a", "xxxx", false, -1, 1}})),
              HasSubstr("the checksum of entry 'a' is wrong"));
  EXPECT_THAT(refusal(zip_file({{"a", "x"}, {"a", "y"}})), HasSubstr("entry 'a' is there twice"));
  const size_t central = good.find("PK\1\2");
  const auto with = [&](size_t at, auto value) {
    std::string file = good;
    file.replace(at, sizeof value, raw(value));
    return refusal(file);
  };
  EXPECT_THAT(with(central + 42, uint32_t{5000}), HasSubstr("entry 'a' lies outside the file"));
  EXPECT_THAT(with(central + 20, uint32_t{5000}), HasSubstr("entry 'a' lies outside the file"));
  EXPECT_THAT(with(central + 24, uint32_t{5}), HasSubstr("its two sizes differ"));
  EXPECT_THAT(with(central + 8, uint16_t{1}), HasSubstr("entry 'a' is encrypted"));
  EXPECT_THAT(with(central + 10, uint16_t{12}), HasSubstr("uses compression method 12"));
  EXPECT_THAT(with(central, uint32_t{0}), HasSubstr("zip directory is broken"));
  EXPECT_THAT(with(central + 28, uint16_t{60000}), HasSubstr("zip directory is broken"));
  EXPECT_THAT(with(good.size() - 12, uint16_t{9}), AllOf(HasSubstr("shorter than its own count")));
  EXPECT_THAT(with(good.size() - 6, uint32_t{90000}), HasSubstr("points outside the file"));
}

}  // namespace
}  // namespace graft::hub
