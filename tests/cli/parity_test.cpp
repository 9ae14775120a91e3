// graft parity: exit codes and output on sound and damaged fixtures.
#include <cstdio>
#include <fstream>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

TEST(Parity, ASoundFixture) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const std::string out = graft_output({"parity", "--golden", fixture.string()});
  EXPECT_THAT(out, AllOf(HasSubstr("ok"), HasSubstr("logits"), HasSubstr("loss"), HasSubstr("gradients"),
                         HasSubstr("trained weights")));
  const Json report = json_lines(graft_output({"parity", "--golden", fixture.string(), "--json"})).front();
  EXPECT_TRUE(report.is_object());
}

TEST(Parity, ADamagedFixtureFails) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  TempDir dir;
  fs::copy(fixture, dir / "damaged", fs::copy_options::recursive);
  const fs::path file = dir / "damaged" / "model.safetensors";
  fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  {
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(-4, std::ios::end);
    const float wrong = 3;
    f.write(reinterpret_cast<const char*>(&wrong), sizeof wrong);
  }
  const Result r = run_graft({"parity", "--golden", (dir / "damaged").string()});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.out, HasSubstr("FAIL"));
}

// A safetensors file with one tensor of two numbers.
std::string two_numbers(const std::string& name) {
  const std::string header = R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  std::string out;
  for (int byte = 0; byte < 8; ++byte) out += static_cast<char>(header.size() >> 8 * byte & 0xFF);
  return out + header + std::string(8, '\0');
}

TEST(Parity, TensorsThatDoNotFit) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  TempDir dir;
  fs::copy(fixture, dir / "other", fs::copy_options::recursive);
  const fs::path file = dir / "other" / "outputs.safetensors";
  for (const std::string name : {"logits", "hidden_states.1"}) {
    fs::remove(file);
    write_file(file, two_numbers(name));
    const Result r = run_graft({"parity", "--golden", (dir / "other").string()});
    EXPECT_EQ(r.code, 1);
    EXPECT_THAT(r.err, AllOf(HasSubstr(name), HasSubstr("2 numbers")));
  }
  fs::remove(file);
  write_file(file, two_numbers("hidden_states.x"));
  EXPECT_THAT(run_graft({"parity", "--golden", (dir / "other").string()}).out, HasSubstr("hidden_states.x"));
}

TEST(Parity, NotAFixture) {
  TempDir dir;
  const Result r = run_graft({"parity", "--golden", dir.path().string()});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr(dir.path().string()));
}

}  // namespace
}  // namespace graft::test
