// config.json: what changes the computation and is not implemented is refused, what is not known is named,
// and values of a wrong type or size are errors that name file and key.
#include <algorithm>

#include "base/log.h"
#include "graft/error.h"
#include "models/config_keys.h"
#include "models/model_case.h"
#include "models/registry.h"
#include "models/weights.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The warnings of f.
std::vector<std::string> warnings_of(const std::function<void()>& f) {
  std::vector<std::string> texts;
  const LogSink former = set_log_sink([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::warning) texts.push_back(text);
  });
  f();
  set_log_sink(former);
  return texts;
}

struct ConfigKeys : testing::Test {
  TempDir dir;
  fs::path with(const fs::path& fixture, const std::function<void(Json&)>& edit) const {
    copy_with_config(fixture, dir / "m", edit);
    return dir / "m";
  }
  std::string refusal(const fs::path& fixture, const std::string& key, const Json& value) const {
    const fs::path folder = with(fixture, [&](Json& config) { config[key] = value; });
    return error_of([&] { load_model(folder); });
  }
};

TEST_F(ConfigKeys, WhatIsNotImplementedIsRefusedByName) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::pair<const char*, Json>> all = {
      {"is_decoder", true},
      {"add_cross_attention", true},
      {"is_encoder_decoder", true},
      {"pruned_heads", Json::object()},
      {"per_layer_config", Json::object()},
      {"quantization_config", {{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}}}};
  for (const char* name :
       {"bert/seqcls_single", "roberta/mlm", "xlm-roberta/mlm", "distilbert/seqcls_single"}) {
    for (auto [key, value] : all) {
      if (value.is_object() && value.empty()) {
        EXPECT_EQ(load_model(with(golden / name, [&, k = key, v = value](Json& c) { c[k] = v; }))
                      .load_report()
                      .missing.size(),
                  0u);
        value["0"] = Json::array({1});
      }
      EXPECT_THAT(refusal(golden / name, key, value),
                  AllOf(HasSubstr((dir / "m" / "config.json").string() + ": \"" + key + "\" is "),
                        HasSubstr("graft does not implement")))
          << name;
    }
  }
  for (const char* type : {"relative_key", "relative_key_query", "rope", "alibi"})
    EXPECT_THAT(refusal(golden / "bert/seqcls_single", "position_embedding_type", type),
                AllOf(HasSubstr("\"position_embedding_type\" is \"" + std::string(type) + "\""),
                      HasSubstr("\"absolute\"")));
}

// The keys that 4.57.6 and 5.24.0 write, and older files have, without effect on these models.
TEST_F(ConfigKeys, HarmlessKeysAreAcceptedWithoutAWord) {
  for (const std::string& name : single_and_mlm_names()) {
    const fs::path folder = with(fixture_folder(name), [](Json& c) {
      c["chunk_size_feed_forward"] = 2;
      c["use_cache"] = false;
      c["gradient_checkpointing"] = true;
      c["output_attentions"] = c["torchscript"] = true;
      c["is_decoder"] = c["add_cross_attention"] = false;
      c["pruned_heads"] = Json::object();
      c["pooler_fc_size"] = 768;
      c["directionality"] = "bidi";
      c["bos_token_id"] = Json();
      c["transformers_version"] = "5.24.0";
      c["temperature"] = 1.0;
    });
    Model model = load_model(fixture_folder(name));
    EXPECT_THAT(warnings_of([&] { model = load_model(folder); }), IsEmpty()) << name;
    EXPECT_TRUE(same_bits(all_values(model), all_values(load_model(fixture_folder(name)))));
  }
}

TEST_F(ConfigKeys, UnknownKeysGetOneWarning) {
  GRAFT_SHARED_PATH(golden, "golden");
  const fs::path folder = with(golden / "bert/seqcls_single", [](Json& c) {
    c["attention_window"] = 512;
    c["rotary_value"] = true;
  });
  EXPECT_THAT(
      warnings_of([&] { load_model(folder); }),
      ElementsAre(AllOf(HasSubstr("config.json: unknown keys are ignored: attention_window, rotary_value"))));
}

TEST_F(ConfigKeys, DistilBertsSecondSpellings) {
  GRAFT_SHARED_PATH(fixture, "golden/distilbert/seqcls_single");
  const fs::path folder = with(fixture, [](Json& c) {
    c["hidden_size"] = c["dim"];
    c["num_hidden_layers"] = c["n_layers"];
    c.erase("dim");
    c.erase("n_layers");
  });
  EXPECT_TRUE(same_bits(all_values(load_model(folder)), all_values(load_model(fixture))));
  EXPECT_THAT(refusal(fixture, "num_attention_heads", 16),
              AllOf(HasSubstr("\"n_heads\" is"), HasSubstr("\"num_attention_heads\" is 16")));
}

