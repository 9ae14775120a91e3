// --class_weights against scikit-learn's and the paper's formulas.
#include "train/class_weights.h"

#include <cmath>

#include "support/shared.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;

// Four times blue, once green and three times red.
class ClassWeights : public testing::Test {
 protected:
  ClassWeights()
      : data_(
            Dataset::from_file(run_.dir().write("train.csv",
                                                "text,label\none blue,blue\ntwo blue,blue\nup blue,blue\n"
                                                "down blue,blue\none green,green\none red,red\ntwo red,red\n"
                                                "up red,red\n"))) {}
  Model model() const { return run_.model("sequence-classification", {"blue", "green", "red"}); }
  std::vector<float> weights(const std::string& text) {
    Trainer trainer(model(), run_.arguments(), {data_, {}, run_.tokenizer()});
    return class_weights(text, trainer.parts().model, *trainer.parts().features.train);
  }
  std::string told(const std::string& text) {
    return error_of([&] { weights(text); });
  }
  TinyRun run_;
  Dataset data_;
};

TEST_F(ClassWeights, BalancedIsScikitLearns) {
  EXPECT_THAT(weights("balanced"), ElementsAre(FloatNear(8.0f / 12, 1e-6f), FloatNear(8.0f / 3, 1e-6f),
                                               FloatNear(8.0f / 9, 1e-6f)));
}

TEST_F(ClassWeights, EffectiveNumberIsThePapers) {
  for (const auto& [text, beta] : {std::pair{"effective_number", 0.999}, {"effective_number:0.9", 0.9}}) {
    std::vector<double> expected;
    double sum = 0;
    for (const double n : {4.0, 1.0, 3.0}) {
      expected.push_back((1 - beta) / (1 - std::pow(beta, n)));
      sum += expected.back();
    }
    const std::vector<float> got = weights(text);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(got[i], expected[i] * 3 / sum, 1e-6) << text;
  }
}

TEST_F(ClassWeights, AreReadFromAListAndFromFiles) {
  EXPECT_THAT(weights("1,2.5,0"), ElementsAre(1, 2.5, 0));
  EXPECT_THAT(weights(run_.dir().write("w.json", R"({"red": 3, "blue": 1, "green": 2})").string()),
              ElementsAre(1, 2, 3));
  EXPECT_THAT(weights(run_.dir().write("l.json", "[4, 5, 6]").string()), ElementsAre(4, 5, 6));
}

TEST_F(ClassWeights, WrongOnesAreRefusedWithTheirPlace) {
  EXPECT_THAT(told("1,2"), HasSubstr("2 weights, and the model 3 labels"));
  EXPECT_THAT(told("1,2,x"), HasSubstr("class_weights"));
  EXPECT_THAT(told("1,2,-1"), HasSubstr("out of range"));
  EXPECT_THAT(told("effective_number:1"), HasSubstr("out of range"));
  EXPECT_THAT(told(run_.dir().write("m.json", R"({"red": 3, "blue": 1})").string()),
              HasSubstr("the label green"));
  EXPECT_THAT(told(run_.dir().write("n.json", R"({"red": 3, "blue": 1, "green": 1, "grey": 1})").string()),
              HasSubstr("grey is no label"));
  EXPECT_THAT(told(run_.dir().write("o.json", R"({"red": "3", "blue": 1, "green": 1})").string()),
              HasSubstr("the weight of red"));
}

}  // namespace
}  // namespace graft::train
