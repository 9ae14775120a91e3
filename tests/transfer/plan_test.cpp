#include "transfer/plan.h"

#include "support/shared.h"

namespace graft::transfer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Plan plan_with(double before, double after) {
  Plan plan;
  plan.domain.words = 100;
  plan.domain.tokens = 130;
  plan.pilot_steps = 50;
  plan.steps = 1000;
  plan.perplexity_before = before;
  plan.perplexity_after = after;
  return plan;
}

TEST(Plan, RecommendsByWhatThePilotGained) {
  EXPECT_THAT(recommendation_of(plan_with(20, 15)), StartsWith("adapt: the pilot (5 % of the run) lowers"));
  EXPECT_THAT(recommendation_of(plan_with(20, 19.6)), HasSubstr("expect a small gain"));
  EXPECT_THAT(recommendation_of(plan_with(20, 19.99)), StartsWith("do not adapt"));
  EXPECT_THAT(recommendation_of(plan_with(20, 25)), HasSubstr("+25.0 %"));
  EXPECT_THAT(recommendation_of(plan_with(900, 899)), HasSubstr("at 899 the model does not know this text"));
}

TEST(Plan, NamesItsReasons) {
  Plan plan = plan_with(20, 15);
  plan.overlap = 0.8;
  plan.domain.tokens = 190;
  plan.domain.unknown_tokens = 5;
  plan.steps = 60;
  const std::string text = recommendation_of(plan);
  EXPECT_THAT(text, HasSubstr("80 % of the frequent words are those of the general text"));
  EXPECT_THAT(text, HasSubstr("60 steps are few"));
  EXPECT_THAT(text, HasSubstr("1.90 tokens a word"));
  EXPECT_THAT(text, HasSubstr("2.6 % of the tokens are unknown"));
  EXPECT_THAT(table_of(plan), HasSubstr("perplexity in the pilot            20.00 -> 15.00 after 50 steps"));
}

}  // namespace
}  // namespace graft::transfer
