#include "hub/resolve.h"

#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "environment.h"
#include "fake_hub.h"
#include "graft/error.h"
#include "hub/cache.h"
#include "hub/sha256.h"
#include "support/sanitized.h"
#include "support/shared.h"

extern char** environ;

namespace graft::hub {
namespace {
namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string some_bytes(size_t n) {
  std::string out(n, '\0');
  uint32_t state = 1;
  for (char& c : out) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
  return out;
}

class Hub : public ::testing::Test {
 protected:
  Hub() {
    environment_.clear(folder_.path().string());
    hub_.files["config.json"] = {"{\"model_type\":\"bert\"}"};
    hub_.files["vocab.txt"] = {"[PAD]\n"};
    hub_.files["tokenizer_config.json"] = {"{}"};
    hub_.files["README.md"] = {"not needed"};
    hub_.files["model.safetensors"] = {weights_, true};
    hub_.files["pytorch_model.bin"] = {"the same in the old format", true};
    options_.cache_dir = folder_ / "cache";
    options_.endpoint = hub_.endpoint();
    options_.offline = false;
    options_.retry_seconds = 0.01;
  }

  std::string refusal(const std::string& name = "org/model") {
    return test::error_of([&] { resolve_model(name, options_); });
  }
  fs::path blob(const std::string& content) const {
    return folder_ / "cache/models--org--model/blobs" / sha256_of(content);
  }

  const std::string weights_ = some_bytes(300'000);
  test::TempDir folder_;
  Environment environment_;
  FakeHub hub_;
  ResolveOptions options_;
};

TEST_F(Hub, DownloadsWhatAModelNeedsInPythonsLayout) {
  const fs::path snapshot = resolve_model("org/model", options_);
  EXPECT_EQ(snapshot, folder_ / "cache/models--org--model/snapshots" / hub_.commit);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(snapshot)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, ElementsAre("config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"));
  EXPECT_EQ(read_file(snapshot / "model.safetensors"), weights_);
  EXPECT_EQ(read_file(snapshot / "config.json"), hub_.files["config.json"].content);
  EXPECT_EQ(fs::read_symlink(snapshot / "model.safetensors"), "../../blobs/" + sha256_of(weights_));
  EXPECT_EQ(fs::read_symlink(snapshot / "vocab.txt"), "../../blobs/" + sha256_of("[PAD]\n").substr(0, 40));
  EXPECT_EQ(read_file(folder_ / "cache/models--org--model/refs/main"), hub_.commit);
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "cache"))
    EXPECT_THAT(entry.path().string(), Not(::testing::EndsWith(".incomplete")));
}

TEST_F(Hub, ACompleteSnapshotNeedsNoNetwork) {
  const fs::path snapshot = resolve_model("org/model", options_);
  const size_t before = hub_.requests().size();
  EXPECT_EQ(resolve_model("org/model", options_), snapshot);
  EXPECT_EQ(resolve_model("org/model@" + hub_.commit, options_), snapshot);
  options_.offline = true;
  EXPECT_EQ(resolve_model("org/model", options_), snapshot);
  EXPECT_EQ(hub_.requests().size(), before);
}

TEST_F(Hub, ASnapshotThatPythonMadeIsUsed) {
  const std::string root = "cache/models--org--model/";
  const std::string commit = "89abcdef89abcdef89abcdef89abcdef89abcdef";
  folder_.write(root + "refs/main", commit);
  for (const char* file : {"config.json", "tokenizer.json", "pytorch_model.bin"}) {
    folder_.write(root + "blobs/" + file, file);
    fs::create_directories(folder_ / (root + "snapshots/" + commit));
    fs::create_symlink(std::string("../../blobs/") + file,
                       folder_ / (root + "snapshots/" + commit + "/" + file));
  }
  EXPECT_EQ(resolve_model("org/model", options_), folder_ / (root + "snapshots/" + commit));
  EXPECT_TRUE(hub_.requests().empty());
}

TEST_F(Hub, WhatIsMissingIsAdded) {
  const fs::path snapshot = resolve_model("org/model", options_);
  fs::remove(snapshot / "vocab.txt");
  fs::remove(fs::path(folder_ / "cache/models--org--model/blobs") / sha256_of("[PAD]\n").substr(0, 40));
  EXPECT_EQ(resolve_model("org/model", options_), snapshot);
  EXPECT_EQ(read_file(snapshot / "vocab.txt"), "[PAD]\n");
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 1);
}

