// Sentence embeddings of the fixtures: every pooling against its formula on the reference's hidden states.
#include "models/pooling.h"

#include <cmath>

#include "hub/state_dict.h"
#include "models/model_case.h"

namespace graft {
namespace {

using namespace test;
using hub::Pooling;

// The tokens of a fixture without padding, and the reference's last hidden states of each text.
struct PoolingCase {
  data::RaggedBatch batch;
  std::vector<std::vector<std::vector<float>>> hidden;  // [texts][tokens][H]
};

PoolingCase read_case(const std::filesystem::path& folder) {
  const Json inputs = read_json(folder / "inputs.json");
  const Json ids = inputs.at("input_ids").at("data"), mask = inputs.at("attention_mask").at("data");
  const Json types = inputs.contains("token_type_ids") ? inputs.at("token_type_ids").at("data") : Json();
  const hub::StateDict outputs = hub::read_safetensors(folder / "outputs.safetensors");
  const hub::TensorView* t = outputs.find("encoder_last_hidden_state");
  if (!t) t = outputs.find("last_hidden_state");
  std::vector<float> values(static_cast<size_t>(t->num_elements()));
  hub::copy_to_float(*t, values.data());
  const auto L = static_cast<size_t>(t->shape[1]), H = static_cast<size_t>(t->shape[2]);
  PoolingCase out;
  for (size_t b = 0; b < ids.size(); ++b) {
    std::vector<int32_t> row, row_types;
    out.hidden.emplace_back();
    for (size_t i = 0; i < ids[b].size(); ++i) {
      if (mask[b][i].get<int>() == 0) continue;
      row.push_back(ids[b][i].get<int32_t>());
      row_types.push_back(types.is_null() ? 0 : types[b][i].get<int32_t>());
      const float* at = values.data() + (b * L + i) * H;
      out.hidden.back().emplace_back(at, at + H);
    }
    out.batch.append(row.data(), row_types.data(), static_cast<int32_t>(row.size()), static_cast<int64_t>(b));
  }
  return out;
}

// The formula of sentence-transformers' Pooling.
std::vector<float> plain_pooling(const std::vector<std::vector<float>>& tokens, Pooling mode) {
  const size_t n = tokens.size(), H = tokens[0].size();
  std::vector<float> out(H);
  for (size_t c = 0; c < H; ++c) {
    double sum = 0, weighted = 0, weights = 0, largest = -1e30;
    for (size_t t = 0; t < n; ++t) {
      sum += tokens[t][c];
      weighted += static_cast<double>(t + 1) * tokens[t][c];
      weights += static_cast<double>(t + 1);
      largest = std::max(largest, double{tokens[t][c]});
    }
    const double values[] = {tokens[0][c],
                             largest,
                             sum / static_cast<double>(n),
                             sum / std::sqrt(static_cast<double>(n)),
                             weighted / weights,
                             tokens[n - 1][c]};
    out[c] = static_cast<float>(values[static_cast<size_t>(mode)]);
  }
  return out;
}

// ModernBERT's fixture holds the hidden states before the final norm, as release 4 has them;
// tests/interop/check_embeddings.py compares its embeddings.
class PoolingOfFixtures : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, PoolingOfFixtures,
                         testing::Values("bert/mlm", "roberta/mlm", "xlm-roberta/mlm", "distilbert/mlm",
                                         "t5/seq2seq", "t5-v1_1/seq2seq", "mpnet/seqcls_single",
                                         "electra/mlm", "albert/seqcls_single"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST_P(PoolingOfFixtures, EqualsTheFormulaOnTheReferencesHiddenStates) {
  GRAFT_SHARED_PATH(folder, std::string("golden/") + GetParam());
  const PoolingCase one = read_case(folder);
  for (const Pooling mode : {Pooling::cls, Pooling::max, Pooling::mean, Pooling::mean_sqrt_len_tokens,
                             Pooling::weightedmean, Pooling::lasttoken}) {
    ModelOptions options;
    options.task = "feature-extraction";
    options.pooling = hub::pooling_name(mode);
    const Model model = Model::from_pretrained(folder, options);
    EXPECT_TRUE(model.load_report().missing.empty());
    std::vector<float> expected;
    for (const auto& tokens : one.hidden) {
      const std::vector<float> row = plain_pooling(tokens, mode);
      expected.insert(expected.end(), row.begin(), row.end());
    }
    EXPECT_LE(largest_difference(logits_of(model, one.batch), expected), 2e-5) << options.pooling;
  }
}

TEST_P(PoolingOfFixtures, IsSavedAsTheBackbonesClass) {
  GRAFT_SHARED_PATH(folder, std::string("golden/") + GetParam());
  ModelOptions options;
  options.task = "sentence-embedding";
  options.normalize = true;
  const Model model = Model::from_pretrained(folder, options);
  const TempDir saved;
  model.save_pretrained(saved.path());
  const std::string prefix = std::string(model.state().family->base_prefix) + ".";
  for (const hub::TensorView& t : hub::read_checkpoint(saved.path()).tensors())
    EXPECT_FALSE(t.name.starts_with(prefix)) << t.name;
  const std::string name = read_json(saved / "config.json")["architectures"][0].get<std::string>();
  EXPECT_TRUE(name.ends_with(std::string(GetParam()).starts_with("t5") ? "EncoderModel" : "Model")) << name;
  const auto modules = hub::read_sentence_transformer(saved.path());
  ASSERT_TRUE(modules.has_value());
  EXPECT_THAT(modules->pooling, testing::ElementsAre(Pooling::mean));
  EXPECT_TRUE(modules->normalize);
  EXPECT_EQ(modules->embedding_dimension, 32);
  const PoolingCase one = read_case(folder);
  const Model again = load_model(saved.path());
  EXPECT_EQ(again.task(), "sentence-embedding");
  EXPECT_TRUE(same_bits(logits_of(again, one.batch), logits_of(model, one.batch)));
}

struct SentenceFolder : testing::Test {
  TempDir folder;
  Model load(const std::filesystem::path& fixture) {
    copy_folder(fixture, folder.path());
    ModelOptions options;
    options.task = "sentence-embedding";
    return Model::from_pretrained(folder.path(), options);
  }
  std::string error(const std::filesystem::path& fixture) {
    return error_of([&] { load(fixture); });
  }
};

TEST_F(SentenceFolder, ModulesThatDoNotFitAreRefused) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/mlm");
  const auto modules = [&](const std::string& more) {
    folder.write("modules.json", R"([{"type": "x.Transformer", "path": ""},
      {"type": "x.Pooling", "path": "1_Pooling"})" +
                                     more + "]");
  };
  modules("");
  folder.write("1_Pooling/config.json", R"({"word_embedding_dimension": 384})");
  EXPECT_THAT(error(fixture),
              testing::AllOf(testing::HasSubstr("1_Pooling/config.json"), testing::HasSubstr("384"),
                             testing::HasSubstr("a hidden size of 32")));
  folder.write("1_Pooling/config.json", R"({"word_embedding_dimension": 32})");
  EXPECT_NO_THROW(load(fixture));
  modules(R"(, {"type": "x.LSTM", "path": "2_LSTM"})");
  EXPECT_THAT(error(fixture), testing::HasSubstr("the module LSTM is not implemented"));
  modules(R"(, {"type": "x.Dense", "path": "2_Dense"})");
  folder.write("2_Dense/config.json", R"({"in_features": 16, "out_features": 4})");
  EXPECT_THAT(error(fixture), testing::HasSubstr("\"in_features\" is 16, but the module before it gives 32"));
  folder.write(
      "2_Dense/config.json",
      R"({"in_features": 32, "out_features": 4, "activation_function": "torch.nn.modules.activation.Mish"})");
  EXPECT_THAT(error(fixture), testing::HasSubstr("Mish\" is not implemented"));
  folder.write("modules.json", R"([{"type": "x.Transformer", "path": ""}])");
  EXPECT_THAT(error(fixture), testing::HasSubstr("lists no pooling"));
}

TEST_F(SentenceFolder, AFeedForwardModuleIsReadAndSaved) {
  GRAFT_SHARED_PATH(fixture, "golden/bert/mlm");
  folder.write("modules.json", R"([{"type": "x.Transformer", "path": ""},
      {"type": "x.Pooling", "path": "1_Pooling"}, {"type": "x.Dense", "path": "2_Dense"}])");
  folder.write("1_Pooling/config.json", R"({"word_embedding_dimension": 32})");
  folder.write(
      "2_Dense/config.json",
      R"({"in_features": 32, "out_features": 2, "activation_function": "torch.nn.modules.activation.Tanh"})");
  std::vector<float> weight(64), bias = {0.25f, -0.5f};
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = 0.01f * static_cast<float>(i) - 0.3f;
  hub::write_checkpoint(folder / "2_Dense", {{"linear.weight", {2, 32}, DType::f32, weight.data()},
                                             {"linear.bias", {2}, DType::f32, bias.data()}});
  const PoolingCase one = read_case(fixture);
  const Model model = load(fixture);
  const std::vector<float> got = logits_of(model, one.batch);
  ASSERT_EQ(got.size(), 2 * one.hidden.size());
  for (size_t b = 0; b < one.hidden.size(); ++b) {
    const std::vector<float> mean = plain_pooling(one.hidden[b], Pooling::mean);
    for (size_t o = 0; o < 2; ++o) {
      double sum = bias[o];
      for (size_t c = 0; c < 32; ++c) sum += double{weight[o * 32 + c]} * mean[c];
      EXPECT_NEAR(got[b * 2 + o], std::tanh(sum), 2e-5);
    }
  }
  const TempDir saved;
  model.save_pretrained(saved.path());
  EXPECT_TRUE(same_bits(logits_of(load_model(saved.path()), one.batch), got));
}

}  // namespace
}  // namespace graft
