// ModernBERT: the keys of both releases, the layouts they give, biases, the start of the weights.
#include <cmath>

#include "models/model_case.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

struct ModernBert : testing::Test {
  TempDir dir;
  Model with(const std::function<void(Json&)>& edit,
             const std::string& name = "modernbert/seqcls_mean") const {
    copy_with_config(fixture_folder(name), dir / "m", edit);
    return load_model(dir / "m");
  }
  static std::vector<float> probe(const Model& model) {
    return logits_of(model, RandomFeatures(model, 9, 40, 7).batch(9));
  }
};

// What 5.24 writes for the same model.
void with_keys_of_release_5(Json& c) {
  for (const char* key : {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"})
    c.erase(key);
  c["layer_types"] = {"full_attention", "sliding_attention", "sliding_attention", "full_attention"};
  c["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 160000.0}}},
                          {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000.0}}}};
}

TEST_F(ModernBert, TheKeysOfBothReleasesGiveTheSameBits) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  const std::vector<float> expected = probe(load_model(folder));
  EXPECT_TRUE(same_bits(expected, probe(with(with_keys_of_release_5))));
  EXPECT_TRUE(same_bits(
      expected, probe(with([](Json& c) {  // defaults of both
        for (const char* key : {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"})
          c.erase(key);
      }))));
  EXPECT_TRUE(same_bits(expected, probe(with([](Json& c) {  // rope_parameters without a base
                          c["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}}}};
                        }))));
}

TEST_F(ModernBert, EachKeyChangesWhatItNames) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  const std::vector<float> expected = probe(load_model(folder));
  const std::vector<std::pair<const char*, Json>> changes = {
      {"global_attn_every_n_layers", 2},
      {"layer_types",
       Json::array({"sliding_attention", "sliding_attention", "full_attention", "full_attention"})},
      {"global_rope_theta", 10000.0},
      {"local_rope_theta", 500.0},
      {"local_rope_theta", Json()},  // null: the base of the global layers
      {"rope_parameters", {{"sliding_attention", {{"rope_theta", 500.0}}}}},
      {"local_attention", 8},
      {"hidden_activation", "relu"},
      {"classifier_activation", "relu"},
      {"norm_eps", 0.01}};
  for (const auto& [key, value] : changes)
    EXPECT_GT(largest_difference(expected, probe(with([&, k = key, v = value](Json& c) { c[k] = v; }))), 1e-3)
        << key << " " << value.dump();
  // Half of the window to each side: 6 and 7 are one model.
  EXPECT_TRUE(same_bits(expected, probe(with([](Json& c) { c["local_attention"] = 7; }))));
}

TEST_F(ModernBert, WhatCannotBeIsRefusedByName) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  const auto refusal = [&](const char* key, const Json& value) {
    return error_of([&] { with([&](Json& c) { c[key] = value; }, "modernbert/seqcls_mean"); });
  };
  EXPECT_THAT(refusal("layer_types", Json::array({"full_attention"})),
              AllOf(HasSubstr("config.json: \"layer_types\" must be an array of 4 names")));
  EXPECT_THAT(refusal("layer_types", Json::array({"full_attention", "chunked_attention", "full_attention",
                                                  "full_attention"})),
              AllOf(HasSubstr("\"layer_types\" has \"chunked_attention\" for layer 1"),
                    HasSubstr("sliding_attention")));
  EXPECT_THAT(refusal("rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}),
              AllOf(HasSubstr("\"rope_parameters\" of full_attention: \"rope_type\" is \"yarn\""),
                    HasSubstr("\"rope_type\": \"default\"")));
  EXPECT_THAT(refusal("rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}),
              HasSubstr("\"rope_scaling\" is"));
  EXPECT_THAT(refusal("global_rope_theta", -1), HasSubstr("\"global_rope_theta\" is -1"));
  EXPECT_THAT(refusal("classifier_pooling", "max"), HasSubstr("\"classifier_pooling\" is \"max\""));
  EXPECT_THAT(refusal("initializer_cutoff_factor", 0), HasSubstr("\"initializer_cutoff_factor\" is 0"));
  EXPECT_THAT(refusal("num_attention_heads", 32), HasSubstr("heads of 1 values have no rotary positions"));
}

// Release 4.57 has no layer_types: a folder of release 5 keeps its keys and gets those of release 4.
TEST_F(ModernBert, ASavedFolderHasTheKeysOfBothReleases) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  with(with_keys_of_release_5).save_pretrained(dir / "saved");
  Json config = read_json(dir / "saved" / "config.json");
  EXPECT_EQ(config["global_attn_every_n_layers"], 3);
  EXPECT_EQ(config["global_rope_theta"], 160000.0);
  EXPECT_EQ(config["local_rope_theta"], 10000.0);
  EXPECT_EQ(config["layer_types"].size(), 4u);
  // An irregular layout has no such number.
  with([](Json& c) {
    with_keys_of_release_5(c);
    c["layer_types"][0] = "sliding_attention";
  }).save_pretrained(dir / "irregular");
  EXPECT_FALSE(read_json(dir / "irregular" / "config.json").contains("global_attn_every_n_layers"));
}

TEST_F(ModernBert, BiasesStandWhereTheKeysAskForThem) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  ModelOptions options;
  options.task = "masked-lm";
  const std::vector<std::pair<const char*, std::vector<std::string>>> flags = {
      {"attention_bias", {"model.layers.1.attn.Wqkv.bias", "model.layers.3.attn.Wo.bias"}},
      {"mlp_bias", {"model.layers.0.mlp.Wi.bias", "model.layers.0.mlp.Wo.bias"}},
      {"norm_bias",
       {"model.embeddings.norm.bias", "model.layers.1.attn_norm.bias", "model.final_norm.bias",
        "head.norm.bias"}},
      {"classifier_bias", {"head.dense.bias"}},
      {"decoder_bias", {"decoder.bias"}}};
  for (const auto& [flag, names] : flags) {
    for (const bool value : {false, true}) {
      copy_with_config(folder, dir / "b", [&, key = flag](Json& c) { c[key] = value; });
      const Model model = Model::from_config(dir / "b", options);
      for (const std::string& name : names)
        EXPECT_EQ(model.state().parameters.find(name) != nullptr, value) << flag << " " << name;
    }
  }
}

