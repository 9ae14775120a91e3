#include "train/parameter_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "graft/error.h"
#include "models/state.h"
#include "support/shared.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace graft::test;
using testing::HasSubstr;

using Values = std::map<std::string, std::vector<float>>;

Values values_of(const Model& model) {
  Values out;
  const engine::ParameterStore& store = model.state().parameters;
  for (const engine::Parameter& p : store.parameters())
    out[p.name] = {store.value(p), store.value(p) + p.size};
  return out;
}

class ParameterChoice : public testing::Test {
 protected:
  ParameterChoice() : data_(Dataset::from_file(run_.single_csv("train.csv", 40, 1))) {}
  Model model(const std::string& type = "bert") const {
    return run_.model("sequence-classification", {"blue", "green", "red"}, 0, type);
  }
  // Names of the parameters that a short training changes.
  std::vector<std::string> changed_by(const TrainingArguments& a, const std::string& type = "bert") const {
    Model m = model(type);
    const Values before = values_of(m);
    Trainer(m, a, {data_, {}, run_.tokenizer()}).train();
    std::vector<std::string> names;
    for (const auto& [name, values] : values_of(m))
      if (values != before.at(name)) names.push_back(name);
    return names;
  }
  TinyRun run_;
  Dataset data_;
};

TEST_F(ParameterChoice, FreezeLayersKeepsTheLowestAndTheEmbeddings) {
  TrainingArguments a = run_.arguments();
  a.freeze_layers = 1;
  for (const auto& [type, below] : {std::pair{"bert", "bert.encoder.layer.0."},
                                    {"distilbert", "distilbert.transformer.layer.0."},
                                    {"roberta", "roberta.encoder.layer.0."}}) {
    const std::vector<std::string> changed = changed_by(a, type);
    EXPECT_FALSE(changed.empty());
    for (const std::string& name : changed) {
      EXPECT_FALSE(name.starts_with(below)) << name;
      EXPECT_THAT(name, testing::Not(HasSubstr("embeddings"))) << name;
    }
  }
}

// What stands below the layers beside the embeddings: projections of them, a table of relative positions.
TEST_F(ParameterChoice, FreezeLayersKeepsWhatStandsBelowTheLayers) {
  TrainingArguments a;
  a.freeze_layers = 1;
  for (const auto& [name, below] :
       {std::pair{"mpnet/seqcls_single", "mpnet.encoder.relative_attention_bias.weight"},
        {"electra/seqcls_single", "electra.embeddings_project.bias"},
        {"albert/seqcls_single", "albert.encoder.embedding_hidden_mapping_in.weight"}}) {
    GRAFT_SHARED_PATH(folder, std::string("golden/") + name);
    Model m = Model::from_pretrained(folder);
    const engine::Parameter& p = *m.state().parameters.find(below);
    a.layerwise_lr_decay = 0.5;
    choose_parameters(m, a);
    EXPECT_FALSE(p.trainable) << below;
    EXPECT_LT(p.lr_scale, 1) << below;
    EXPECT_TRUE(m.state().parameters.find("classifier.bias") == nullptr ||
                m.state().parameters.find("classifier.bias")->trainable);
  }
}

TEST_F(ParameterChoice, FreezeTakesPatterns) {
  TrainingArguments a = run_.arguments();
  a.freeze = "bert.embeddings.*,bert.encoder.layer.[0-1].*";
  for (const std::string& name : changed_by(a))
    EXPECT_TRUE(name.starts_with("classifier.") || name.starts_with("bert.pooler.")) << name;
  a.freeze = "*bias";
  for (const std::string& name : changed_by(a)) EXPECT_FALSE(name.ends_with("bias")) << name;
}

// The rate itself for the head and the top layer, one factor more for each part below.
TEST_F(ParameterChoice, LayerwiseDecayFollowsTheDepth) {
  TrainingArguments a = run_.arguments();
  a.layerwise_lr_decay = 0.5;
  Model m = model();
  choose_parameters(m, a);
  const auto scale = [&](const char* name) { return m.state().parameters.find(name)->lr_scale; };
  EXPECT_EQ(scale("classifier.weight"), 1);
  EXPECT_EQ(scale("bert.pooler.dense.bias"), 1);
  EXPECT_EQ(scale("bert.encoder.layer.1.output.dense.weight"), 1);
  EXPECT_EQ(scale("bert.encoder.layer.0.output.dense.weight"), 0.5);
  EXPECT_EQ(scale("bert.embeddings.word_embeddings.weight"), 0.25);
}

TEST_F(ParameterChoice, ReinitLayersStartsTheTopAnew) {
  TrainingArguments a = run_.arguments();
  a.reinit_layers = 1;
  a.seed = 7;
  Model m = model();
  const Values before = values_of(m);
  choose_parameters(m, a);
  const Values after = values_of(m),
               fresh =
                   values_of(run_.model("sequence-classification", {"blue", "green", "red"}, 0, "bert", 7));
  for (const auto& [name, values] : after)
    EXPECT_EQ(values, name.starts_with("bert.encoder.layer.1.") ? fresh.at(name) : before.at(name)) << name;
  EXPECT_NE(after.at("bert.encoder.layer.1.output.dense.weight"),
            before.at("bert.encoder.layer.1.output.dense.weight"));
}

TEST_F(ParameterChoice, WhatCannotBeIsNamed) {
  const auto error = [&](const auto& change) {
    TrainingArguments a = run_.arguments();
    change(a);
    return error_of([&] { Trainer(model(), a, {data_, {}, run_.tokenizer()}); });
  };
  EXPECT_THAT(error([](TrainingArguments& a) { a.freeze = "bert.encoders.*"; }), HasSubstr("bert.encoder"));
  EXPECT_THAT(error([](TrainingArguments& a) { a.freeze = "*"; }), HasSubstr("nothing is left to train"));
  EXPECT_THAT(error([](TrainingArguments& a) { a.freeze_layers = 3; }), HasSubstr("the model has 2 layers"));
  EXPECT_THAT(error([](TrainingArguments& a) { a.reinit_layers = 3; }), HasSubstr("the model has 2 layers"));
  EXPECT_THAT(error([](TrainingArguments& a) { a.reinit_layers = 1, a.freeze_layers = 2; }),
              testing::AllOf(HasSubstr("bert.encoder.layer.1."), HasSubstr("is frozen")));
  EXPECT_THAT(error([](TrainingArguments& a) { a.layerwise_lr_decay = 0; }), HasSubstr("layerwise_lr_decay"));
}

}  // namespace
}  // namespace graft::train
