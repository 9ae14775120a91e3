#include "hub/sha256.h"

#include "support/shared.h"

namespace graft::hub {
namespace {

// FIPS 180-2, appendix B: "abc" and a million times "a"; the empty message besides.
TEST(Sha256, KnownAnswers) {
  const test::TempDir folder;
  EXPECT_EQ(sha256_of_file(folder.write("f", "abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of("abc"), sha256_of_file(folder / "f"));
  EXPECT_EQ(sha256_of_file(folder.write("f", "")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of_file(folder.write("f", std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace graft::hub
