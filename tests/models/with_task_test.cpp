// Model::with_task against saving the model and loading the folder for the other task.
#include "models/model_case.h"

namespace graft::test {
namespace {
using testing::IsEmpty;
using testing::Not;

TEST(WithTask, EqualsSavingAndLoading) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* family : {"bert", "roberta", "distilbert"}) {
    const Model model = load_model(golden / family / "mlm");
    ModelOptions options;
    options.task = "sequence-classification";
    options.labels = {"a", "b", "c", "d"};
    options.seed = 7;
    const Model moved = model.with_task("text-classification", options.labels, options.seed);
    TempDir dir;
    model.save_pretrained(dir / "m");
    const Model loaded = Model::from_pretrained(dir / "m", options);
    EXPECT_EQ(moved.task(), loaded.task());
    EXPECT_EQ(moved.labels(), loaded.labels());
    EXPECT_TRUE(same_bits(all_values(moved), all_values(loaded))) << family;
    EXPECT_EQ(moved.load_report().missing, loaded.load_report().missing) << family;
    EXPECT_THAT(moved.load_report().missing, Not(IsEmpty())) << family;
  }
}

TEST(WithTask, KeepsAHeadThatFitsAndReplacesOneWithOtherLabels) {
  GRAFT_SHARED_PATH(folder, "golden/roberta/seqcls_single");
  const Model model = load_model(folder);
  const Model same = model.with_task("sequence-classification");
  EXPECT_TRUE(same_bits(all_values(model), all_values(same)));
  EXPECT_THAT(same.load_report().missing, IsEmpty());
  const Model other = model.with_task("sequence-classification", {"a", "b"});
  EXPECT_THAT(other.load_report().mismatched,
              testing::ElementsAre("classifier.out_proj.weight", "classifier.out_proj.bias"));
  EXPECT_EQ(model.labels().size(), 3u);  // unchanged
}

}  // namespace
}  // namespace graft::test
