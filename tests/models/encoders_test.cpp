// MPNet, ELECTRA and ALBERT: the keys of their own, and what their parts share.
#include "models/model_case.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> logits_of_random(const Model& model) {
  return logits_of(model, RandomFeatures(model, 9, 30, 7).batch(9));
}

// The reference's table may have more rows than the 32 buckets in use, whatever the key says.
TEST(MPNet, UsesThirtyTwoBucketsWhateverTheConfigSays) {
  GRAFT_SHARED_PATH(folder, "golden/mpnet/seqcls_single");
  TempDir dir;
  copy_with_config(folder, dir / "m", [](Json& c) { c["relative_attention_num_buckets"] = 40; });
  OwnedTensors owned(folder / "model.safetensors");
  for (size_t i = 0; i < owned.tensors.size(); ++i) {
    if (owned.tensors[i].name != "mpnet.encoder.relative_attention_bias.weight") continue;
    owned.tensors[i].shape[0] = 40;
    owned.values[i].resize(40 * 4, 1e3f);  // never read
    owned.tensors[i].data = owned.values[i].data();
  }
  hub::write_safetensors(dir / "m" / "model.safetensors", owned.tensors);
  EXPECT_TRUE(same_bits(logits_of_random(load_model(folder)), logits_of_random(load_model(dir / "m"))));
  copy_with_config(folder, dir / "few", [](Json& c) { c["relative_attention_num_buckets"] = 16; });
  EXPECT_THAT(error_of([&] { load_model(dir / "few"); }),
              HasSubstr("\"relative_attention_num_buckets\" is 16; MPNet always uses 32 buckets"));
}

// Fixed in the reference: pad_token_id of the file names the row that gets no gradient in other families.
TEST(MPNet, PositionsCountFromTwo) {
  GRAFT_SHARED_PATH(folder, "golden/mpnet/seqcls_single");
  const Model model = load_model(folder);
  EXPECT_EQ(model.max_positions(), 40);
  for (const char* part : {"word_embeddings", "position_embeddings"})
    EXPECT_EQ(model.state().parameters.find(std::string("mpnet.embeddings.") + part + ".weight")->padding_row,
              1);
  TempDir dir;
  copy_with_config(folder, dir / "short", [](Json& c) { c["max_position_embeddings"] = 2; });
  EXPECT_THAT(error_of([&] { load_model(dir / "short"); }), HasSubstr("leaves no position for a token"));
}

TEST(Electra, ProjectsEmbeddingsOfAnotherSizeOnly) {
  GRAFT_SHARED_PATH(folder, "golden/electra/mlm");
  TempDir dir;
  copy_with_config(folder, dir / "same", [](Json& c) { c["embedding_size"] = 32; });
  ModelOptions options;
  options.task = "masked-lm";
  const Model same = Model::from_config(dir / "same", options), other = Model::from_config(folder, options);
  EXPECT_EQ(same.state().parameters.find("electra.embeddings_project.weight"), nullptr);
  EXPECT_THAT(other.state().parameters.find("electra.embeddings_project.weight")->shape, ElementsAre(32, 16));
  EXPECT_THAT(other.state().parameters.find("generator_predictions.dense.weight")->shape,
              ElementsAre(16, 32));
}

// A discriminator's folder, whose own head no task here has, fine-tunes as a classifier.
TEST(Electra, ADiscriminatorsHeadIsLeftOver) {
  GRAFT_SHARED_PATH(folder, "golden/electra/seqcls_single");
  TempDir dir;
  copy_with_names(folder, dir / "d", [](const std::string& name) {
    return name.starts_with("classifier.dense.") ? "discriminator_predictions.dense" + name.substr(16)
           : name.starts_with("classifier.")     ? ""
                                                 : name;
  });
  ModelOptions options;
  options.num_labels = 3;
  const Model model = Model::from_pretrained(dir / "d", options);
  EXPECT_EQ(model.load_report().missing.size(), 4u);
  EXPECT_THAT(model.load_report().unexpected,
              ElementsAre("discriminator_predictions.dense.bias", "discriminator_predictions.dense.weight"));
}

