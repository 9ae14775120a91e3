#include "hub/state_dict.h"

#include <cmath>
#include <cstring>

#include "base/file.h"
#include "support/shared.h"

namespace graft::hub {
namespace {

using ::testing::HasSubstr;

TEST(WriteSafetensors, GoldenModelsComeBackByteForByte) {
  const test::TempDir folder;
  for (const std::filesystem::path& golden : test::golden_roots()) {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(golden)) {
      if (entry.path().filename() != "model.safetensors") continue;
      const StateDict dict = read_safetensors(entry.path());
      std::vector<std::vector<float>> values;
      std::vector<TensorToWrite> tensors;
      for (const TensorView& t : dict.tensors()) {
        values.emplace_back(static_cast<size_t>(t.num_elements()));
        copy_to_float(t, values.back().data());
        tensors.insert(tensors.begin(), {t.name, t.shape, t.dtype, values.back().data()});
      }
      write_safetensors(folder / "model.safetensors", tensors);
      ASSERT_TRUE(read_file(entry.path()) == read_file(folder / "model.safetensors")) << entry.path();
      ++files;
    }
    EXPECT_GE(files, golden == test::golden_roots().front() ? 16 : 85) << golden;
  }
}

TEST(WriteSafetensors, LayoutOfMixedTypes) {
  const test::TempDir folder;
  const float values[] = {1, -2, 0.5f, 4};
  write_safetensors(folder / "f", {{"z", {2}, DType::f32, values},
                                   {"h", {3}, DType::f16, values},
                                   {"b", {1, 2}, DType::bf16, values},
                                   {"q\"\xc3\xa9", {}, DType::f32, values + 3},
                                   {"d", {1}, DType::f64, values + 2}});
  // Wide before narrow and bf16 before f16, then by name; é as it is, " escaped, as serde writes them.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
      "\"q\\\"\xc3\xa9\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
      R"("z":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[20,24]},)"
      R"("h":{"dtype":"F16","shape":[3],"data_offsets":[24,30]}})";
  const std::string file = read_file(folder / "f");
  uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  EXPECT_EQ(size % 8, 0u);
  EXPECT_EQ(file.substr(8, header.size()), header);
  EXPECT_EQ(file.substr(8 + header.size(), 8 + size - (8 + header.size())),
            std::string(size - header.size(), ' '));
  EXPECT_EQ(file.size(), 8 + size + 30);

  const StateDict dict = read_safetensors(folder / "f");
  std::vector<float> out(3);
  copy_to_float(*dict.find("h"), out.data());
  EXPECT_EQ(out, (std::vector<float>{1, -2, 0.5f}));
  copy_to_float(*dict.find("b"), out.data());
  EXPECT_EQ(out, (std::vector<float>{1, -2, 0.5f}));
  copy_to_float(*dict.find("d"), out.data());
  EXPECT_EQ(out[0], 0.5f);
}

// States of an optimizer have types that no weights have.
TEST(WriteSafetensors, BytesAreWrittenAsTheyAre) {
  const test::TempDir folder;
  const uint8_t codes[] = {0, 7, 255};
  const int64_t steps[] = {-1, int64_t{1} << 40};
  write_safetensors(folder / "f", {{"codes", {3}, DType::u8, nullptr, false, codes},
                                   {"steps", {2}, DType::i64, nullptr, false, steps}});
  const StateDict dict = read_safetensors(folder / "f");
  EXPECT_EQ(dict.find("codes")->dtype, DType::u8);
  EXPECT_EQ(std::memcmp(dict.find("codes")->data, codes, sizeof codes), 0);
  EXPECT_EQ(dict.find("steps")->shape, std::vector<int64_t>{2});
  EXPECT_EQ(std::memcmp(dict.find("steps")->data, steps, sizeof steps), 0);
}

TEST(WriteSafetensors, LongTensorsAreConvertedInBlocks) {
  const test::TempDir folder;
  std::vector<float> values((1 << 20) + 70005);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 256);
  const int64_t n = static_cast<int64_t>(values.size());
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    write_safetensors(folder / "f", {{"w", {n}, dtype, values.data()}});
    const StateDict dict = read_safetensors(folder / "f");
    std::vector<float> out(values.size());
    copy_to_float(*dict.find("w"), out.data());
    EXPECT_EQ(out, values) << dtype_name(dtype);
  }
}

TEST(WriteSafetensors, RefusesWhatCannotBeWritten) {
  const test::TempDir folder;
  const float value = 1;
  EXPECT_THAT(test::error_of([&] {
                write_safetensors(folder / "f", {{"w", {1}, DType::i64, &value}});
              }),
              HasSubstr("tensor 'w': fp32 values cannot be stored as I64"));
  EXPECT_THAT(
      test::error_of([&] {
        write_safetensors(folder / "f", {{"w", {1}, DType::f32, &value}, {"w", {1}, DType::f32, &value}});
      }),
      HasSubstr("tensor 'w' would be written twice"));
  EXPECT_THAT(test::error_of([&] {
                write_safetensors(folder / "f", {{"w", {-1}, DType::f32, &value}});
              }),
              HasSubstr("shape [-1] cannot be written"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// What would become an infinity in the file is an error with file and tensor, and nothing is written.
TEST(SafetensorsWrite, AValueBeyondTheStoredTypeIsNamed) {
  const test::TempDir folder;
  std::vector<float> values(300, 65519.0f);
  write_safetensors(folder / "f", {{"w", {300}, DType::f16, values.data()}});
  values[299] = -65520.0f;
  EXPECT_THAT(test::error_of([&] {
                write_safetensors(folder / "g", {{"w", {300}, DType::f16, values.data()}});
              }),
              ::testing::AllOf(HasSubstr((folder / "g").string() + ": tensor 'w' holds -65520 at index 299"),
                               HasSubstr("F16 cannot store"), HasSubstr("store it as bfloat16 or float32")));
  EXPECT_FALSE(std::filesystem::exists(folder / "g"));
  values[299] = 3.4e38f;
  EXPECT_THAT(test::error_of([&] {
                write_safetensors(folder / "g", {{"w", {300}, DType::bf16, values.data()}});
              }),
              HasSubstr("BF16 cannot store"));
  values[299] = INFINITY;  // as it is
  write_safetensors(folder / "g", {{"w", {300}, DType::f16, values.data()}});
}

}  // namespace
}  // namespace graft::hub
