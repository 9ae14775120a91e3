#include "hub/state_dict.h"

#include <cmath>
#include <cstring>

#include "support/shared.h"

namespace graft::hub {
namespace {

using ::testing::HasSubstr;

template <class T>
TensorView view_of(const std::vector<T>& values, DType dtype) {
  return {"w",
          dtype,
          {static_cast<int64_t>(values.size())},
          reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T),
          "f"};
}

TEST(StateDict, FindsByNameAndKeepsTheOrder) {
  StateDict dict;
  dict.add({"b", DType::f32, {2, 3}, nullptr, 24, "f"});
  dict.add({"a", DType::f32, {}, nullptr, 4, "f"});
  ASSERT_NE(dict.find("b"), nullptr);
  EXPECT_EQ(dict.find("b")->num_elements(), 6);
  EXPECT_EQ(dict.find("a")->num_elements(), 1);
  EXPECT_EQ(dict.find("c"), nullptr);
  EXPECT_EQ(dict.tensors()[0].name, "b");
  EXPECT_EQ(dict.tensors()[1].name, "a");
}

TEST(StateDict, RefusesASecondTensorOfOneName) {
  StateDict dict;
  dict.add({"w", DType::f32, {1}, nullptr, 4, "shard-1"});
  const std::string error = test::error_of([&] { dict.add({"w", DType::f32, {1}, nullptr, 4, "shard-2"}); });
  EXPECT_THAT(error, HasSubstr("shard-2: tensor 'w' is there twice; the other one is in shard-1"));
}

TEST(CopyToFloat, ConvertsEveryFloatingType) {
  const std::vector<float> values = {0.0f, -1.5f, 3.0e38f, INFINITY, 1.0f / 3};
  std::vector<float> out(values.size());
  copy_to_float(view_of(values, DType::f32), out.data());
  EXPECT_EQ(std::memcmp(out.data(), values.data(), sizeof(float) * values.size()), 0);
  copy_to_float(view_of(std::vector<double>{0.0, -1.5, 3.0e38, INFINITY, 1.0 / 3}, DType::f64), out.data());
  EXPECT_EQ(out, values);
  // Bit patterns of 1, -2, 0.5 in the two 16-bit formats.
  copy_to_float(view_of(std::vector<uint16_t>{0x3F80, 0xC000, 0x3F00}, DType::bf16), out.data());
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 3), (std::vector<float>{1, -2, 0.5}));
  copy_to_float(view_of(std::vector<uint16_t>{0x3C00, 0xC000, 0x3800}, DType::f16), out.data());
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 3), (std::vector<float>{1, -2, 0.5}));
}

TEST(CopyToFloat, ReadsUnalignedAndLongTensors) {
  const size_t n = (size_t{1} << 19) + 77;
  std::vector<std::byte> raw(n * 4 + 1);
  for (size_t i = 0; i < n; ++i) {
    const float v = static_cast<float>(i);
    std::memcpy(raw.data() + 1 + 4 * i, &v, 4);
  }
  std::vector<float> out(n);
  copy_to_float({"w", DType::f32, {static_cast<int64_t>(n)}, raw.data() + 1, n * 4, "f"}, out.data());
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], static_cast<float>(i));
}

TEST(CopyToFloat, RefusesIntegersByName) {
  float out = 0;
  const std::string error =
      test::error_of([&] { copy_to_float(view_of(std::vector<int64_t>{1}, DType::i64), &out); });
  EXPECT_THAT(error, HasSubstr("f: tensor 'w' holds I64"));
}

TEST(CopyToFloat, ADoubleBeyondFloatsIsNamed) {
  std::vector<double> values = {1, 1e300, INFINITY};
  TensorView tensor{"w", DType::f64, {3}, reinterpret_cast<const std::byte*>(values.data()), 24, "dir/f"};
  float out[3];
  EXPECT_THAT(test::error_of([&] { copy_to_float(tensor, out); }),
              ::testing::HasSubstr("dir/f: tensor 'w' holds 1e+300 at index 1"));
  values[1] = 2;
  copy_to_float(tensor, out);
  EXPECT_EQ(out[2], INFINITY);
}

}  // namespace
}  // namespace graft::hub
