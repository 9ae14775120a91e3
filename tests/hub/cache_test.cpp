#include "hub/cache.h"

#include "base/file.h"
#include "environment.h"
#include "support/shared.h"

namespace graft::hub {
namespace {
namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelId, TakesNamesOfTheHubOnly) {
  for (const char* good :
       {"bert-base-uncased", "org/model", "Org_1/a.b-c_d", "org/model@main", "org/model@refs/pr/1",
        "org/model@0123456789abcdef0123456789abcdef01234567", "gpt2@v1.0"})
    EXPECT_TRUE(parse_model_id(good)) << good;
  for (const char* bad :
       {"", "/org/model", "org/", "org/model/more", "./model", "../model", "~/model", "a--b", "a..b", "-a",
        "a-", "a.", "o r/g", "org/model@", "org/model@a//b", "org/model@../x", "org/model@a b", "m\xc3\xb6"})
    EXPECT_FALSE(parse_model_id(bad)) << bad;
  EXPECT_EQ(parse_model_id("org/model")->revision, "main");
  EXPECT_EQ(parse_model_id("org/model@v1@x")->revision, "v1@x");
  EXPECT_EQ(parse_model_id("org/model@v1")->name, "org/model");
}

TEST(HubSettings, FollowTheEnvironmentAsPythonDoes) {
  const test::TempDir home;
  Environment environment;
  environment.clear(home.path().string());
  HubSettings settings = hub_settings({});
  EXPECT_EQ(settings.cache_dir, home / ".cache/huggingface/hub");
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.token, "");
  EXPECT_EQ(settings.offline, "");

  environment.set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(hub_settings({}).cache_dir, "/xdg/huggingface/hub");
  environment.set("HF_HOME", "~/hf");
  EXPECT_EQ(hub_settings({}).cache_dir, home / "hf/hub");
  home.write("hf/token", "hf_from_file\n");
  EXPECT_EQ(hub_settings({}).token, "hf_from_file");
  environment.set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
  EXPECT_EQ(hub_settings({}).token, "");
  environment.set("HF_TOKEN", " hf_from_environment ");
  EXPECT_EQ(hub_settings({}).token, "hf_from_environment");
  environment.set("HF_HUB_CACHE", "/cache");
  EXPECT_EQ(hub_settings({}).cache_dir, "/cache");
  environment.set("HF_ENDPOINT", "https://mirror.example//");
  EXPECT_EQ(hub_settings({}).endpoint, "https://mirror.example");
  for (const char* yes : {"1", "true", "YES", "On"}) {
    environment.set("HF_HUB_OFFLINE", yes);
    EXPECT_EQ(hub_settings({}).offline, "HF_HUB_OFFLINE is set") << yes;
  }
  environment.set("HF_HUB_OFFLINE", "0");
  EXPECT_EQ(hub_settings({}).offline, "");
  environment.set("TRANSFORMERS_OFFLINE", "1");
  EXPECT_EQ(hub_settings({}).offline, "TRANSFORMERS_OFFLINE is set");
  environment.unset("TRANSFORMERS_OFFLINE");

  ResolveOptions options;
  options.cache_dir = "/mine";
  options.endpoint = "http://other";
  options.token = "hf_mine";
  options.offline = true;
  settings = hub_settings(options);
  EXPECT_EQ(settings.cache_dir, "/mine");
  EXPECT_EQ(settings.endpoint, "http://other");
  EXPECT_EQ(settings.token, "hf_mine");
  EXPECT_EQ(settings.offline, "the option offline is set");
}

TEST(ModelCache, LaysFilesOutAsPythonDoes) {
  const test::TempDir folder;
  const ModelCache cache(folder.path(), "org/model");
  EXPECT_EQ(cache.root(), folder / "models--org--model");
  EXPECT_EQ(cache.lock("abc"), folder / ".locks/models--org--model/abc.lock");
  EXPECT_EQ(ModelCache(folder.path(), "gpt2").root(), folder / "models--gpt2");
  folder.write("models--org--model/blobs/abc", "content");
  EXPECT_FALSE(cache.has("c0ffee", "1_Pooling/config.json"));
  cache.link("c0ffee", "1_Pooling/config.json", "abc");
  cache.link("c0ffee", "config.json", "abc");
  cache.link("c0ffee", "config.json", "abc");
  EXPECT_TRUE(cache.has("c0ffee", "1_Pooling/config.json"));
  EXPECT_EQ(fs::read_symlink(cache.snapshot("c0ffee") / "config.json"), "../../blobs/abc");
  EXPECT_EQ(fs::read_symlink(cache.snapshot("c0ffee") / "1_Pooling/config.json"), "../../../blobs/abc");
  EXPECT_EQ(read_file(cache.snapshot("c0ffee") / "config.json"), "content");
}

TEST(ModelCache, RevisionsAreRefsOrCommits) {
  const test::TempDir folder;
  const ModelCache cache(folder.path(), "org/model");
  EXPECT_EQ(cache.commit_of("main"), std::nullopt);
  cache.set_commit("main", "c0ffee");
  cache.set_commit("refs/pr/1", "beef");
  cache.set_commit("c0ffee", "c0ffee");
  EXPECT_EQ(read_file(cache.root() / "refs/main"), "c0ffee");
  EXPECT_EQ(cache.commit_of("main"), "c0ffee");
  EXPECT_EQ(cache.commit_of("refs/pr/1"), "beef");
  EXPECT_EQ(cache.commit_of("c0ffee"), std::nullopt) << "a commit needs no ref, but a snapshot";
  fs::create_directories(cache.snapshot("c0ffee"));
  EXPECT_EQ(cache.commit_of("c0ffee"), "c0ffee");
  folder.write("models--org--model/refs/evil", "../../elsewhere");
  EXPECT_EQ(cache.commit_of("evil"), std::nullopt);
}

TEST(SnapshotState, KnowsWhatIsComplete) {
  const test::TempDir folder;
  const auto complete = [&] { return state_of(folder.path()).complete(); };
  EXPECT_FALSE(complete());
  folder.write("config.json", "{}");
  folder.write("model.safetensors", "");
  EXPECT_FALSE(complete());
  folder.write("vocab.json", "{}");
  EXPECT_FALSE(complete());
  folder.write("merges.txt", "");
  EXPECT_TRUE(complete());
  fs::remove(folder / "model.safetensors");
  folder.write("pytorch_model.bin.index.json", R"({"weight_map":{"a":"1.bin","b":"2.bin"}})");
  folder.write("1.bin", "");
  EXPECT_FALSE(complete());
  folder.write("2.bin", "");
  EXPECT_TRUE(complete());
  folder.write("pytorch_model.bin.index.json", "{broken");
  EXPECT_FALSE(complete());
}

TEST(Shards, ArePlainNames) {
  const test::TempDir folder;
  EXPECT_THAT(shards_of(folder.write("i.json", R"({"weight_map":{"a":"2","b":"1","c":"2"}})")),
              ElementsAre("1", "2"));
  for (const char* bad :
       {R"({"weight_map":{"a":"../x"}})", R"({"weight_map":{"a":"/x"}})", R"({"weight_map":{"a":7}})"})
    EXPECT_THAT(test::error_of([&] { shards_of(folder.write("i.json", bad)); }),
                HasSubstr("tensor 'a' is not the name"));
  EXPECT_THAT(test::error_of([&] { shards_of(folder.write("i.json", "[]")); }),
              HasSubstr("no \"weight_map\""));
}

}  // namespace
}  // namespace graft::hub