TEST_F(Hub, PullLooksForANewCommitAndReusesBlobs) {
  const fs::path former = pull_model("org/model", options_);
  hub_.commit = "fedcba9876543210fedcba9876543210fedcba98";
  hub_.files["config.json"].content = "{\"model_type\":\"roberta\"}";
  EXPECT_EQ(resolve_model("org/model", options_), former) << "resolving does not ask again";
  const fs::path now = pull_model("org/model", options_);
  EXPECT_EQ(now.filename(), hub_.commit);
  EXPECT_EQ(read_file(now / "config.json"), hub_.files["config.json"].content);
  EXPECT_EQ(resolve_model("org/model", options_), now);
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 1);
}

TEST_F(Hub, LegacyNamesFollowTheHubsRedirect) {
  hub_.name = "google-bert/bert-base-uncased";
  hub_.renamed["bert-base-uncased"] = hub_.name;
  const fs::path snapshot = resolve_model("bert-base-uncased", options_);
  EXPECT_EQ(snapshot.parent_path().parent_path(), folder_ / "cache/models--bert-base-uncased");
  EXPECT_EQ(read_file(snapshot / "model.safetensors"), weights_);
}

TEST_F(Hub, Revisions) {
  EXPECT_EQ(resolve_model("org/model@refs/pr/1", options_).filename(), hub_.commit);
  EXPECT_EQ(read_file(folder_ / "cache/models--org--model/refs/refs/pr/1"), hub_.commit);
  EXPECT_FALSE(fs::exists(folder_ / "cache/models--org--model/refs/main"));
  EXPECT_THAT(refusal("org/model@v9"),
              AllOf(HasSubstr("org/model: has no revision 'v9'"), HasSubstr("branches and tags")));
}

TEST_F(Hub, SafetensorsAreOptional) {
  hub_.files.erase("model.safetensors");
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "pytorch_model.bin"),
            "the same in the old format");
}

TEST_F(Hub, ShardsComeWithTheirIndex) {
  hub_.files.erase("model.safetensors");
  hub_.files["model.safetensors.index.json"] = {
      R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})"};
  hub_.files["m-1.safetensors"] = {some_bytes(70'000), true};
  hub_.files["m-2.safetensors"] = {some_bytes(50'000), true};
  const fs::path snapshot = resolve_model("org/model", options_);
  EXPECT_EQ(fs::file_size(snapshot / "m-1.safetensors"), 70'000u);
  EXPECT_EQ(fs::file_size(snapshot / "m-2.safetensors"), 50'000u);
  EXPECT_EQ(hub_.count("GET", "pytorch_model.bin"), 0);
}

TEST_F(Hub, ACutConnectionGoesOnWhereItEnded) {
  hub_.cuts = 3;
  hub_.cut_after = 80'000;
  options_.max_retries = 1;  // rounds that bring something new are no failures
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  std::vector<std::string> ranges;
  for (const FakeHub::Request& r : hub_.requests())
    if (r.cdn && r.path.ends_with("model.safetensors")) ranges.push_back(r.range);
  EXPECT_THAT(ranges, ElementsAre("", "bytes=80000-", "bytes=160000-", "bytes=240000-"));
  EXPECT_EQ(hub_.cdn_bytes(), weights_.size());
}

TEST_F(Hub, AnEarlierAttemptIsContinued) {
  folder_.write("cache/models--org--model/blobs/" + sha256_of(weights_) + ".incomplete",
                weights_.substr(0, 123'456));
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.cdn_bytes(), weights_.size() - 123'456);
}

TEST_F(Hub, AnEarlierAttemptThatWasCompleteOrTooLong) {
  const std::string incomplete = "cache/models--org--model/blobs/" + sha256_of(weights_) + ".incomplete";
  folder_.write(incomplete, weights_);
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.cdn_bytes(), 0u);
  fs::remove_all(folder_ / "cache");
  folder_.write(incomplete, weights_ + "more");
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.cdn_bytes(), weights_.size());
}

TEST_F(Hub, AServerWithoutRangesSendsAllAgain) {
  folder_.write("cache/models--org--model/blobs/" + sha256_of(weights_) + ".incomplete", "some other bytes");
  hub_.ignore_ranges = true;
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.cdn_bytes(), weights_.size());
}

TEST_F(Hub, AWrongHashIsDownloadedOnceMore) {
  hub_.corrupted = 1;
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 2);
}

TEST_F(Hub, ForeignBytesOfAnEarlierAttemptAreNoticed) {
  folder_.write("cache/models--org--model/blobs/" + sha256_of(weights_) + ".incomplete",
                std::string(1000, 'x'));
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
}

TEST_F(Hub, WithoutAHashAnEarlierAttemptIsNotTrusted) {
  const std::string config = hub_.files["config.json"].content;
  folder_.write("cache/models--org--model/blobs/" + sha256_of(config).substr(0, 40) + ".incomplete", "xx");
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "config.json"), config);
}

TEST_F(Hub, AHashThatStaysWrongIsRefused) {
  hub_.corrupted = 100;
  EXPECT_THAT(
      refusal(),
      AllOf(HasSubstr("org/model: model.safetensors: downloaded twice, and both times the sha256 is not " +
                      sha256_of(weights_)),
            HasSubstr("damaged the file")));
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 2);
  EXPECT_FALSE(fs::exists(blob(weights_)));
  EXPECT_FALSE(fs::exists(folder_ / "cache/models--org--model/refs/main"));
  hub_.corrupted = 0;
  EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_);
}

