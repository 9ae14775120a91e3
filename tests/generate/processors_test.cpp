// The processors against the reference's (transformers 5.24), and what is drawn.
#include "generate/processors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

namespace graft::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
const std::vector<float> kScores = {-1.125f, -4.375f, 4.0f,   2.375f, 4.875f, 0.75f,
                                    -4.75f,  1.25f,   1.625f, 2.875f, -2.5f,  -0.125f};

// All processors with options that `set` changes; none of the others has an effect.
void expect(const std::string& what, const std::function<void(GenerationOptions&)>& set,
            const std::vector<float>& expected) {
  GenerationOptions o;
  o.top_k = 0;
  set(o);
  std::vector<float> scores = kScores;
  process_scores(scores, {3, 5, 3, 7, 5, 3}, 4, o);
  warp_scores(scores, o);
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isinf(expected[i]))
      EXPECT_EQ(scores[i], kNever) << what << " " << i;
    else
      EXPECT_FLOAT_EQ(scores[i], expected[i]) << what << " " << i;
  }
}

TEST(Processors, EqualTheReference) {
  expect("rep", [](GenerationOptions& o) { o.repetition_penalty = 1.5; },
         {-1.125f, -4.375f, 4.0f, 1.5833333730697632f, 4.875f, 0.5f, -4.75f, 0.8333333134651184f, 1.625f,
          2.875f, -2.5f, -0.125f});
  expect("ngram2", [](GenerationOptions& o) { o.no_repeat_ngram_size = 2; },
         {-1.125f, -4.375f, 4.0f, 2.375f, 4.875f, kNever, -4.75f, kNever, 1.625f, 2.875f, -2.5f, -0.125f});
  expect("ngram1", [](GenerationOptions& o) { o.no_repeat_ngram_size = 1; },
         {-1.125f, -4.375f, 4.0f, kNever, 4.875f, kNever, -4.75f, kNever, 1.625f, 2.875f, -2.5f, -0.125f});
  expect("topk 1", [](GenerationOptions& o) { o.top_k = 1; },
         {kNever, kNever, kNever, kNever, 4.875f, kNever, kNever, kNever, kNever, kNever, kNever, kNever});
  expect("topk 3", [](GenerationOptions& o) { o.top_k = 3; },
         {kNever, kNever, 4.0f, kNever, 4.875f, kNever, kNever, kNever, kNever, 2.875f, kNever, kNever});
  expect("topk 50", [](GenerationOptions& o) { o.top_k = 50; },
         {-1.125f, -4.375f, 4.0f, 2.375f, 4.875f, 0.75f, -4.75f, 1.25f, 1.625f, 2.875f, -2.5f, -0.125f});
  expect("topp 0.3", [](GenerationOptions& o) { o.top_p = 0.3; },
         {kNever, kNever, kNever, kNever, 4.875f, kNever, kNever, kNever, kNever, kNever, kNever, kNever});
  expect("topp 0.9", [](GenerationOptions& o) { o.top_p = 0.9; },
         {kNever, kNever, 4.0f, 2.375f, 4.875f, kNever, kNever, kNever, kNever, 2.875f, kNever, kNever});
  expect("topp 0.99", [](GenerationOptions& o) { o.top_p = 0.99; },
         {kNever, kNever, 4.0f, 2.375f, 4.875f, 0.75f, kNever, 1.25f, 1.625f, 2.875f, kNever, kNever});
  expect("typ 0.2", [](GenerationOptions& o) { o.typical_p = 0.2; },
         {kNever, kNever, 4.0f, kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever});
  expect("typ 0.8", [](GenerationOptions& o) { o.typical_p = 0.8; },
         {kNever, kNever, 4.0f, kNever, 4.875f, kNever, kNever, kNever, kNever, kNever, kNever, kNever});
  expect("typ 0.95", [](GenerationOptions& o) { o.typical_p = 0.95; },
         {kNever, kNever, 4.0f, 2.375f, 4.875f, kNever, kNever, kNever, 1.625f, 2.875f, kNever, kNever});
  expect("chain",
         [](GenerationOptions& o) {
           o.temperature = 0.5;
           o.top_k = 6;
           o.top_p = 0.95;
           o.typical_p = 0.9;
         },
         {kNever, kNever, 8.0f, kNever, 9.75f, kNever, kNever, kNever, kNever, kNever, kNever, kNever});
}

TEST(Processors, NoEndBeforeTheLeastLength) {
  GenerationOptions o;
  o.eos_token_id = {2, 4};
  const auto after = [&](size_t tokens) {
    std::vector<float> scores = kScores;
    process_scores(scores, std::vector<int32_t>(tokens, 1), 3, o);
    return std::isinf(scores[2]) && std::isinf(scores[4]);
  };
  EXPECT_FALSE(after(3));
  o.min_length = 5;
  EXPECT_TRUE(after(4));
  EXPECT_FALSE(after(5));
  o.min_length = 0;
  o.min_new_tokens = 3;
  EXPECT_TRUE(after(5));
  EXPECT_FALSE(after(6));
  o.min_length = 9;  // min_new_tokens replaces it
  EXPECT_FALSE(after(6));
}

TEST(Processors, ADrawFollowsTheProbabilities) {
  const std::vector<float> scores = {std::log(0.2f), kNever, std::log(0.5f), std::log(0.3f)};
  EXPECT_EQ(draw(scores, 0), 0);
  EXPECT_EQ(draw(scores, 0.19), 0);
  EXPECT_EQ(draw(scores, 0.21), 2);
  EXPECT_EQ(draw(scores, 0.71), 3);
  EXPECT_EQ(draw(scores, 1 - 1e-17), 3);
  EXPECT_EQ(largest({1, 3, 3, 2}), 1);
  std::vector<float> p = {1, 2, 3};
  log_softmax(p);
  EXPECT_NEAR(std::exp(p[0]) + std::exp(p[1]) + std::exp(p[2]), 1, 1e-6);
}

}  // namespace
}  // namespace graft::generate
