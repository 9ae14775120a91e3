// The learning rate's factor, against tables of transformers.get_scheduler (5.24) and of torch.optim
// .lr_scheduler.ReduceLROnPlateau (2.13).
#include "train/schedule.h"

#include <cmath>

#include "base/error.h"
#include "support/shared.h"

namespace graft::train {
namespace {
using testing::AllOf;
using testing::HasSubstr;

std::vector<double> factors(const Schedule& schedule, int64_t warmup, int64_t total) {
  std::vector<double> out;
  for (int64_t s = 0; s <= total; ++s) out.push_back(schedule_factor(schedule, s, warmup, total));
  return out;
}
std::vector<double> factors(const char* name, int64_t warmup, int64_t total) {
  return factors(parse_schedule(name), warmup, total);
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12) << "step " << i;
}

struct Row {
  const char *type, *kwargs;
  int64_t warmup;
  std::vector<double> factors;  // of steps 0 to num_training_steps
};

TEST(Schedule, EveryTypeHasTheReferencesValues) {
  const std::vector<Row> rows = {
      {"linear", "", 2, {0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0}},
      {"cosine",
       "",
       2,
       {0, 0.5, 1.0, 0.9330127018922194, 0.75, 0.5, 0.2500000000000001, 0.06698729810778065, 0}},
      {"cosine",
       R"({"num_cycles": 1.25})",
       2,
       {0, 0.5, 1.0, 0.6294095225512605, 0.06698729810778076, 0.14644660940672616, 0.7499999999999997,
        0.9829629131445341, 0.5000000000000001}},
      {"cosine_with_restarts",
       "",
       2,
       {0, 0.5, 1.0, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5, 0.30865828381745514,
        0.14644660940672627, 0.03806023374435663, 0}},
      {"cosine_with_restarts",
       R"({"num_cycles": 3})",
       2,
       {0, 0.5, 1.0, 0.6913417161825449, 0.14644660940672627, 0.9619397662556434, 0.5, 0.03806023374435663,
        0.8535533905932737, 0.30865828381745514, 0}},
      {"cosine_with_min_lr",
       R"({"min_lr_rate": 0.1})",
       2,
       {0, 0.5, 1.0, 0.9397114317029974, 0.775, 0.55, 0.3250000000000001, 0.16028856829700258, 0.1}},
      {"cosine_with_min_lr",
       R"({"min_lr": 1e-05})",
       2,
       {0, 0.5, 1.0, 0.9464101615137757, 0.8, 0.6000000000000001, 0.40000000000000013, 0.2535898384862245,
        0.2}},
      {"cosine_warmup_with_min_lr",
       R"({"min_lr_rate": 0.1})",
       3,
       {0.3333333333333333, 0.6666666666666666, 1.0, 0.9140576474687263, 0.6890576474687263,
        0.41094235253127376, 0.18594235253127372, 0.1, 0.1859423525312736}},
      {"cosine_warmup_with_min_lr",
       R"({"min_lr": 1e-05, "warmup_lr_rate": 0.2})",
       3,
       {0.2, 0.6000000000000001, 1.0, 0.9236067977499791, 0.7236067977499789, 0.4763932022500211,
        0.27639320225002106, 0.2, 0.276393202250021}},
      {"polynomial",
       "",
       2,
       {0, 0.5, 1.0, 0.8336666666666667, 0.6673333333333334, 0.501, 0.33466666666666667, 0.1683333333333333,
        0.0019999999999999996}},
      {"polynomial",
       R"({"lr_end": 1e-05, "power": 2.0})",
       0,
       {1.0, 0.7555555555555556, 0.5555555555555557, 0.4, 0.2888888888888889, 0.2222222222222222, 0.2}},
      {"inverse_sqrt",
       "",
       3,
       {0, 0.3333333333333333, 0.6666666666666666, 1.0, 0.8660254037844387, 0.7745966692414834,
        0.7071067811865475, 0.6546536707079771, 0.6123724356957945, 0.5773502691896258, 0.5477225575051661}},
      {"inverse_sqrt",
       "",
       0,
       {1.0, 0.9999500037496877, 0.9999000149975006, 0.9998500337415648, 0.9998000599800071,
        0.9997500937109545, 0.9997001349325354}},
      {"inverse_sqrt",
       R"({"timescale": 5})",
       2,
       {0, 0.5, 1.0, 0.9128709291752769, 0.8451542547285166, 0.7905694150420948, 0.7453559924999299,
        0.7071067811865475, 0.674199862463242}},
      {"warmup_stable_decay",
       R"({"num_decay_steps": 4})",
       2,
       {0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627, 0}},
      {"warmup_stable_decay",
       R"({"num_decay_steps": 4, "min_lr_ratio": 0.1, "warmup_type": "cosine", "decay_type": "linear"})",
       3,
       {0.1, 0.32499999999999996, 0.7749999999999999, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.775, 0.55, 0.325, 0.1}},
      {"warmup_stable_decay",
       R"({"num_decay_steps": 4, "num_stable_steps": 2, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"})",
       3,
       {0, 0.18350341907227397, 0.42264973081037416, 1.0, 1.0, 1.0, 0.5, 0.2928932188134524,
        0.1339745962155614, 0, 0, 0, 0}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(fmt::format("{} {}", row.type, row.kwargs));
    expect_near(factors(parse_schedule(row.type, row.kwargs, 5e-5), row.warmup,
                        static_cast<int64_t>(row.factors.size()) - 1),
                row.factors);
  }
}