TEST_F(Hub, AConnectionThatBringsNothingIsGivenUp) {
  hub_.cuts = 1000;
  hub_.cut_after = 0;
  options_.max_retries = 3;
  EXPECT_THAT(refusal(), AllOf(HasSubstr("org/model: model.safetensors: the connection to " +
                                         hub_.endpoint() + " broke"),
                               HasSubstr("the part already downloaded is kept")));
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 4);
}

TEST_F(Hub, PassingFailuresAreRetried) {
  for (const int status : {429, 500, 502, 503, 504}) {
    fs::remove_all(folder_ / "cache");
    hub_.failure_status = status;
    hub_.failures = 3;
    EXPECT_EQ(read_file(resolve_model("org/model", options_) / "model.safetensors"), weights_) << status;
  }
}

TEST_F(Hub, RetryAfterIsHonoured) {
  hub_.failure_status = 429;
  hub_.failures = 1;
  hub_.retry_after = "1";
  const auto begin = std::chrono::steady_clock::now();
  resolve_model("org/model", options_);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(990));
  // Longer than anybody waits: said at once.
  fs::remove_all(folder_ / "cache");
  hub_.failures = 100;
  hub_.retry_after = "3600";
  EXPECT_THAT(refusal(), HasSubstr("answers 429"));
}

TEST_F(Hub, LastingFailuresSayWhatToDo) {
  hub_.failures = 1000;
  options_.max_retries = 2;
  const auto with = [&](int status, const std::string& code = "") {
    hub_.failure_status = status;
    hub_.failure_code = code;
    return refusal();
  };
  EXPECT_THAT(with(429), AllOf(HasSubstr("org/model: its list of files: " + hub_.endpoint() + " answers 429"),
                               HasSubstr("wait some minutes")));
  EXPECT_EQ(hub_.requests().size(), 3u) << "two retries";
  EXPECT_THAT(with(500), AllOf(HasSubstr("answers 500"), HasSubstr("try again later")));
  EXPECT_THAT(
      with(403, "GatedRepo"),
      AllOf(HasSubstr("org/model: the hub does not give access to it (403)"),
            HasSubstr("accept its conditions at " + hub_.endpoint() + "/org/model"), HasSubstr("HF_TOKEN")));
  EXPECT_THAT(with(401, "GatedRepo"), HasSubstr("accept its conditions"));
  EXPECT_THAT(with(401, "RepoNotFound"), AllOf(HasSubstr("is not a folder and not a model on the hub"),
                                               HasSubstr("if the model is private, set HF_TOKEN")));
  EXPECT_THAT(with(404, "RepoNotFound"), HasSubstr("is not a folder and not a model on the hub"));
  options_.token = "hf_old";
  EXPECT_THAT(with(401), AllOf(HasSubstr("the hub refuses the token (401)"), HasSubstr("get a valid one")));
}

TEST_F(Hub, ANameThatIsNotThereNamesTheNearestFolder) {
  fs::create_directories(folder_ / "models/bert-reviews");
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  const std::string text = refusal("models/bert-review");
  const std::string other = refusal("model/bert-reviews");
  const std::string path = refusal((folder_ / "models/bert-reviewz/").string());
  fs::current_path(before);
  EXPECT_THAT(text, AllOf(HasSubstr("models/bert-review: is not a folder and not a model on the hub"),
                          HasSubstr("the nearest folder is models/bert-reviews")));
  EXPECT_THAT(other, HasSubstr("the nearest folder is models;"));
  EXPECT_THAT(path, AllOf(HasSubstr("no such folder"), HasSubstr("models/bert-reviews")));
}

