// What is T5's own: its names, its two forms of tied weights, its start, and what it refuses.
#include "models/t5.h"

#include <cmath>

#include "models/decoder.h"
#include "models/model_case.h"
#include "models/registry.h"

namespace graft::models {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

std::vector<float> answers(const Model& model) {
  return logits_of(model, RandomFeatures(model, 5, 12).batch(5));
}

ModelOptions with_task_named(const char* task) {
  ModelOptions options;
  options.task = task;
  return options;
}

// Files of the reference's classes differ by the prefix "transformer."; the backbone moves between them.
TEST(T5, ASeq2SeqCheckpointBecomesAClassifierAndBack) {
  GRAFT_SHARED_PATH(golden, "golden");
  ModelOptions options = with_task_named("sequence-classification");
  options.labels = {"a", "b"};
  const Model classifier = Model::from_pretrained(golden / "t5/seq2seq", options);
  EXPECT_THAT(
      classifier.load_report().missing,
      testing::ElementsAre("classification_head.dense.weight", "classification_head.dense.bias",
                           "classification_head.out_proj.weight", "classification_head.out_proj.bias"));
  EXPECT_THAT(classifier.load_report().unexpected, IsEmpty());
  TempDir dir;
  classifier.save_pretrained(dir / "saved");
  const Model back = Model::from_pretrained(dir / "saved", with_task_named("seq2seq-lm"));
  EXPECT_THAT(back.load_report().missing, IsEmpty());
  EXPECT_TRUE(same_bits(answers(back), answers(load_model(golden / "t5/seq2seq"))));
  const Model moved = load_model(golden / "t5/seq2seq").with_task(options);
  EXPECT_EQ(moved.load_report().missing.size(), 4u);
  EXPECT_THAT(moved.load_report().unexpected, IsEmpty());
  const auto value = [](const Model& m) {
    return m.state().parameters.read_value(*m.state().parameters.find("transformer.shared.weight"))[3];
  };
  EXPECT_EQ(value(classifier), value(moved));
}

// Release 5 writes tie_word_embeddings true for untied models, too.
TEST(T5, TheUntiedFormsOfBothReleasesGiveTheSameBits) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_with_config(golden / "t5-v1_1/seq2seq", dir / "five", [](Json& config) {
    config["tie_word_embeddings"] = true;
    config["scale_decoder_outputs"] = false;
  });
  const Model five = load_model(dir / "five"), four = load_model(golden / "t5-v1_1/seq2seq");
  EXPECT_TRUE(same_bits(answers(five), answers(four)));
  five.save_pretrained(dir / "saved");  // release 4.57 reads this key alone
  EXPECT_EQ(read_json(dir / "saved/config.json").at("tie_word_embeddings"), Json(false));
  // Tied and not scaled: release 4.57 needs both tensors for it, and both give one parameter here.
  copy_with_config(golden / "t5/seq2seq", dir / "unscaled",
                   [](Json& config) { config["scale_decoder_outputs"] = false; });
  const Model unscaled = load_model(dir / "unscaled");
  EXPECT_EQ(unscaled.state().parameters.find("lm_head.weight"), nullptr);
  EXPECT_FALSE(same_bits(answers(unscaled), answers(load_model(golden / "t5/seq2seq"))));
  unscaled.save_pretrained(dir / "copied");
  EXPECT_NE(OwnedTensors(dir / "copied/model.safetensors").find("lm_head.weight"), nullptr);
  const Model copied = load_model(dir / "copied");
  EXPECT_EQ(copied.state().parameters.find("lm_head.weight"), nullptr);
  EXPECT_TRUE(same_bits(answers(copied), answers(unscaled)));
  copy_with_config(golden / "t5/seq2seq", dir / "tied", [](Json& config) {
    config["tie_word_embeddings"] = true;
    config["scale_decoder_outputs"] = true;
  });
  EXPECT_TRUE(same_bits(answers(load_model(dir / "tied")), answers(load_model(golden / "t5/seq2seq"))));
}

TEST(T5, EmbeddingsUnderTheNamesOfTheStacksAreFound) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_with_names(golden / "t5/seq2seq", dir / "m", [](const std::string& n) {
    return n == "shared.weight" ? std::string("encoder.embed_tokens.weight") : n;
  });
  const Model model = load_model(dir / "m");
  EXPECT_THAT(model.load_report().missing, IsEmpty());
  EXPECT_TRUE(same_bits(answers(model), answers(load_model(golden / "t5/seq2seq"))));
}