// _init_weights: normal values within the cutoff; smaller ones where a layer adds to the residual stream.
TEST_F(ModernBert, WeightsStartWithoutTails) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  const Model model = Model::from_config(folder);
  const auto largest_and_deviation = [&](const char* name) {
    const engine::Parameter& p = *model.state().parameters.find(name);
    const float* w = model.state().parameters.value(p);
    float largest = 0;
    for (int64_t i = 0; i < p.size; ++i) largest = std::max(largest, std::fabs(w[i]));
    return std::pair<double, double>(largest,
                                     l2_norm({w, w + p.size}) / std::sqrt(static_cast<double>(p.size)));
  };
  // The deviation of a normal distribution cut at two deviations is 0.88 of its own.
  for (const auto& [name, std] :
       std::vector<std::pair<const char*, double>>{{"model.layers.0.attn.Wqkv.weight", 0.02},
                                                   {"model.layers.2.mlp.Wi.weight", 0.02},
                                                   {"model.layers.2.mlp.Wo.weight", 0.02 / std::sqrt(8.0)},
                                                   {"head.dense.weight", 0.02 / std::sqrt(8.0)}}) {
    const auto [largest, deviation] = largest_and_deviation(name);
    EXPECT_LE(largest, 2 * std + 1e-9) << name;
    EXPECT_GT(largest, 1.9 * std) << name;
    EXPECT_NEAR(deviation, 0.88 * std, 0.04 * std) << name;
  }
  EXPECT_LE(largest_and_deviation("classifier.weight").first, 2 / std::sqrt(32.0));
}

TEST_F(ModernBert, AMeanReadsEveryRow) {
  GRAFT_SHARED_PATH(folder, "golden/modernbert/seqcls_mean");
  const Model mean = load_model(folder),
              cls = with([](Json&c) { c["classifier_pooling"] = "cls"; }, "modernbert/seqcls_mean");
  EXPECT_GT(largest_difference(probe(mean), probe(cls)), 1e-3);
  data::RaggedBatch one;  // of one token both are the same
  const int32_t id = 7;
  one.append(&id, nullptr, 1, 0);
  EXPECT_LE(largest_difference(logits_of(mean, one), logits_of(cls, one)), 1e-5);
}

}  // namespace
}  // namespace graft::test
