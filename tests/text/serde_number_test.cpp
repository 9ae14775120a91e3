#include "text/serde_number.h"

#include <gtest/gtest.h>

#include <limits>

#include "graft/tokenizer.h"
#include "support/shared.h"

namespace graft::text {
namespace {

TEST(SerdeNumber, IsWhatTheReferenceReads) {
  // Left: digits; right: what serde_json 1.0 makes of them (json.load gives the nearest double).
  EXPECT_EQ(parse_serde_number("-7.5"), -7.5);
  EXPECT_EQ(parse_serde_number("0"), 0.0);
  EXPECT_EQ(parse_serde_number("-3"), -3.0);
  EXPECT_EQ(parse_serde_number("1e2"), 100.0);
  EXPECT_EQ(parse_serde_number("12.5E-1"), 1.25);
  EXPECT_EQ(parse_serde_number("2.5e+3"), 2500.0);
  // Two roundings: of 17 digits to 53 bits, and of the quotient.
  EXPECT_EQ(parse_serde_number("-2.0122928619384766"), -20122928619384766.0 / 1e16);
  EXPECT_EQ(parse_serde_number("0.1234567890123456789012345"), 12345678901234567890.0 / 1e20);
  // A long integer: digits beyond 64 bits are left out.
  EXPECT_EQ(parse_serde_number("1844674407370955161618446744"), 18446744073709551616.0 * 1e8);
  EXPECT_EQ(parse_serde_number("1e308"), 1e308);
  EXPECT_EQ(parse_serde_number("1e309"), std::nullopt);
  EXPECT_EQ(parse_serde_number("0e99999999999"), 0.0);
  EXPECT_EQ(parse_serde_number("1e-330"), 0.0);
  EXPECT_EQ(parse_serde_number("5e-310"), 5.0 / 1e308 / 1e2);
}

TEST(SerdeNumber, DecidesTheTiesOfT5) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/t5-small");
  // tokenizers 0.23.3 from tokenizer.json; transformers 5.24 from spiece.model alone.
  EXPECT_EQ(Tokenizer::from_pretrained(folder)->encode("ggggg").input_ids,
            (std::vector<int32_t>{3, 4102, 4102, 122, 1}));
  const test::TempDir copy;
  for (const char* name : {"spiece.model", "config.json"})
    std::filesystem::copy_file(folder / name, copy / name);
  EXPECT_EQ(Tokenizer::from_pretrained(copy.path())->encode("ggggg").input_ids,
            (std::vector<int32_t>{3, 122, 4102, 4102, 1}));
}

}  // namespace
}  // namespace graft::text
