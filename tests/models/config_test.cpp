// config.json: what does not fit is named; random weights, parameter groups and sizes are the reference's.
#include <cmath>
#include <set>

#include "models/model_case.h"
#include "models/registry.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

ModelOptions with_task(const std::string& task) {
  ModelOptions o;
  o.task = task;
  return o;
}

ModelOptions with_seed(uint64_t seed) {
  ModelOptions o;
  o.num_labels = 3;
  o.seed = seed;
  return o;
}

TEST(Config, FoldersAndConfigsThatDoNotFitAreNamed) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  TempDir dir;
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "nowhere"); }),
              AllOf(HasSubstr("nowhere"), HasSubstr("no such folder")));
  fs::create_directories(dir / "empty");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "empty"); }), HasSubstr("config.json is missing"));

  copy_with_config(folder, dir / "type", [](Json& config) { config["model_type"] = "berd"; });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "type"); }),
              AllOf(HasSubstr("\"berd\""), HasSubstr("bert"), HasSubstr("roberta"), HasSubstr("xlm-roberta"),
                    HasSubstr("distilbert"), HasSubstr("did you mean \"bert\""), HasSubstr("config.json")));

  for (const char* key : {"hidden_size", "vocab_size", "num_attention_heads", "num_hidden_layers",
                          "intermediate_size", "max_position_embeddings", "model_type"}) {
    const fs::path bad = dir / key;
    copy_with_config(folder, bad, [&](Json& config) { config.erase(key); });
    EXPECT_THAT(error_of([&] { Model::from_pretrained(bad); }),
                AllOf(HasSubstr("config.json"), HasSubstr("\"" + std::string(key) + "\" is missing")));
  }
  copy_with_config(folder, dir / "text", [](Json& config) { config["hidden_size"] = "32"; });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "text"); }),
              AllOf(HasSubstr("\"hidden_size\""), HasSubstr("\"32\"")));
  copy_with_config(folder, dir / "heads", [](Json& config) { config["num_attention_heads"] = 5; });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "heads"); }), HasSubstr("not a multiple of 5"));
  copy_with_config(folder, dir / "act", [](Json& config) { config["hidden_act"] = "maxout"; });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "act"); }),
              AllOf(HasSubstr("\"maxout\""), HasSubstr("gelu")));
  copy_with_config(folder, dir / "labels", [](Json& config) {
    config["id2label"] = {{"0", "a"}, {"7", "b"}};
  });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "labels"); }),
              AllOf(HasSubstr("id2label"), HasSubstr("\"7\"")));
}

TEST(Config, TasksAreNamedOrRefused) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  EXPECT_EQ(Model::from_pretrained(folder, with_task("text-classification")).task(),
            "sequence-classification");
  EXPECT_EQ(models::canonical_task("fill-mask"), "masked-lm");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(folder, with_task("masked-ml")); }),
              AllOf(HasSubstr("masked-ml is not known"), HasSubstr("did you mean --task masked-lm")));
  EXPECT_EQ(models::canonical_task("ner"), "token-classification");
}

TEST(FromConfig, StartsAsTheReferenceDoesAndFromTheSeed) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* architecture : {"bert", "roberta", "xlm-roberta", "distilbert"}) {
    const fs::path config = golden / architecture / "seqcls_single" / "config.json";
    const Model a = Model::from_config(config, with_seed(1));
    EXPECT_TRUE(same_bits(all_values(a), all_values(Model::from_config(config, with_seed(1)))));
    EXPECT_FALSE(same_bits(all_values(a), all_values(Model::from_config(config, with_seed(2)))));
    const engine::Parameter* words = a.state().network.encoder->word_embeddings();
    const float* w = a.state().parameters.value(*words);
    const int64_t padding = a.state().config.integer_or("pad_token_id", 0);
    for (int64_t c = 0; c < 32; ++c) EXPECT_EQ(w[padding * 32 + c], 0) << architecture;
    EXPECT_NEAR(l2_norm({w, w + words->size}) / std::sqrt(199.0 * 32.0), 0.02, 0.001) << architecture;
    for (const engine::Parameter& p : a.state().parameters.parameters()) {
      const bool norm =
          p.name.find("LayerNorm.") != std::string::npos || p.name.find("layer_norm.") != std::string::npos;
      const float* v = a.state().parameters.value(p);
      const std::vector<float> values(v, v + p.size);
      if (p.name.ends_with(".bias")) {
        EXPECT_THAT(values, Each(0.0f)) << p.name;
      } else if (norm) {
        EXPECT_THAT(values, Each(1.0f)) << p.name;
      }
    }
  }
}

// The reference's parameter groups, which the fixtures name: no decay on biases and normalisation layers.
TEST(Parameters, DecayGroupsAreTheReferences) {
  for (const std::string& name : fixture_names()) {
    const Json meta = read_json(fixture_folder(name) / "meta.json");
    std::set<std::string> decay, no_decay;
    const Model model = load_model(fixture_folder(name));
    for (const engine::Parameter& p : model.state().parameters.parameters()) {
      (p.no_decay ? no_decay : decay).insert(p.name);
    }
    EXPECT_EQ(decay, meta.at("decay").get<std::set<std::string>>()) << name;
    EXPECT_EQ(no_decay, meta.at("no_decay").get<std::set<std::string>>()) << name;
  }
}

// Parameter counts of the published checkpoints' classes, from the shapes in their configurations: BERT-base
// with two labels 109,483,778; RoBERTa-base 124,647,170; XLM-R-base 278,045,186; DistilBERT 66,955,010.
TEST(FromConfig, PublishedSizesHaveThePublishedNumberOfParameters) {
  const auto parameters = [](Json json) {
    models::ModelConfig config(std::move(json), "test");
    engine::ParameterStore store;
    const models::Network network =
        models::find_head(models::find_family(config), "sequence-classification", config).make(store, config);
    return store.num_parameters();
  };
  const Json base = {{"hidden_size", 768},
                     {"num_hidden_layers", 12},
                     {"num_attention_heads", 12},
                     {"intermediate_size", 3072},
                     {"num_labels", 2}};
  const auto kin = [&](const char* type, int vocabulary, int positions, int types) {
    Json json = base;
    json["model_type"] = type;
    json["vocab_size"] = vocabulary;
    json["max_position_embeddings"] = positions;
    json["type_vocab_size"] = types;
    return json;
  };
  EXPECT_EQ(parameters(kin("bert", 30522, 512, 2)), 109'483'778);
  EXPECT_EQ(parameters(kin("roberta", 50265, 514, 1)), 124'647'170);
  EXPECT_EQ(parameters(kin("xlm-roberta", 250002, 514, 1)), 278'045'186);
  const Json distil = {{"model_type", "distilbert"},
                       {"dim", 768},
                       {"n_layers", 6},
                       {"n_heads", 12},
                       {"hidden_dim", 3072},
                       {"max_position_embeddings", 512},
                       {"vocab_size", 30522},
                       {"num_labels", 2}};
  EXPECT_EQ(parameters(distil), 66'955'010);
}

}  // namespace
}  // namespace graft::test
