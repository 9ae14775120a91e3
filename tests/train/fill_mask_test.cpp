// Masks filled: the fields of the reference's fill-mask, and that they are the model's own probabilities.
#include <cmath>

#include "graft/pipeline.h"
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

class FillMask : public testing::Test {
 protected:
  FillMask() {
    TrainingArguments a = run_.arguments();
    a.num_train_epochs = 2;
    a.line_by_line = true;
    Trainer trainer(run_.model("masked-lm", {}), a,
                    TaskData::text({run_.text("train.txt", 60, 1)}, {}, run_.tokenizer()));
    trainer.train();
    pipeline_ = std::make_unique<FillMaskPipeline>(run_ / "out");
  }
  TinyRun run_;
  std::unique_ptr<FillMaskPipeline> pipeline_;
};

TEST_F(FillMask, GivesTheModelsProbabilities) {
  const int32_t V = run_.tokenizer()->vocab_size();
  const std::string text = "ba be [MASK] bo bu";
  const auto fills = pipeline_->predict({text}, V).at(0);
  ASSERT_EQ(fills.size(), 1u);
  ASSERT_EQ(fills[0].size(), static_cast<size_t>(V));
  const Encoding e = run_.tokenizer()->encode(text);
  data::RaggedBatch batch;
  batch.append(e, 0);
  const int32_t mask = *run_.tokenizer()->special_id("mask_token");
  const auto at = std::find(e.input_ids.begin(), e.input_ids.end(), mask) - e.input_ids.begin();
  batch.label_rows.push_back(static_cast<int32_t>(at));
  const std::vector<float> logits = logits_of(load_model(run_ / "out"), batch);
  double denominator = 0, total = 0;
  for (int32_t i = 0; i < V; ++i) denominator += std::exp(double{logits[static_cast<size_t>(i)]});
  for (size_t i = 0; i < fills[0].size(); ++i) {
    const MaskFill& f = fills[0][i];
    EXPECT_NEAR(f.score, std::exp(double{logits[static_cast<size_t>(f.token)]}) / denominator, 1e-9);
    EXPECT_EQ(f.token_str, run_.tokenizer()->id_to_token(f.token));
    if (i > 0) {
      EXPECT_LE(f.score, fills[0][i - 1].score);
    }
    total += f.score;
  }
  EXPECT_NEAR(total, 1, 1e-9);
}

TEST_F(FillMask, SequenceIsTheTextWithTheTokenInIt) {
  const auto one = pipeline_->predict({"ba be [MASK] bo bu"}).at(0);
  ASSERT_EQ(one.at(0).size(), 5u);
  for (const MaskFill& f : one[0]) {
    if (!run_.tokenizer()->is_special(f.token)) {
      EXPECT_EQ(f.sequence, "ba be " + f.token_str + " bo bu");
    }
  }
  const auto two = pipeline_->predict({"ba [MASK] bi [MASK]"}, 2).at(0);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].size(), 2u);
  EXPECT_EQ(two[0][0].sequence, "[CLS] ba " + two[0][0].token_str + " bi [MASK] [SEP]");
  EXPECT_EQ(two[1][1].sequence, "[CLS] ba [MASK] bi " + two[1][1].token_str + " [SEP]");
}

TEST_F(FillMask, DoesNotDependOnTheBatch) {
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i) texts.push_back(i % 3 ? "da [MASK] di" : "[MASK] be bi bo [MASK] da de");
  const auto together = pipeline_->predict(texts);
  PipelineOptions options;
  options.batch_size = 3;
  const auto apart = FillMaskPipeline(run_ / "out", options).predict(texts);
  ASSERT_EQ(together.size(), 20u);
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(together[i].size(), apart[i].size());
    for (size_t m = 0; m < together[i].size(); ++m) {
      EXPECT_EQ(together[i][m][0].score, apart[i][m][0].score);
      EXPECT_EQ(together[i][m][4].token, apart[i][m][4].token);
      EXPECT_EQ(together[i][m][0].score, together[i % 3 ? 1 : 0][m][0].score);
    }
  }
}

TEST_F(FillMask, RefusesWhatHasNoMask) {
  EXPECT_EQ(pipeline_->mask_token(), "[MASK]");
  EXPECT_THAT(error_of([&] { pipeline_->predict({"ba be"}); }),
              AllOf(HasSubstr("no [MASK]"), HasSubstr("ba be")));
  EXPECT_THAT(error_of([&] { pipeline_->predict({"[MASK]"}, 0); }), HasSubstr("top_k"));
  EXPECT_THAT(error_of([&] { Pipeline(run_ / "out"); }), HasSubstr("not a sequence-classification model"));
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  EXPECT_THAT(error_of([&] { FillMaskPipeline{folder}; }), HasSubstr("not a masked-lm model"));
}

}  // namespace
}  // namespace graft::train