TEST(T5, ATensorOfTheBackboneThatIsMissingIsNamed) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_with_names(golden / "t5/seq2seq", dir / "m", [](const std::string& n) {
    return n == "decoder.block.1.layer.1.EncDecAttention.k.weight" ? std::string() : n;
  });
  EXPECT_THAT(error_of([&] { load_model(dir / "m"); }),
              AllOf(HasSubstr("decoder.block.1.layer.1.EncDecAttention.k.weight"), HasSubstr("is missing")));
}

TEST(T5, KeysOfConfigThatCannotBeAreRefused) {
  GRAFT_SHARED_PATH(golden, "golden");
  const auto error_with = [&](const char* key, const Json& value) {
    TempDir dir;
    copy_with_config(golden / "t5/seq2seq", dir / "m", [&](Json& config) { config[key] = value; });
    return error_of([&] { load_model(dir / "m"); });
  };
  EXPECT_THAT(error_with("feed_forward_proj", "gated-gelu-new"), HasSubstr("\"gated-ACTIVATION\""));
  EXPECT_THAT(error_with("dense_act_fn", "rolu"), HasSubstr("did you mean \"relu\""));
  EXPECT_THAT(error_with("decoder_start_token_id", 200),
              AllOf(HasSubstr("decoder_start_token_id"), HasSubstr("200")));
  EXPECT_THAT(error_with("is_encoder_decoder", false), HasSubstr("is_encoder_decoder"));
  EXPECT_THAT(error_with("num_decoder_layers", 3), HasSubstr("decoder.block.2"));
  EXPECT_THAT(error_with("is_decoder", true), HasSubstr("is_decoder"));
}

TEST(T5, AHeadThatItDoesNotHaveIsRefusedWithThoseItHas) {
  GRAFT_SHARED_PATH(golden, "golden");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(golden / "t5/seq2seq", with_task_named("masked-lm")); }),
              AllOf(HasSubstr("\"t5\" has no masked-lm head"), HasSubstr("seq2seq-lm"),
                    HasSubstr("sequence-classification")));
}

// The reference's _init_weights: widths decide the spread, and queries begin smaller.
TEST(T5, RandomWeightsHaveTheSpreadsOfTheReference) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  Json config = read_json(golden / "t5-v1_1/seq2seq/config.json");
  config["initializer_factor"] = 0.5;
  config["d_model"] = 64;
  write_json(dir / "config.json", config);
  const Model model = Model::from_config(dir / "config.json", with_task_named("seq2seq-lm"));
  const auto spread = [&](const char* name) {
    const auto values = model.state().parameters.read_value(*model.state().parameters.find(name));
    double sum = 0;
    for (const float x : values) sum += double{x} * x;
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  const std::string self = "encoder.block.0.layer.0.";
  EXPECT_NEAR(spread("shared.weight"), 0.5, 0.02);
  EXPECT_NEAR(spread("lm_head.weight"), 0.5, 0.02);
  EXPECT_NEAR(spread((self + "SelfAttention.q.weight").c_str()), 0.5 / std::sqrt(64.0 * 10), 0.002);
  EXPECT_NEAR(spread((self + "SelfAttention.k.weight").c_str()), 0.5 / 8, 0.005);
  EXPECT_NEAR(spread((self + "SelfAttention.o.weight").c_str()), 0.5 / std::sqrt(40.0), 0.006);
  EXPECT_NEAR(spread("decoder.block.1.layer.2.DenseReluDense.wo.weight"), 0.5 / std::sqrt(48.0), 0.006);
  EXPECT_EQ(spread((self + "layer_norm.weight").c_str()), 0.5);
}

TEST(T5, AClassifierReadsTheLastEndToken) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model model = load_model(golden / "t5/seqcls_single");
  const auto logits = [&](std::vector<int32_t> ids) {
    data::RaggedBatch batch;
    batch.append(ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0);
    return logits_of(model, batch);
  };
  EXPECT_THAT(error_of([&] {
                logits({5, 6, 7});
              }),
              AllOf(HasSubstr("has no end token"), HasSubstr("eos_token_id 1")));
  // What stands behind the last end token moves the encoder alone, not the row that is read.
  EXPECT_NE(logits({5, 1, 6, 1}), logits({5, 1, 6, 6}));
}

TEST(T5, MT5IsGatedAndNeverScaled) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_with_config(golden / "t5-v1_1/seq2seq", dir / "m", [](Json& config) {
    config["model_type"] = "mt5";
    config["architectures"] = Json::array({"MT5ForConditionalGeneration"});
    config.erase("feed_forward_proj");
    config.erase("dense_act_fn");
    config.erase("is_gated_act");
  });
  const Model model = load_model(dir / "m");
  EXPECT_TRUE(same_bits(answers(model), answers(load_model(golden / "t5-v1_1/seq2seq"))));
}

}  // namespace
}  // namespace graft::models
