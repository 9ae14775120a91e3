// One loaded model, many callers.
#include "graft/pipeline.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/threads.h"
#include "capi/tiny_folder.h"
#include "models/state.h"

namespace graft {
namespace {

bool same_bits(const Prediction& a, const Prediction& b) {
  if (a.label != b.label || std::memcmp(&a.score, &b.score, sizeof a.score) != 0 ||
      a.scores.size() != b.scores.size())
    return false;
  for (size_t i = 0; i < a.scores.size(); ++i) {
    if (a.scores[i].label != b.scores[i].label ||
        std::memcmp(&a.scores[i].score, &b.scores[i].score, sizeof(double)) != 0)
      return false;
  }
  return true;
}

bool same_bits(const std::vector<Prediction>& a, const std::vector<Prediction>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Prediction& x, const Prediction& y) { return same_bits(x, y); });
}

// Anonymous memory of this process that is resident, in bytes.
size_t anonymous_bytes() {
  const std::string status = read_file("/proc/self/status");
  return std::stoul(status.substr(status.find("RssAnon:") + 8)) * 1024;
}

constexpr bool sanitized() {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  return true;
#elif defined(__has_feature)
  return __has_feature(thread_sanitizer) || __has_feature(address_sanitizer);
#else
  return false;
#endif
}

struct PipelineTest : testing::Test {
  test::TempDir dir;
  std::string folder = test::write_tiny_folder(dir);
  std::vector<std::string> texts = test::tiny_texts(48);
};