TEST_F(Hub, FoldersAndFiles) {
  EXPECT_EQ(resolve_model(folder_.path().string(), options_), folder_.path());
  EXPECT_THAT(refusal(folder_.write("weights.bin", "").string()),
              HasSubstr("is a file, but the folder of a model is expected"));
  EXPECT_THAT(refusal("/no/such/folder"), HasSubstr("/no/such/folder: no such folder"));
  EXPECT_TRUE(hub_.requests().empty());
}

TEST_F(Hub, TheTokenGoesToTheHubOnly) {
  hub_.required_token = "hf_secret";
  EXPECT_THAT(refusal(), HasSubstr("if the model is private, set HF_TOKEN"));
  environment_.set("HF_TOKEN", "hf_secret");
  resolve_model("org/model", options_);
  bool asked_cdn = false;
  for (const FakeHub::Request& r : hub_.requests()) {
    if (!r.cdn) continue;
    asked_cdn = true;
    EXPECT_EQ(r.token, "");
  }
  EXPECT_TRUE(asked_cdn);
}

// The variable that is set is the one that is named.
TEST_F(Hub, OfflineByAVariable) {
  options_.offline.reset();
  for (const std::string name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    environment_.set(name, "1");
    const std::string text = refusal(), pulled = test::error_of([&] { pull_model("org/model", options_); });
    EXPECT_THAT(text, AllOf(HasSubstr(name + " is set, so nothing"), HasSubstr("unset " + name)));
    EXPECT_THAT(pulled, AllOf(HasSubstr(name + " is set, so nothing"), HasSubstr("unset " + name)));
    for (const std::string& message : {text, pulled})
      EXPECT_EQ(message.find(name == "HF_HUB_OFFLINE" ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE"),
                std::string::npos)
          << message;
    environment_.unset(name);
  }
}

// A cache folder that was copied without refs/, or another revision than the cached one.
TEST_F(Hub, WhatTheCacheHasInsteadIsListed) {
  const fs::path snapshot = resolve_model("org/model", options_);
  options_.offline = true;
  EXPECT_THAT(refusal("org/model@v2"),
              AllOf(HasSubstr("org/model: revision 'v2' is not in " + (folder_ / "cache").string()),
                    HasSubstr("cached commits: " + hub_.commit + " (main)"),
                    HasSubstr("give org/model@" + hub_.commit + " to use the copy in the cache")));
  fs::remove_all(folder_ / "cache/models--org--model/refs");
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("revision 'main' is not in"), HasSubstr("cached commits: " + hub_.commit),
                    HasSubstr("give org/model@" + hub_.commit)));
  EXPECT_EQ(resolve_model("org/model@" + hub_.commit, options_), snapshot);
  options_.offline = false;
  options_.endpoint = "http://127.0.0.1:9";  // nothing listens there
  EXPECT_THAT(refusal(), AllOf(HasSubstr("cannot reach"), HasSubstr("cached commits: " + hub_.commit),
                               HasSubstr("give org/model@" + hub_.commit)));
}

TEST_F(Hub, Offline) {
  options_.offline = true;
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("org/model: neither a folder nor a model in " + (folder_ / "cache").string()),
                    HasSubstr("the option offline is set, so nothing is downloaded"),
                    HasSubstr("graft pull org/model")));
  EXPECT_THAT(test::error_of([&] { pull_model("org/model", options_); }),
              HasSubstr("the option offline is set, so nothing is downloaded"));
  EXPECT_TRUE(hub_.requests().empty());
  options_.offline = false;
  const fs::path snapshot = resolve_model("org/model", options_);
  fs::remove(snapshot / "model.safetensors");
  options_.offline = true;
  EXPECT_THAT(refusal(), HasSubstr("org/model: incomplete (its weights are missing)"));
}

TEST_F(Hub, NoNetwork) {
  options_.endpoint = "http://127.0.0.1:1";  // nobody listens there
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("org/model: cannot reach http://127.0.0.1:1"), HasSubstr("check the network")));
}

TEST_F(Hub, WithoutNetworkACopyWithoutTokenizerIsUsed) {
  const fs::path snapshot = resolve_model("org/model", options_);
  fs::remove(snapshot / "vocab.txt");
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(resolve_model("org/model", options_), snapshot);
}

TEST_F(Hub, ACacheThatCannotBeWritten) {
  options_.cache_dir = folder_.write("a-file", "") / "cache";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("a-file/cache"),
                               HasSubstr("set HF_HUB_CACHE to a folder that you may write to")));
}