TEST_F(ConfigKeys, SinusoidalPositionsAreInTheCheckpointOnly) {
  GRAFT_SHARED_PATH(fixture, "golden/distilbert/seqcls_single");
  const fs::path folder = with(fixture, [](Json& c) { c["sinusoidal_pos_embds"] = true; });
  EXPECT_TRUE(same_bits(all_values(load_model(folder)), all_values(load_model(fixture))));
  EXPECT_THAT(error_of([&] { Model::from_config(folder); }), HasSubstr("\"sinusoidal_pos_embds\" is true"));
}

TEST_F(ConfigKeys, ValuesOfAWrongTypeOrSizeNameFileAndKey) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::pair<const char*, Json>> bad = {{"hidden_size", "32"},
                                                         {"hidden_size", -32},
                                                         {"hidden_size", 0},
                                                         {"hidden_size", 1e300},
                                                         {"hidden_size", 33},
                                                         {"hidden_size", UINT64_MAX},
                                                         {"hidden_size", true},
                                                         {"vocab_size", 0},
                                                         {"vocab_size", int64_t{1} << 40},
                                                         {"num_hidden_layers", 1'000'000'000},
                                                         {"num_hidden_layers", 2.5},
                                                         {"num_attention_heads", Json::array({4})},
                                                         {"num_attention_heads", 0},
                                                         {"intermediate_size", int64_t{-1}},
                                                         {"layer_norm_eps", "1e-12"},
                                                         {"layer_norm_eps", -1.0},
                                                         {"initializer_range", "0.02"},
                                                         {"hidden_dropout_prob", "0.1"},
                                                         {"hidden_dropout_prob", 1.5},
                                                         {"type_vocab_size", 0},
                                                         {"type_vocab_size", "2"},
                                                         {"hidden_act", 3},
                                                         {"pad_token_id", "0"},
                                                         {"pad_token_id", -1},
                                                         {"pad_token_id", 200},
                                                         {"pad_token_id", UINT64_MAX},
                                                         {"max_position_embeddings", 0},
                                                         {"problem_type", "single-label"},
                                                         {"problem_type", 1},
                                                         {"tie_word_embeddings", "true"},
                                                         {"num_labels", -3},
                                                         {"num_labels", "3"},
                                                         {"id2label", Json::array({"a", "b"})},
                                                         {"model_type", 7}};
  for (const auto& [key, value] : bad) {
    const bool labels = std::string(key) == "num_labels";
    const bool decoder = std::string(key) == "tie_word_embeddings";
    const fs::path folder = with(golden / (decoder ? "bert/mlm" : "bert/seqcls_single"), [&](Json& c) {
      if (labels) c.erase("id2label");
      c[key] = value;
    });
    const std::string text = error_of([&] { load_model(folder); });
    EXPECT_THAT(text, HasSubstr((dir / "m" / "config.json").string())) << key << " " << value.dump();
    const bool as_sentence =
        value == Json(33);  // "the hidden size 33 is not a multiple of 4 attention heads"
    EXPECT_THAT(text, HasSubstr(as_sentence ? "hidden size" : key)) << key << " " << value.dump();
  }
}

TEST_F(ConfigKeys, AnAdapterIsNoModel) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const fs::path folder = with(fixture, [](Json&) {});
  dir.write("m/adapter_config.json", "{}");
  EXPECT_THAT(warnings_of([&] { load_model(folder); }),
              ElementsAre(HasSubstr("the adapter of adapter_config.json is not applied")));
  fs::remove(folder / "config.json");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(folder); }), HasSubstr("config.json is missing"));
  fs::remove(folder / "model.safetensors");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(folder); }),
              AllOf(HasSubstr("adapter_config.json: \"peft_type\" is \"\""),
                    HasSubstr("graft has LORA, IA3, PROMPT_TUNING and PREFIX_TUNING")));
}