struct PlateauRow {
  const char* kwargs;
  std::vector<double> metrics, rates;  // after each of them
};

TEST(Schedule, ReduceLrOnPlateauHasTorchsValues) {
  const std::vector<PlateauRow> rows = {
      {R"({"patience": 1})",
       {1.0, 0.9, 0.9, 0.89999, 0.9, 0.95, 0.5, 0.6, 0.7, 0.8},
       {5e-05, 5e-05, 5e-05, 5e-06, 5e-06, 5.000000000000001e-07, 5.000000000000001e-07,
        5.000000000000001e-07, 5.000000000000001e-08, 5.000000000000001e-08}},
      {R"({"patience": 0, "factor": 0.5, "cooldown": 2, "min_lr": 1e-05})",
       {1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1},
       {5e-05, 2.5e-05, 2.5e-05, 2.5e-05, 1.25e-05, 1.25e-05, 1.25e-05, 1e-05, 1e-05}},
      {R"({"mode": "max", "patience": 0, "threshold": 0.1, "threshold_mode": "abs"})",
       {0.5, 0.55, 0.7, NAN, 0.9},
       {5e-05, 5e-06, 5e-06, 5.000000000000001e-07, 5.000000000000001e-07}},
      {R"({"mode": "max", "patience": 0, "factor": 0.3, "eps": 1e-06, "threshold": 0.05})",
       {0.5, 0.52, 0.53, 0.6, 0.6, 0.6, 0.6},
       {5e-05, 1.5e-05, 1.5e-05, 1.5e-05, 4.5e-06, 1.35e-06, 1.35e-06}},
      {"",
       {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0},
       {5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-05, 5e-06, 5e-06}},
  };
  for (const PlateauRow& row : rows) {
    SCOPED_TRACE(row.kwargs);
    const Schedule schedule = parse_schedule("reduce_lr_on_plateau", row.kwargs, 5e-5);
    Plateau whole(schedule.plateau, schedule.learning_rate);
    // The second one takes over the state before every evaluation, through the text of a json file.
    std::unique_ptr<Plateau> resumed = std::make_unique<Plateau>(schedule.plateau, schedule.learning_rate);
    for (size_t i = 0; i < row.metrics.size(); ++i) {
      auto next = std::make_unique<Plateau>(schedule.plateau, 1.0);
      next->load(parse_json(resumed->values().dump(), "state"), {});
      resumed = std::move(next);
      EXPECT_EQ(whole.update(row.metrics[i]), resumed->update(row.metrics[i])) << i;
      EXPECT_DOUBLE_EQ(whole.rate(), row.rates[i]) << i;
      EXPECT_EQ(whole.rate(), resumed->rate()) << i;
    }
  }
}