TEST_F(PipelineTest, EightThreadsAtOnceGiveTheBitsOfOne) {
  set_num_threads(1);
  const Pipeline pipeline(folder);
  const std::vector<Prediction> expected = pipeline.predict(texts);
  std::set<std::string> labels;
  for (const Prediction& p : expected) labels.insert(p.label);
  EXPECT_GT(labels.size(), 1u);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      set_num_threads(1);
      for (int round = 0; round < 4; ++round) {
        if (!same_bits(pipeline.predict(texts), expected)) ++wrong;
        const size_t i = static_cast<size_t>(t * 4 + round);
        if (!same_bits(pipeline(texts[i]), expected[i])) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  set_num_threads(0);
}

TEST_F(PipelineTest, ThreadsInsideACallDoNotChangeBits) {
  PipelineOptions options;
  options.num_threads = 1;
  const std::vector<Prediction> expected = Pipeline(folder, options).predict(texts);
  const int before = num_threads();
  for (const int n : {2, 3, 16}) {
    options.num_threads = n;
    EXPECT_TRUE(same_bits(Pipeline(folder, options).predict(texts), expected)) << n;
  }
  EXPECT_EQ(num_threads(), before);
}

TEST_F(PipelineTest, TheBatchDoesNotChangeBits) {
  const std::vector<Prediction> expected = Pipeline(folder).predict(texts);
  for (const int size : {1, 5, 48, 1000}) {
    PipelineOptions options;
    options.batch_size = size;
    EXPECT_TRUE(same_bits(Pipeline(folder, options).predict(texts), expected)) << size;
  }
}

TEST_F(PipelineTest, AFailureLeavesTheThreadsOfTheCallerAsTheyWere) {
  PipelineOptions options;
  options.num_threads = 3;
  const Pipeline pipeline(folder, options);
  const int before = num_threads();
  engine::ParameterStore& parameters = pipeline.model().state().parameters;
  float& bias = *parameters.value(*parameters.find("classifier.bias"));
  const float good = std::exchange(bias, NAN);
  EXPECT_THAT(test::error_of([&] { pipeline(texts[0]); }),
              testing::AllOf(testing::HasSubstr("not a finite number"),
                             testing::HasSubstr("from a training that diverged")));
  EXPECT_EQ(num_threads(), before);
  bias = good;
  EXPECT_EQ(pipeline(texts[0]).scores.size(), 3u);
}

TEST_F(PipelineTest, OptionsThatCannotBeAreRefusedAtOnce) {
  const auto refused = [&](const std::function<void(PipelineOptions&)>& edit) {
    PipelineOptions options;
    edit(options);
    return test::error_of([&] { Pipeline p(folder, options); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused([](PipelineOptions& o) { o.max_seq_length = 100; }),
              HasSubstr("longer than the model's 32 positions"));
  EXPECT_THAT(refused([](PipelineOptions& o) { o.max_seq_length = 1; }), HasSubstr("leaves no token"));
  EXPECT_THAT(refused([](PipelineOptions& o) { o.max_seq_length = -1; }), HasSubstr("max_seq_length -1"));
  EXPECT_THAT(refused([](PipelineOptions& o) { o.batch_size = 0; }), HasSubstr("batch_size 0"));
  EXPECT_THAT(refused([](PipelineOptions& o) { o.num_threads = -2; }), HasSubstr("num_threads -2"));
}

TEST_F(PipelineTest, PrecisionIsAsAsked) {
  PipelineOptions options;
  options.bf16 = true;
  const Pipeline half(folder, options), saved(folder);
  EXPECT_TRUE(half.model().state().bf16);
  EXPECT_FALSE(saved.model().state().bf16);
  EXPECT_FALSE(same_bits(half(texts[3]), saved(texts[3])));
}

// training_args.json is read by key; a value that cannot be one is named.
TEST_F(PipelineTest, ADamagedTrainingArgsFileIsNamed) {
  const auto refused = [&](const std::string& json) {
    dir.write("model/training_args.json", json);
    return test::error_of([&] { Pipeline p(folder); });
  };
  using testing::AllOf;
  using testing::HasSubstr;
  EXPECT_THAT(refused(R"({"bf16": "perhaps"})"),
              AllOf(HasSubstr("training_args.json"), HasSubstr("\"bf16\"")));
  EXPECT_THAT(refused(R"({"max_seq_length": 1e300})"), HasSubstr("\"max_seq_length\""));
  EXPECT_THAT(refused(R"({"max_seq_length": [3]})"), HasSubstr("\"max_seq_length\""));
  EXPECT_THAT(refused("[]"), HasSubstr("training_args.json"));
}

// Without special tokens an empty text has no row to read: an error, never a neighbour's score.
TEST_F(PipelineTest, ATextWithoutATokenIsAnError) {
  dir.write("model/tokenizer.json", R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "[UNK]",
              "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 5, "bad": 6, "film": 8}}})");
  const Pipeline pipeline(folder);
  EXPECT_EQ(pipeline.predict({"good film", "bad"}).size(), 2u);
  EXPECT_THAT(test::error_of([&] {
                pipeline.predict({"good", "", "bad"});
              }),
              testing::HasSubstr("text 2 of 3: the text has no token"));
  EXPECT_THAT(test::error_of([&] { pipeline(""); }), testing::HasSubstr("the text has no token"));
}

TEST_F(PipelineTest, HoldsTheWeightsAndNoTrainingMemory) {
  EXPECT_FALSE(Model::from_pretrained(folder).state().parameters.has_grads());
  if (sanitized()) return;  // its own memory hides the model's
  test::TempDir wide;
  const std::string wide_folder = test::write_tiny_folder(wide, {"a", "b"}, 768);
  const auto weights = static_cast<double>(std::filesystem::file_size(wide_folder + "/model.safetensors"));
  const size_t before = anonymous_bytes();
  const Pipeline pipeline(wide_folder);
  pipeline.predict(texts);
  // Weights and at most a packed copy; training holds four times the weights.
  EXPECT_LT(static_cast<double>(anonymous_bytes() - before), 2.5 * weights);
}

TEST_F(PipelineTest, NothingInNothingOut) {
  const Pipeline pipeline(folder);
  EXPECT_TRUE(pipeline.predict({}).empty());
  EXPECT_EQ(pipeline("").scores.size(), 3u);
  EXPECT_THAT(test::error_of([&] {
                pipeline.predict({"a", "b"}, {"c"});
              }),
              testing::HasSubstr("2 texts but 1 pairs"));
}

// The reference's TextClassificationPipeline: one output is a sigmoid unless problem_type is regression, also
// where it says single_label_classification.
TEST_F(PipelineTest, OneOutputIsASigmoidUnlessItIsARegression) {
  test::TempDir one;
  const std::string single = test::write_tiny_folder(one, {"stars"});
  const auto scores_as = [&](const char* problem_type) {
    Json config = read_json(single + "/config.json");
    config.erase("problem_type");
    if (problem_type) config["problem_type"] = problem_type;
    write_json(single + "/config.json", config);
    std::vector<double> scores;
    for (const Prediction& p : Pipeline(single).predict(texts)) scores.push_back(p.score);
    return scores;
  };
  const std::vector<double> raw = scores_as("regression"), unset = scores_as(nullptr);
  ASSERT_GT(*std::max_element(raw.begin(), raw.end()), 1.0);
  for (size_t i = 0; i < raw.size(); ++i) EXPECT_DOUBLE_EQ(unset[i], 1 / (1 + std::exp(-raw[i]))) << i;
  EXPECT_EQ(scores_as("single_label_classification"), unset);
  EXPECT_EQ(scores_as("multi_label_classification"), unset);
}

TEST_F(PipelineTest, TruncationIsCounted) {
  PipelineOptions options;
  options.max_seq_length = 4;
  const Pipeline pipeline(folder, options);
  pipeline.predict({"good", "good film was very bad", "a b c d"});
  EXPECT_EQ(pipeline.num_truncated(), 2);
}

}  // namespace
}  // namespace graft