// Whatever stands in config.json, a model is declared or a graft::Error names the file.
TEST_F(ConfigKeys, MutatedValuesAreErrorsOrModels) {
  const std::vector<Json> values = {Json(),
                                    0,
                                    -1,
                                    1,
                                    7,
                                    int64_t{1} << 31,
                                    INT64_MIN,
                                    UINT64_MAX,
                                    1e308,
                                    -0.5,
                                    1.5,
                                    true,
                                    false,
                                    "",
                                    "32",
                                    "null",
                                    "gelu",
                                    Json::array(),
                                    Json::object(),
                                    Json::array({1, "a"}),
                                    Json{{"0", "a"}, {"1", 2}},
                                    Json{{"-1", "a"}},
                                    std::string(300, 'x')};
  int errors = 0, models = 0;
  for (const std::string& name : fixture_names()) {
    if (!name.ends_with("seqcls_single") && !name.ends_with("mlm")) continue;
    const Json original = read_json(fixture_folder(name) / "config.json");
    for (const auto& [key, unused] : original.items()) {
      for (const Json& value : values) {
        Json json = original;
        json[key] = value;
        try {
          models::ModelConfig config(json, "dir/config.json");
          models::check_keys(config, false);
          models::resolve_second_spellings(config);
          config.warn_of_label_contradictions();
          config.labels_in_words();
          const std::string task = name.ends_with("mlm") ? "masked-lm" : "sequence-classification";
          const models::Family& family = models::find_family(config);
          const models::FamilyHead& head = models::find_head(family, task, config);
          config.check(family.sizes);
          models::task_of_config(config);
          models::head_in_words(config);
          engine::ParameterStore store;
          const models::Network network = head.make(store, config);
          ++models;
        } catch (const Error& e) {
          EXPECT_THAT(e.what(), HasSubstr("dir/config.json")) << key << " " << value.dump();
          ++errors;
        }
      }
    }
  }
  EXPECT_GT(errors, 300);
  EXPECT_GT(models, 300);
}

// Each cut of the file is an error that names it; so is a NUL byte, which the JSON reader would take for the
// end.
TEST_F(ConfigKeys, TruncatedOrDamagedJsonNamesTheFile) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const std::string text = read_json(fixture / "config.json").dump(2);
  for (size_t size = 0; size < text.size(); size += 1 + text.size() / 60) {
    dir.write("config.json", text.substr(0, size));
    EXPECT_THAT(error_of([&] { models::ModelConfig::from_file(dir / "config.json"); }),
                HasSubstr((dir / "config.json").string()))
        << size;
  }
  for (const std::string& nul : {text + std::string(1, '\0'), text + std::string("\0{}", 3),
                                 std::string("{\"model\0_type\":1}", 18)}) {
    dir.write("config.json", nul);
    EXPECT_THAT(error_of([&] { models::ModelConfig::from_file(dir / "config.json"); }),
                AllOf(HasSubstr((dir / "config.json").string()), HasSubstr("a NUL byte")));
  }
}

TEST_F(ConfigKeys, CamembertIsRobertaUnderAnotherName) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const auto& [name, head] : std::vector<std::pair<std::string, std::string>>{
           {"roberta/seqcls_single", "CamembertForSequenceClassification"},
           {"roberta/mlm", "CamembertForMaskedLM"}}) {
    const fs::path folder = with(golden / name, [&, head = head](Json& c) {
      c["model_type"] = "camembert";
      c["architectures"] = Json::array({head});
    });
    const Model model = load_model(folder);
    EXPECT_TRUE(same_bits(all_values(model), all_values(load_model(golden / name))));
    model.save_pretrained(dir / "saved");
    EXPECT_EQ(read_json(dir / "saved" / "config.json")["architectures"], Json::array({head}));
  }
}

// Its tensors have a prefix of their own.
TEST_F(ConfigKeys, Data2VecTextIsRobertaUnderOtherNames) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const auto& [name, head] : std::vector<std::pair<std::string, std::string>>{
           {"roberta/seqcls_single", "Data2VecTextForSequenceClassification"},
           {"roberta/mlm", "Data2VecTextForMaskedLM"}}) {
    copy_with_names(golden / name, dir / "d", [](const std::string& tensor) {
      return tensor.starts_with("roberta.") ? "data2vec_text." + tensor.substr(8) : tensor;
    });
    Json config = read_json(golden / name / "config.json");
    config["model_type"] = "data2vec-text";
    config["architectures"] = Json::array({head});
    write_json(dir / "d" / "config.json", config);
    const Model model = load_model(dir / "d"), roberta = load_model(golden / name);
    EXPECT_THAT(model.load_report().missing, IsEmpty());
    const data::RaggedBatch batch = RandomFeatures(model, 9, 30, 7).batch(9);
    EXPECT_TRUE(same_bits(logits_of(model, batch), logits_of(roberta, batch))) << name;
    model.save_pretrained(dir / "saved");
    EXPECT_EQ(read_json(dir / "saved" / "config.json")["architectures"], Json::array({head}));
  }
}

TEST_F(ConfigKeys, AHeadThatIsNotThereIsNamed) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const auto words = [&](const Json& architectures) {
    const fs::path folder = with(fixture, [&](Json& c) { c["architectures"] = architectures; });
    return models::head_in_words(models::ModelConfig::from_file(folder / "config.json"));
  };
  EXPECT_EQ(words(Json::array({"BertModel"})),
            "config.json names BertModel (model_type \"bert\"), an encoder without a head");
  EXPECT_EQ(words(Json::array({"BertForMaskedLM"})),
            "config.json names BertForMaskedLM (model_type \"bert\"), a masked-lm head");
  EXPECT_EQ(words(Json::array()), "config.json has no \"architectures\", which name the head");
  const fs::path xlnet = with(fixture, [](Json& c) {
    c["model_type"] = "xlnet";
    c["architectures"] = Json::array({"XLNetForSequenceClassification"});
  });
  EXPECT_THAT(
      error_of([&] { load_model(xlnet); }),
      AllOf(HasSubstr("model_type \"xlnet\" is not implemented; graft has: bert"), HasSubstr("config.json")));
}

