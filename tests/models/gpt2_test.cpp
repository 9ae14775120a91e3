// GPT-2: the real checkpoint, the reference's variants of files and settings, the token that a classifier
// reads.
#include <cmath>

#include "base/log.h"
#include "models/gpt2.h"
#include "models/model_case.h"
#include "models/weights.h"
#include "tasks/causal_lm.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<float> last_logits(const Model& model, const std::vector<int32_t>& ids) {
  data::RaggedBatch batch;
  batch.append(ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0);
  batch.label_rows.push_back(batch.rows() - 1);
  batch.labels.push_back(0);
  return logits_of(model, batch);
}

TEST(Gpt2, TheRealCheckpointGivesItsExpectedLogits) {
  GRAFT_SHARED_PATH(folder, "data/checkpoints/capp-gpt2");
  const Model model = load_model(folder);
  EXPECT_EQ(model.task(), "causal-lm");
  EXPECT_THAT(model.load_report().missing, IsEmpty());
  EXPECT_THAT(model.load_report().unexpected, IsEmpty());
  const Json expected = read_json(folder / "expected.json");
  for (const Json& one : expected.at("cases")) {
    std::vector<int32_t> ids;
    for (const Json& id : one.at("input_ids")) ids.push_back(id.get<int32_t>());
    const std::vector<float> logits = last_logits(model, ids);
    ASSERT_EQ(logits.size(), one.at("logits_last").size());
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(logits[i], one.at("logits_last")[i].get<double>(), 2e-5) << i;
  }
}

// GPT2Model's names lack the prefix, the pickle files hold the causal mask as buffers.
TEST(Gpt2, NamesWithoutPrefixAndBuffersAreRead) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  const Model whole = load_model(golden);
  TempDir dir;
  copy_with_names(golden, dir / "bare",
                  [](const std::string& name) { return name.substr(std::string("transformer.").size()); });
  const Model bare = load_model(dir / "bare");
  EXPECT_TRUE(same_bits(all_values(whole), all_values(bare)));
  for (const char* file : {"pytorch_model.bin", "pytorch_model.legacy.bin"}) {
    fs::create_directories(dir / file);
    fs::copy_file(golden / "config.json", dir / file / "config.json");
    fs::copy_file(golden / file, dir / file / "pytorch_model.bin");
    const Model pickled = load_model(dir / file);
    EXPECT_TRUE(same_bits(all_values(whole), all_values(pickled))) << file;
    EXPECT_THAT(pickled.load_report().unexpected, IsEmpty()) << file;
  }
}

TEST(Gpt2, AttentionIsScaledAsTheConfigAsks) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  TempDir dir;
  const auto logits_with = [&](const char* key, bool value) {
    copy_with_config(golden, dir / key, [&](Json& c) { c[key] = value; });
    return last_logits(load_model(dir / key), {3, 14, 15, 92, 65});
  };
  const std::vector<float> usual = last_logits(load_model(golden), {3, 14, 15, 92, 65});
  EXPECT_TRUE(same_bits(usual, logits_with("reorder_and_upcast_attn", true)));
  EXPECT_GT(largest_difference(usual, logits_with("scale_attn_weights", false)), 1e-3);
  EXPECT_GT(largest_difference(usual, logits_with("scale_attn_by_inverse_layer_idx", true)), 1e-3);
}

TEST(Gpt2, InnerSizeAndUntiedHeadComeFromTheConfig) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  TempDir dir;
  copy_with_config(golden, dir / "c", [](Json& c) {
    c["n_inner"] = 24;
    c["tie_word_embeddings"] = false;
  });
  ModelOptions options;
  options.task = "causal-lm";
  const Model model = Model::from_config(dir / "c", options);
  engine::ParameterStore& store = model.state().parameters;
  EXPECT_THAT(store.find("transformer.h.1.mlp.c_fc.weight")->shape, ElementsAre(24, 32));
  EXPECT_THAT(store.find("lm_head.weight")->shape, ElementsAre(200, 32));
  // c_proj starts smaller: 0.02 / sqrt(2 * 2 layers).
  EXPECT_NEAR(store.find("transformer.h.1.mlp.c_proj.weight")->init_std, 0.01, 1e-12);
}

