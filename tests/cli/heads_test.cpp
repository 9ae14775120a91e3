// Which head a folder has: config.json's "architectures", else the tensors.
#include "base/file.h"
#include "cli/graft_program.h"
#include "hub/state_dict.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Heads : testing::Test {
  World world;
  std::string folder = world.model_copy("copy");
  // nullptr: without the key.
  void set_architectures(const Json& value) const {
    Json config = read_json(folder + "/config.json");
    config.erase("architectures");
    if (!value.is_null()) config["architectures"] = value;
    write_json(folder + "/config.json", config);
  }
  // The folder's weights without the tensors of the head, or with another one.
  void write_tensors(bool classifier, bool masked_lm, bool pooler = true) const {
    std::vector<hub::TensorToWrite> kept;
    std::vector<std::vector<float>> values;
    const hub::StateDict old = hub::read_checkpoint(world.dir().path() / "model");
    for (const hub::TensorView& t : old.tensors()) {
      if (t.name.starts_with("classifier.") && !classifier) continue;
      if (t.name.starts_with("bert.pooler.") && !pooler) continue;
      values.emplace_back(static_cast<size_t>(t.num_elements()));
      hub::copy_to_float(t, values.back().data());
      kept.push_back({t.name, t.shape, DType::f32, nullptr});
    }
    if (masked_lm) {
      values.emplace_back(16 * 16);
      kept.push_back({"cls.predictions.transform.dense.weight", {16, 16}, DType::f32, nullptr});
    }
    for (size_t i = 0; i < kept.size(); ++i) kept[i].data = values[i].data();
    hub::write_safetensors(folder + "/model.safetensors", kept);
  }
  std::string error_of_predict() const {
    const Result r = run_graft({"predict", "--model", folder}, {"a good film\n"});
    EXPECT_EQ(r.code, 1) << r.err;
    return r.err;
  }
};

TEST_F(Heads, TheTensorsDecideWhereConfigJsonNamesNone) {
  const std::string expected = graft_output({"predict", "--model", folder}, "a good film\n");
  const std::string rows = world.rows("rows.csv", 16, 5);
  for (const Json& none : {Json(), Json::array(), Json::array({nullptr})}) {
    set_architectures(none);
    const Result r = run_graft({"predict", "--model", folder}, {"a good film\n"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.out, expected);
    EXPECT_THAT(r.err, HasSubstr("config.json names no head (\"architectures\"); the tensors are those of "
                                 "sequence-classification"));
    EXPECT_EQ(run_graft({"evaluate", "--model", folder, "--test_file", rows}).code, 0);
    EXPECT_THAT(graft_output({"info", "--model", folder}), HasSubstr("bert for sequence-classification in "));
    // In training the head is kept with its labels.
    EXPECT_THAT(
        run_graft({"train", "--model", folder, "--train_file",
                   world.write("x.csv", "text,label\na,x\nb,y\nc,z\n"), "--output_dir", world / "out"})
            .err,
        HasSubstr("label 'x' is not a label of the model (neg, pos)"));
  }
}

// Both heads of BERT have a "classifier"; the reference's token classifier has no pooler.
TEST_F(Heads, WithoutAPoolerAClassifierIsThatOfTokens) {
  set_architectures(Json());
  write_tensors(true, false);
  EXPECT_THAT(graft_output({"info", "--model", folder}), HasSubstr("bert for sequence-classification in "));
  write_tensors(true, false, false);
  EXPECT_THAT(graft_output({"info", "--model", folder}), HasSubstr("bert for token-classification in "));
}

TEST_F(Heads, ATextSaysWhatToWrite) {
  set_architectures(Json());
  write_tensors(true, true);
  EXPECT_THAT(
      error_of_predict(),
      AllOf(HasSubstr("the checkpoint holds the tensors of two"),
            HasSubstr("write \"architectures\": [\"BertForSequenceClassification\"] or \"architectures\": "
                      "[\"BertForMaskedLM\"] into config.json")));
  write_tensors(false, false);
  EXPECT_THAT(error_of_predict(), AllOf(HasSubstr("and the checkpoint holds no tensor of a head"),
                                        HasSubstr("hint: fine-tune it first")));
  write_tensors(true, false);
  set_architectures(Json::array({"BertModel"}));
  EXPECT_THAT(
      error_of_predict(),
      AllOf(HasSubstr("config.json names BertModel (model_type \"bert\"), an encoder without a head"),
            HasSubstr("to use it write \"architectures\": [\"BertForSequenceClassification\"] into")));
}

TEST_F(Heads, ARunThatDidNotEndHasCheckpoints) {
  const std::string run = world / "run";
  std::filesystem::create_directories(run);
  std::filesystem::copy(folder, run + "/checkpoint-2", std::filesystem::copy_options::recursive);
  folder = run;
  EXPECT_THAT(error_of_predict(),
              AllOf(HasSubstr("run: config.json is missing"),
                    HasSubstr("name one of its checkpoints, for example " + run + "/checkpoint-2")));
  std::filesystem::remove_all(run + "/checkpoint-2");
  EXPECT_THAT(error_of_predict(), AllOf(HasSubstr("run: config.json is missing"),
                                        HasSubstr("a checkpoint folder holds config.json")));
}

TEST_F(Heads, InfoOfAFolderWithoutAHead) {
  set_architectures(Json::array({"BertModel"}));
  write_tensors(false, false);
  EXPECT_THAT(graft_output({"info", "--model", folder}),
              AllOf(HasSubstr("bert for sentence-embedding in " + folder + "\n"), Not(HasSubstr("labels"))));
  const Json info = json_lines(graft_output({"info", "--model", folder, "--json"})).front();
  EXPECT_EQ(info["head"], "sentence-embedding");
  EXPECT_EQ(info["task"], "sentence-embedding");
  EXPECT_FALSE(info.contains("labels"));
  const Json whole = json_lines(graft_output({"info", "--model", world.model(), "--json"})).front();
  EXPECT_EQ(whole["head"], "sequence-classification");
}

}  // namespace
}  // namespace graft::test
