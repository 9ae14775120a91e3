#include "hub/safetensors.h"

#include <fmt/format.h>

#include <cstring>

#include "support/shared.h"

namespace graft::hub {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A file of `header` (any text) and `data_size` zero bytes.
std::string file_of(const std::string& header, size_t data_size) {
  const uint64_t size = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &size, 8);
  return out + header + std::string(data_size, '\0');
}

StateDict parse(const std::string& file) { return parse_safetensors(std::as_bytes(std::span(file)), "f"); }

std::string refusal(const std::string& header, size_t data_size) {
  return test::error_of([&] { parse(file_of(header, data_size)); });
}

TEST(Safetensors, ReadsNamesShapesTypesInTheOrderOfTheData) {
  const std::string file = file_of(
      R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"__metadata__":{"format":"pt"},)"
      R"("a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F16","shape":[3,0],"data_offsets":[8,8]}})",
      16);
  const StateDict dict = parse(file);
  ASSERT_EQ(dict.tensors().size(), 3u);
  EXPECT_EQ(dict.tensors()[0].name, "a");
  EXPECT_EQ(dict.tensors()[0].dtype, DType::i64);
  EXPECT_TRUE(dict.tensors()[0].shape.empty());
  EXPECT_EQ(dict.tensors()[1].name, "e");
  EXPECT_EQ(dict.tensors()[1].num_bytes, 0u);
  EXPECT_EQ(dict.tensors()[2].name, "b");
  EXPECT_EQ(dict.tensors()[2].shape, std::vector<int64_t>{2});
  EXPECT_EQ(dict.tensors()[2].data, dict.tensors()[0].data + 8);
}

TEST(Safetensors, ReadsAnEmptyStateDict) { EXPECT_TRUE(parse(file_of("{}      ", 0)).tensors().empty()); }

TEST(Safetensors, RefusesWhatIsNotAFileOfTheFormat) {
  EXPECT_THAT(test::error_of([] { parse(""); }), HasSubstr("f: is not a safetensors file: it has 0 bytes"));
  EXPECT_THAT(refusal("this is not json", 0), HasSubstr("header is not a JSON object"));
  EXPECT_THAT(refusal("[1, 2]", 0), HasSubstr("header is not a JSON object"));
  EXPECT_THAT(refusal("{\"\xff\": 1}", 0), HasSubstr("header is not a JSON object"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4),
              HasSubstr("not a JSON object"));
  EXPECT_THAT(test::error_of([] { parse(std::string(16, '\xff')); }),
              HasSubstr("its header size is 18446744073709551615 bytes"));
  EXPECT_THAT(test::error_of([] { parse(std::string(16, '\0')); }), HasSubstr("its header size is 0 bytes"));
}

TEST(Safetensors, NamesWhatOftenLiesWhereWeightsShouldBe) {
  EXPECT_THAT(
      test::error_of([] { parse("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"); }),
      AllOf(HasSubstr("is a Git LFS pointer"), HasSubstr("git lfs pull")));
  EXPECT_THAT(test::error_of([] { parse("<!DOCTYPE html><html></html>"); }), HasSubstr("is a web page"));
}

TEST(Safetensors, RefusesNestingWithoutRecursion) {
  EXPECT_THAT(refusal(R"({"w":)" + std::string(1'000'000, '['), 0), HasSubstr("not a JSON object"));
}

TEST(Safetensors, SaysHowMuchOfACutFileIsMissing) {
  const std::string header = R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  EXPECT_THAT(refusal(header, 10),
              AllOf(HasSubstr(fmt::format("is cut short: {} of {} bytes are there, 6 are missing",
                                          8 + header.size() + 10, 8 + header.size() + 16)),
                    HasSubstr("download or copy the file again")));
  const std::string whole = file_of(header, 16);
  EXPECT_THAT(test::error_of([&] { parse(whole.substr(0, 20)); }),
              HasSubstr("is cut short inside its header: 20 of"));
}