TEST_F(Hub, ModelsInOtherFormatsAreNamed) {
  hub_.files = {{"config.json", {"{}"}}, {"tf_model.h5", {"", true}}, {"model.gguf", {"", true}}};
  EXPECT_THAT(refusal(),
              HasSubstr("org/model: has no weights that graft reads; it has model.gguf, tf_model.h5"));
  hub_.files = {{"README.md", {"x"}}};
  EXPECT_THAT(refusal(), HasSubstr("org/model: has no config.json among its 1 files"));
}

TEST_F(Hub, AServerThatIsNoHub) {
  hub_.api_answer = "<html>captive portal</html>";
  EXPECT_THAT(refusal(), HasSubstr("/api/models/org/model/revision/main"));
  hub_.api_answer = "{\"sha\":\"../../evil\",\"siblings\":[]}";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("does not answer as the hub does"), HasSubstr("check HF_ENDPOINT")));
  hub_.api_answer = "";
  hub_.etag_override = "../../../evil";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("ETag '../../../evil'"), HasSubstr("check HF_ENDPOINT")));
  hub_.etag_override = "";
  hub_.location_override = "file:///etc/passwd";
  EXPECT_THAT(refusal(),
              HasSubstr("answers with a redirect to 'file:///etc/passwd', which graft does not follow"));
  hub_.location_override = "";
  hub_.redirect_loop = true;
  EXPECT_THAT(refusal(), HasSubstr("answers with more than 10 redirects, which graft does not follow"));
}

TEST_F(Hub, ProgressReachesTheTotal) {
  std::vector<DownloadProgress> steps;
  options_.progress = [&](const DownloadProgress& p) { steps.push_back(p); };
  resolve_model("org/model", options_);
  ASSERT_GT(steps.size(), 4u);
  uint64_t total = 0;
  for (const char* file : {"config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"})
    total += hub_.files[file].content.size();
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].total, total);
    EXPECT_GE(steps[i].done, i > 0 ? steps[i - 1].done : 0);
  }
  EXPECT_EQ(steps.back().done, total);
}

// Run by the test below in processes of their own.
TEST(HubChild, DISABLED_Resolve) {
  ResolveOptions options;
  options.offline = false;
  const fs::path snapshot = resolve_model("org/model", options);
  EXPECT_EQ(fs::file_size(snapshot / "model.safetensors"), 300'000u);
}

TEST(HubChild, DISABLED_ResolveWithoutThreads) {
  EXPECT_THROW(std::thread([] {}).join(), std::system_error);
  ResolveOptions options;
  options.offline = false;
  EXPECT_TRUE(fs::exists(resolve_model("org/model", options) / "model.safetensors"));
}

// A thread whose stack is larger than the address space cannot be made: the caller downloads every file.
TEST_F(Hub, DownloadsWhereTheSystemGivesNoThreads) {
  if (graft::test::kSanitized) return;  // a sanitizer needs addresses of its own
  environment_.set("HF_HUB_CACHE", options_.cache_dir.string());
  environment_.set("HF_ENDPOINT", hub_.endpoint());
  const std::string stack = "ulimit -s 214748364800",  // KiB, 200 TiB
      self = fs::read_symlink("/proc/self/exe").string();
  if (std::system((stack + " 2>/dev/null").c_str()) != 0) return;  // a hard limit forbids it
  const std::string child = stack + " && exec '" + self +
                            "' --gtest_filter=HubChild.DISABLED_ResolveWithoutThreads "
                            "--gtest_also_run_disabled_tests >&2";
  EXPECT_EQ(std::system(child.c_str()), 0);
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 1);
}

TEST_F(Hub, TwoProcessesDownloadOnce) {
  hub_.delay_ms = 150;
  ASSERT_TRUE(hub_.requests().empty());
  environment_.set("HF_HUB_CACHE", options_.cache_dir.string());
  environment_.set("HF_ENDPOINT", hub_.endpoint());
  std::string self = fs::read_symlink("/proc/self/exe").string(),
              filter = "--gtest_filter=HubChild.DISABLED_Resolve", run = "--gtest_also_run_disabled_tests";
  char* arguments[] = {self.data(), filter.data(), run.data(), nullptr};
  pid_t children[2];
  for (pid_t& child : children)
    ASSERT_EQ(::posix_spawn(&child, self.c_str(), nullptr, nullptr, arguments, environ), 0);
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(hub_.count("GET", "/cdn/model.safetensors"), 1);
  EXPECT_EQ(hub_.cdn_bytes(), weights_.size());
}

}  // namespace
}  // namespace graft::hub