TEST(Schedule, Linear) {
  expect_near(factors("linear", 0, 4), {1, 0.75, 0.5, 0.25, 0});
  expect_near(factors("linear", 4, 4), {0, 0.25, 0.5, 0.75, 0});  // all of it warm-up: (4 - 4) / max(1, 0)
  EXPECT_EQ(schedule_factor(parse_schedule("linear"), 12, 2, 10), 0);  // never below zero
}

TEST(Schedule, Constant) {
  expect_near(factors("constant", 0, 3), {1, 1, 1, 1});
  expect_near(factors("constant", 2, 3), {1, 1, 1, 1});  // the reference's has no warm-up either
  expect_near(factors("constant_with_warmup", 2, 4), {0, 0.5, 1, 1, 1});
}

TEST(Schedule, AnUnknownNameGetsTheNearest) {
  EXPECT_THAT(test::error_of([] { parse_schedule("cosin"); }),
              AllOf(HasSubstr("cosin"), HasSubstr("did you mean cosine")));
  EXPECT_THAT(test::error_of([] { parse_schedule("greedy"); }),
              HasSubstr("linear, cosine, cosine_with_restarts"));
}

TEST(Schedule, WrongSettingsAreRefusedByName) {
  const auto told = [](const char* type, const char* kwargs, double rate = 5e-5) {
    return test::error_of([&] { parse_schedule(type, kwargs, rate); });
  };
  EXPECT_THAT(told("cosine", R"({"num_cycle": 2})"),
              AllOf(HasSubstr("\"num_cycle\" is not a setting of cosine, which has num_cycles"),
                    HasSubstr("did you mean num_cycles?")));
  EXPECT_THAT(told("linear", R"({"power": 2})"), HasSubstr("linear, which has none"));
  EXPECT_THAT(told("cosine", "[1]"), HasSubstr("a json object was expected"));
  EXPECT_THAT(told("cosine", "{"), HasSubstr("--lr_scheduler_kwargs"));
  EXPECT_THAT(told("cosine", R"({"num_cycles": "2"})"), HasSubstr("a number was expected"));
  EXPECT_THAT(told("cosine", R"({"num_cycles": 0})"), HasSubstr("lr_scheduler_kwargs: num_cycles"));
  EXPECT_THAT(told("cosine_with_restarts", R"({"num_cycles": 1.5})"), HasSubstr("whole number"));
  EXPECT_THAT(told("cosine_with_min_lr", ""), HasSubstr("needs min_lr or min_lr_rate"));
  EXPECT_THAT(told("cosine_with_min_lr", R"({"min_lr": 0, "min_lr_rate": 0})"), HasSubstr("contradict"));
  EXPECT_THAT(told("warmup_stable_decay", ""), HasSubstr("needs num_decay_steps"));
  EXPECT_THAT(told("warmup_stable_decay", R"({"num_decay_steps": 2, "decay_type": "sqrt"})"),
              HasSubstr("linear, cosine, 1-sqrt"));
  EXPECT_THAT(told("polynomial", R"({"lr_end": 1e-4})"), HasSubstr("below --learning_rate"));
  EXPECT_THAT(told("reduce_lr_on_plateau", R"({"factor": 1})"), HasSubstr("factor"));
  EXPECT_NO_THROW(parse_schedule("inverse_sqrt", R"({"timescale": null})", 5e-5));
}

}  // namespace
}  // namespace graft::train
