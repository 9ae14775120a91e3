// Averages of weights against their formulas; the first is that of torch.optim.swa_utils.AveragedModel.
#include "train/weight_average.h"

#include "models/model_case.h"

namespace graft::train {
namespace {
using namespace graft::test;
using engine::Parameter;
using testing::HasSubstr;

struct AveragedWeight {
  engine::ParameterStore store;
  Parameter* p;
  AveragedWeight() {
    Parameter x;
    x.name = "w";
    x.shape = {2};
    p = &store.add(std::move(x));
    store.allocate();
  }
  void set(float value) { std::fill_n(store.value(*p), 2, value); }
  float get() const { return store.value(*p)[1]; }
};

TrainingArguments averaging(double ema, double swa, int64_t last, const char* eval_strategy = "no") {
  TrainingArguments a;
  a.ema_decay = ema, a.swa_start = swa, a.average_checkpoints = last, a.eval_strategy = eval_strategy;
  return a;
}

TEST(WeightAverage, EmaStartsWithTheFirstWeights) {
  AveragedWeight w;
  WeightAverage average(w.store, averaging(0.9, 0, 0), 0);
  double expected = 0;
  for (int step = 1; step <= 5; ++step) {
    EXPECT_TRUE(average.counts(step, false, false));
    w.set(static_cast<float>(step * step));
    average.add();
    expected = step == 1 ? 1 : 0.9 * expected + 0.1 * step * step;
  }
  average.swap();
  EXPECT_NEAR(w.get(), expected, 1e-6);
  average.swap();
  EXPECT_EQ(w.get(), 25);
}

TEST(WeightAverage, SwaIsTheMeanFromItsStartOn) {
  AveragedWeight w;
  WeightAverage average(w.store, averaging(0, 2, 0), 6);
  EXPECT_FALSE(average.counts(3, true, false));
  EXPECT_FALSE(average.counts(7, false, true));
  EXPECT_TRUE(average.counts(6, true, false));
  for (const float value : {1.0f, 2.0f, 6.0f}) {
    w.set(value);
    average.add();
  }
  average.swap();
  EXPECT_NEAR(w.get(), 3, 1e-6);
}

TEST(WeightAverage, AverageCheckpointsIsTheMeanOfTheLastOnes) {
  AveragedWeight w;
  WeightAverage average(w.store, averaging(0, 0, 2, "steps"), 0), epochs(w.store, averaging(0, 0, 2), 0);
  EXPECT_TRUE(average.counts(1, false, true));
  EXPECT_FALSE(average.counts(1, true, false));
  EXPECT_TRUE(epochs.counts(1, true, false));
  for (const float value : {1.0f, 2.0f, 6.0f}) {
    w.set(value);
    average.add();
  }
  EXPECT_EQ(average.num_added(), 2);
  average.swap();
  EXPECT_EQ(w.get(), 4);
}

TEST(WeightAverage, ARunningMeanHasTheSameValuesWhereNoPlaceLeaves) {
  TrainingArguments every_tenth = averaging(0, 0, 10, "steps"), every_fifth = averaging(0, 0, 4, "steps");
  every_tenth.eval_steps = 0.1;
  every_fifth.eval_steps = 0.2;  // five places, of which four count
  AveragedWeight w;
  EXPECT_EQ(average_bytes(w.store, every_tenth), 4 * 2);
  EXPECT_EQ(average_bytes(w.store, every_fifth), 4 * 2 * 5);
  WeightAverage running(w.store, every_tenth, 0), window(w.store, averaging(0, 0, 10, "steps"), 0);
  for (const float value : {1.0f, 5.0f, 7.5f}) {
    w.set(value);
    running.add();
    window.add();
  }
  EXPECT_EQ(running.num_added(), 3);
  window.swap();
  const float expected = w.get();
  window.swap();
  EXPECT_EQ(running.tensors().size(), 1u);

  AveragedWeight loaded;
  loaded.set(w.get());
  WeightAverage resumed(loaded.store, every_tenth, 0);
  resumed.load(parse_json(running.values().dump(), "state"), running.tensors());
  running.swap();
  EXPECT_NEAR(w.get(), expected, 1e-6);
  resumed.swap();
  EXPECT_EQ(loaded.get(), w.get());
}

TEST(WeightAverage, WithoutAnyWeightsNothingIsExchanged) {
  AveragedWeight w;
  w.set(7);
  WeightAverage average(w.store, averaging(0, 2, 0), 6);
  {
    const AveragedWeights now(&average);
    EXPECT_EQ(w.get(), 7);
  }
  EXPECT_FALSE(average.swapped());
}

// What a checkpoint holds, taken while its model is the average, and while it is not.
TEST(WeightAverage, ARunContinuesWithItsWeightsAndItsAverage) {
  for (const TrainingArguments& a : {averaging(0.5, 0, 0), averaging(0, 1, 0), averaging(0, 0, 3)}) {
    for (const bool swapped : {false, true}) {
      AveragedWeight w;
      WeightAverage whole(w.store, a, 0);
      for (const float value : {1.0f, 5.0f}) {
        w.set(value);
        whole.add();
      }
      if (swapped) whole.swap();
      AveragedWeight loaded;
      loaded.set(w.get());  // the checkpoint's model
      WeightAverage resumed(loaded.store, a, 0);
      resumed.load(parse_json(whole.values().dump(), "state"), whole.tensors());
      if (swapped) whole.swap();
      EXPECT_EQ(loaded.get(), 5);
      for (AveragedWeight* one : {&w, &loaded}) one->set(9);
      whole.add();
      resumed.add();
      whole.swap();
      resumed.swap();
      EXPECT_EQ(loaded.get(), w.get());
      EXPECT_NE(w.get(), 9);
    }
  }
  AveragedWeight w;
  WeightAverage average(w.store, averaging(0.5, 0, 0), 0);
  EXPECT_THAT(error_of([&] {
                average.load(parse_json(R"({"num_averaged": 2, "model_is_average": true})", "state"), {});
              }),
              HasSubstr("lacks weights.w"));
  EXPECT_EQ(average.num_added(), 0);
}

TEST(WeightAverage, OnlyOneKindIsTaken) {
  EXPECT_THAT(error_of([] { average_kind(averaging(0.9, 1, 0)); }), HasSubstr("exclude each other"));
}

}  // namespace
}  // namespace graft::train
