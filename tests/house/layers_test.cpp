// The include check itself: it finds what it is there to find.
#include <sys/wait.h>

#include <cstdio>

#include "support/shared.h"

namespace graft {
namespace {

struct Result {
  int status = -1;
  std::string output;
};

Result check_layers(const std::filesystem::path& root) {
  const std::string command =
      std::string("'") + GRAFT_SOURCE_DIR + "/tools/check_layers.sh' '" + root.string() + "' 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  Result result;
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) result.output.append(buffer, n);
  result.status = WEXITSTATUS(::pclose(pipe));
  return result;
}

// A tree of two public headers and one file each in four layers, with nothing to complain about.
struct Layers : testing::Test {
  test::TempDir tree;
  Layers() {
    tree.write("include/graft/error.h", "#include <string>\n");
    tree.write("include/graft/tokenizer.h", "#include <vector>\n#include \"graft/error.h\"\n");
    tree.write("src/base/file.cpp",
               "#include \"base/file.h\"\n#include <fmt/format.h>\n#include \"graft/error.h\"\n");
    tree.write("src/text/bpe.cpp", "#include \"base/file.h\"\n#include \"graft/tokenizer.h\"\n");
    tree.write("src/engine/ops.h", "#pragma once\n  #  include \"engine/tape.h\"\n");
    tree.write("src/models/bert.cpp", "#include \"engine/ops.h\"\n#include \"text/bpe.h\"\n");
  }
  void expect_found(const std::string& file, const std::string& line, const std::string& message) {
    tree.write(file, line);
    const Result result = check_layers(tree.path());
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.output, testing::HasSubstr(file + ":1: "));
    EXPECT_THAT(result.output, testing::HasSubstr(message));
  }
};

TEST_F(Layers, DownwardIncludesPass) {
  const Result result = check_layers(tree.path());
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_EQ(result.output, "layers: 11 includes, all downwards\n");
}

TEST_F(Layers, AHigherLayerIsFound) {
  expect_found("src/base/log.cpp", "#include \"text/bpe.h\"\n",
               "src/base must not include \"text/bpe.h\": text is a higher");
}

TEST_F(Layers, ASiblingIsFound) {
  expect_found("src/hub/cache.h", "#include \"engine/ops.h\"\n", "engine is its sibling");
}

TEST_F(Layers, APublicHeaderOfAHigherLayerIsFound) {
  expect_found("src/engine/tape.h", "# include \"graft/model.h\"\n", "models is a higher layer");
}

TEST_F(Layers, APublicHeaderIncludesPublicHeadersOnly) {
  expect_found("include/graft/model.h", "#include \"models/state.h\"\n", "public headers only");
  expect_found("include/graft/model.h", "#include <nlohmann/json.hpp>\n", "the standard library only");
  expect_found("include/graft/tokenizer.h", "#include \"graft/model.h\"\n", "models is a higher layer");
}

TEST_F(Layers, WhatIsNoLayerIsFound) {
  expect_found("src/util/strings.h", "#include <string>\n", "src/util is not a layer");
  expect_found("src/models/t5.cpp", "#include \"../engine/ops.h\"\n", "does not start with a layer");
}

TEST_F(Layers, TheCpuByNameIsFoundOutsideOfTheEngine) {
  expect_found("src/train/runner.cpp", "Tape tape(engine::cpu_kernels(), arena, store, {});\n",
               "default_device");
  expect_found("src/models/model.cpp", "auto& device = engine::cpu_device();\n", "default_device");
  expect_found("src/cli/console.cpp", "#include \"engine/cpu/isa.h\"\n", "the CPU by name");
  tree.write("src/engine/ops.cpp", "const Kernels& k = cpu_kernels();\n");
  EXPECT_EQ(check_layers(tree.path()).output.find("ops.cpp"), std::string::npos);
}

TEST_F(Layers, ThisProjectPasses) {
  const Result result = check_layers(GRAFT_SOURCE_DIR);
  EXPECT_EQ(result.status, 0) << result.output;
}

}  // namespace
}  // namespace graft