// Labels: id2label counts; what contradicts it, or the head, is said with what to do.
TEST_F(ConfigKeys, LabelsThatDoNotFitTheHead) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");  // a head of 3
  const auto refusal_of = [&](const std::function<void(Json&)>& edit) {
    const fs::path folder = with(fixture, [&](Json& c) {
      for (const char* key : {"id2label", "label2id", "num_labels"}) c.erase(key);
      edit(c);
    });
    const std::string text = error_of([&] { Model::from_pretrained(folder); });
    EXPECT_THAT(
        text,
        AllOf(HasSubstr("classifier.weight is [3, 32]"), HasSubstr("the head in the checkpoint has 3 labels"),
              HasSubstr("give \"id2label\" in " + (folder / "config.json").string() + " 3 names")));
    EXPECT_EQ(text.find("ignore_mismatched_sizes"), std::string::npos);
    return text;
  };
  EXPECT_THAT(refusal_of([](Json&) {}), HasSubstr("it has no \"id2label\", which means 2 labels"));
  EXPECT_THAT(refusal_of([](Json& c) {
                c["id2label"] = {{"0", "a"}, {"1", "b"}};
              }),
              HasSubstr("\"id2label\" names 2 labels"));
  EXPECT_THAT(refusal_of([](Json& c) {
                c["id2label"] = {{"0", "a"}, {"1", "b"}};
                c["num_labels"] = 3;
              }),
              HasSubstr("\"id2label\" names 2 labels (and \"num_labels\" is 3)"));
  EXPECT_THAT(refusal_of([](Json& c) { c["num_labels"] = 4; }), HasSubstr("\"num_labels\" is 4"));
  EXPECT_THAT(refusal_of([](Json& c) {
                c["label2id"] = {{"a", 0}, {"b", 1}, {"c", 2}};
              }),
              HasSubstr("which means 2 labels (\"label2id\" alone is not read)"));
}

TEST_F(ConfigKeys, LabelsThatContradictEachOtherAreWarnedOf) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const auto warnings = [&](const std::function<void(Json&)>& edit) {
    const fs::path folder = with(fixture, [&](Json& c) {
      c["id2label"] = {{"0", "a"}, {"1", "b"}, {"2", "c"}};
      c["label2id"] = {{"a", 0}, {"b", 1}, {"c", 2}};
      edit(c);
    });
    return warnings_of([&] { EXPECT_EQ(Model::from_pretrained(folder).labels().size(), 3u); });
  };
  EXPECT_THAT(warnings([](Json& c) { c["num_labels"] = 3; }), IsEmpty());
  EXPECT_THAT(warnings([](Json& c) { c["num_labels"] = 2; }),
              ElementsAre(HasSubstr("\"num_labels\" is 2 but \"id2label\" has 3 names")));
  EXPECT_THAT(warnings([](Json& c) { c["id2label"]["2"] = "a"; }),
              ElementsAre(HasSubstr("\"id2label\" gives the name \"a\" to two ids")));
  EXPECT_THAT(warnings([](Json& c) {
                c["label2id"] = {{"a", 1}, {"b", 0}, {"c", 2}};
              }),
              ElementsAre(HasSubstr("\"label2id\" gives \"a\" the id 1, \"id2label\" 0")));
}

// Numbers as names load in the reference, too.
TEST_F(ConfigKeys, NumbersAreNames) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/seqcls_single");
  const fs::path folder = with(fixture, [](Json& c) {
    c["id2label"] = {{"0", 0}, {"1", 1}, {"2", -2.5}};
    c.erase("label2id");
  });
  EXPECT_THAT(Model::from_pretrained(folder).labels(), ElementsAre("0", "1", "-2.5"));
  for (const Json& bad :
       {Json{{"0", "a"}, {"00", "b"}, {"2", "c"}}, Json{{"0", "a"}, {"1", Json()}, {"2", "c"}},
        Json{{"0", "a"}, {"-1", "b"}, {"2", "c"}}})
    EXPECT_THAT(refusal(fixture, "id2label", bad),
                AllOf(HasSubstr("\"id2label\" maps"), HasSubstr("write a name for each of the ids 0..2")));
}

}  // namespace
}  // namespace graft::test