// The reference's defaults, its activations and dropouts; another kind of summary is another model.
TEST(Electra, ASummaryOfAnotherKindIsRefusedByName) {
  GRAFT_SHARED_PATH(folder, "golden/electra/multiple_choice");
  TempDir dir;
  const auto with = [&](const char* key, const Json& value) {
    copy_with_config(folder, dir / "m", [&](Json& c) { c[key] = value; });
    return dir / "m";
  };
  for (const auto& [key, value] : std::vector<std::pair<const char*, Json>>{
           {"summary_type", "mean"}, {"summary_use_proj", false}, {"summary_proj_to_labels", true}}) {
    EXPECT_THAT(error_of([&, k = key, v = value] { load_model(with(k, v)); }),
                AllOf(HasSubstr(std::string("config.json: \"") + key + "\" is "),
                      HasSubstr("graft does not implement"), HasSubstr("use a checkpoint with")));
  }
  data::RaggedBatch batch;
  const std::vector<int32_t> ids = {5, 6, 7, 8, 9};
  batch.append(ids.data(), nullptr, 5, 0);
  const auto logits = [&](const fs::path& model) { return logits_of(load_model(model), batch); };
  const std::vector<float> gelu = logits(folder), relu = logits(with("summary_activation", "relu")),
                           none = logits(with("summary_activation", Json())),
                           tanh = logits(with("summary_activation", "tanh"));
  EXPECT_GT(largest_difference(gelu, relu), 1e-3);
  EXPECT_GT(largest_difference(gelu, none), 1e-3);
  EXPECT_GT(largest_difference(none, tanh), 1e-3);
}

TEST(Albert, LayersOfAGroupShareTheirParameters) {
  GRAFT_SHARED_PATH(folder, "golden/albert/seqcls_single");
  TempDir dir;
  const auto groups = [&](int64_t layers, int64_t groups, int64_t inner) {
    copy_with_config(folder, dir / "g", [&](Json& c) {
      c["num_hidden_layers"] = layers;
      c["num_hidden_groups"] = groups;
      c["inner_group_num"] = inner;
    });
    return Model::from_config(dir / "g");
  };
  const int64_t one = groups(2, 1, 1).num_parameters();
  EXPECT_EQ(groups(12, 1, 1).num_parameters(), one);
  const int64_t layer = groups(12, 2, 1).num_parameters() - one;
  EXPECT_EQ(groups(12, 2, 3).num_parameters(), one + 5 * layer);
  EXPECT_GT(layer, 0);
  // More passes are another result.
  EXPECT_GT(largest_difference(logits_of_random(groups(2, 1, 1)), logits_of_random(groups(4, 1, 1))), 1e-5);
  copy_with_config(folder, dir / "g", [](Json& c) { c["num_hidden_groups"] = 101; });
  EXPECT_THAT(error_of([&] { Model::from_config(dir / "g"); }),
              HasSubstr("\"num_hidden_groups\" is 101; at most 100 are possible"));
}

// Two groups with the weights of one are the same model.
TEST(Albert, AGroupForEachLayerWithTheSameWeightsGivesTheSameBits) {
  GRAFT_SHARED_PATH(folder, "golden/albert/seqcls_single");
  TempDir dir;
  copy_with_config(folder, dir / "two", [](Json& c) { c["num_hidden_groups"] = 2; });
  OwnedTensors owned(folder / "model.safetensors");
  const std::string first = "albert.encoder.albert_layer_groups.0";
  for (size_t i = 0, n = owned.tensors.size(); i < n; ++i) {
    hub::TensorToWrite copy = owned.tensors[i];
    if (!copy.name.starts_with(first)) continue;
    copy.name = "albert.encoder.albert_layer_groups.1" + copy.name.substr(first.size());
    owned.tensors.push_back(copy);
  }
  hub::write_safetensors(dir / "two" / "model.safetensors", owned.tensors);
  const Model one = load_model(folder), two = load_model(dir / "two");
  EXPECT_GT(two.num_parameters(), one.num_parameters());
  EXPECT_TRUE(same_bits(logits_of_random(one), logits_of_random(two)));
}

TEST(Families, WhatIsNotImplementedIsRefusedByName) {
  for (const char* name : {"electra/seqcls_single", "albert/seqcls_single"}) {
    GRAFT_SHARED_PATH(folder, std::string("golden/") + name);
    TempDir dir;
    copy_with_config(folder, dir / "m", [](Json& c) { c["position_embedding_type"] = "relative_key"; });
    EXPECT_THAT(
        error_of([&] { load_model(dir / "m"); }),
        AllOf(HasSubstr("\"position_embedding_type\" is \"relative_key\""), HasSubstr("\"absolute\"")));
  }
}

}  // namespace
}  // namespace graft::test