TEST(Safetensors, RefusesOffsetsThatOverlapLeaveHolesOrEndEarly) {
  const auto two = [](const char* second) {
    return fmt::format(R"({{"v":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},)"
                       R"("w":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})",
                       second);
  };
  EXPECT_THAT(
      refusal(two("[4,8]"), 12),
      HasSubstr("tensor 'w' begins at byte 4 of the data, inside the tensor before it, which ends at 8"));
  EXPECT_THAT(refusal(two("[12,16]"), 16),
              HasSubstr("begins at byte 12 of the data, leaving a hole after 8"));
  EXPECT_THAT(refusal(two("[8,12]"), 20), HasSubstr("8 bytes follow the last tensor"));
  EXPECT_THAT(refusal(two("[12,8]"), 12), HasSubstr("data_offsets that are not [begin, end]"));
  EXPECT_THAT(refusal(two("[-4,0]"), 12), HasSubstr("data_offsets that are not [begin, end]"));
  EXPECT_THAT(refusal(two("[8]"), 12), HasSubstr("data_offsets that are not [begin, end]"));
  EXPECT_THAT(refusal(two("[8.0,12.0]"), 12), HasSubstr("data_offsets that are not [begin, end]"));
  EXPECT_THAT(refusal(two("\"8\""), 12), HasSubstr("has no list 'data_offsets'"));
}

TEST(Safetensors, RefusesShapesThatDoNotFitTheirBytes) {
  const auto shaped = [](const char* shape, const char* offsets = "[0,16]", const char* dtype = "F32") {
    return fmt::format(R"({{"w":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  EXPECT_THAT(refusal(shaped("[5]"), 16),
              HasSubstr("tensor 'w' has shape [5] of F32, 20 bytes, but data_offsets of 16"));
  EXPECT_THAT(refusal(shaped("[4294967296,4294967296]"), 16), HasSubstr("shape that no file can hold"));
  EXPECT_THAT(refusal(shaped("[9223372036854775808]"), 16), HasSubstr("not made of counts"));
  EXPECT_THAT(refusal(shaped("[-4]"), 16), HasSubstr("not made of counts"));
  EXPECT_THAT(refusal(shaped("4"), 16), HasSubstr("has no list 'shape'"));
  EXPECT_THAT(refusal(shaped("[16]", "[0,16]", "F8_E4M3"), 16),
              HasSubstr("dtype 'F8_E4M3', which graft does not read"));
  // The whole file would be larger than any file: the sum must not wrap round.
  EXPECT_THAT(refusal(shaped("[18446744073709551615]", "[0,18446744073709551615]", "U8"), 16),
              HasSubstr("not made of counts"));
  EXPECT_THAT(refusal(shaped("[9223372036854775807,2]", "[0,18446744073709551614]", "U8"), 16),
              HasSubstr("is cut short"));
}

TEST(Safetensors, RefusesADuplicateName) {
  EXPECT_THAT(refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                      R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                      2),
              HasSubstr("tensor 'w' is there twice"));
}

TEST(Safetensors, ShowsAHostileNameHarmlessly) {
  EXPECT_THAT(refusal(R"({"\u001b[31mred":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", 1),
              HasSubstr("tensor '\\x1b[31mred' has shape"));
}

TEST(Safetensors, ReadsEveryGoldenModel) {
  for (const std::filesystem::path& golden : test::golden_roots()) {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(golden)) {
      if (entry.path().extension() != ".safetensors") continue;
      const StateDict dict = read_safetensors(entry.path());
      ASSERT_FALSE(dict.tensors().empty()) << entry.path();
      uint64_t bytes = 0;
      for (const TensorView& t : dict.tensors()) bytes += t.num_bytes;
      ASSERT_LT(bytes, std::filesystem::file_size(entry.path()));
      ++files;
    }
    EXPECT_GE(files, golden == test::golden_roots().front() ? 60 : 320) << golden;
  }
}

TEST(Safetensors, TheReallyTruncatedFiles) {
  GRAFT_SHARED_PATH(folder, "data/checkpoints/truncated");
  const std::pair<int, int> sizes[] = {{851968, 90868376}, {1835008, 90864192}};  // here, and by the header
  for (const auto& [size, whole] : sizes) {
    const auto file = folder / fmt::format("model.truncated-{}.safetensors", size);
    const std::string error = test::error_of([&] { read_safetensors(file); });
    EXPECT_THAT(
        error,
        AllOf(HasSubstr(file.string()), HasSubstr("download or copy the file again"),
              HasSubstr(fmt::format("{} of {} bytes are there, {} are missing", size, whole, whole - size))));
  }
}

}  // namespace
}  // namespace graft::hub