// The reference skips trailing tokens that equal the padding token, also where the text itself ends in them.
TEST(Gpt2, AClassifierReadsTheLastTokenThatIsNoPadding) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/seqcls_single");
  const Model model = load_model(golden);  // pad_token_id 198
  const auto logits = [](const Model& m, const std::vector<int32_t>& ids) {
    data::RaggedBatch batch;
    batch.append(ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0);
    return logits_of(m, batch);
  };
  EXPECT_TRUE(same_bits(logits(model, {5, 6, 7}), logits(model, {5, 6, 7, 198, 198})));
  EXPECT_TRUE(same_bits(logits(model, {198}), logits(model, {198, 198})));
  EXPECT_FALSE(same_bits(logits(model, {5, 6}), logits(model, {5, 6, 198, 7})));
  TempDir dir;
  copy_with_config(golden, dir / "none", [](Json& c) { c["pad_token_id"] = Json(); });
  const Model none = load_model(dir / "none");
  EXPECT_FALSE(same_bits(logits(none, {5, 6, 7}), logits(none, {5, 6, 7, 198})));
}

// The reference refuses such a batch, since it could not find the last token in front of the padding.
TEST(Gpt2, AClassifierWithoutAPaddingTokenWarnsOnceOfSeveralTexts) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/seqcls_single");
  TempDir dir;
  copy_with_config(golden, dir / "none", [](Json& c) { c["pad_token_id"] = Json(); });
  const Model none = load_model(dir / "none"), usual = load_model(golden);
  std::vector<std::string> warnings;
  const LogSink former = set_log_sink([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::warning) warnings.push_back(text);
  });
  const int32_t ids[] = {5, 6, 7};
  data::RaggedBatch batch;
  batch.append(ids, nullptr, 3, 0);
  logits_of(none, batch);
  EXPECT_EQ(warnings.size(), 0u);
  batch.append(ids, nullptr, 2, 1);
  for (const Model* model : {&none, &none, &usual}) logits_of(*model, batch);
  set_log_sink(former);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("config.json has no pad_token_id"));
}

TEST(Gpt2, ItsSizeIsEstimatedWithoutNInner) {
  TempDir dir;
  const auto estimate = [&](const std::string& more) {
    return models::ModelConfig::from_file(
               dir.write("config.json", R"({"model_type": "gpt2", "vocab_size": 50257,
      "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024)" +
                                            more + "}"))
        .estimated_parameters(models::gpt2_family().sizes);
  };
  EXPECT_EQ(estimate(""), estimate(R"(, "n_inner": 3072)"));
  EXPECT_NEAR(estimate(""), 124.4e6, 0.1 * 124.4e6);
}

TEST(Gpt2, AHeadThatItDoesNotHaveIsAnErrorThatListsThoseItHas) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  ModelOptions options;
  options.task = "masked-lm";
  EXPECT_THAT(error_of([&] { Model::from_pretrained(golden, options); }),
              AllOf(HasSubstr("\"gpt2\" has no masked-lm head"), HasSubstr("sequence-classification"),
                    HasSubstr("causal-lm")));
}

// Written as the reference stores it, [in, out], and read back to the bit.
TEST(Gpt2, SavedAndLoadedAgainItIsTheSame) {
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  TempDir dir;
  const Model model = load_model(golden);
  model.save_pretrained(dir / "saved");
  EXPECT_TRUE(same_bits(all_values(model), all_values(load_model(dir / "saved"))));
  const hub::StateDict dict = hub::read_checkpoint(dir / "saved");
  EXPECT_THAT(dict.find("transformer.h.0.mlp.c_fc.weight")->shape, ElementsAre(32, 128));
  EXPECT_EQ(dict.find("lm_head.weight"), nullptr);
}

}  // namespace
}  // namespace graft::test
