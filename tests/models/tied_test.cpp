// The masked-LM decoder under the names that the reference's releases save it by.
#include <cmath>

#include "models/model_case.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

struct Names {
  std::string fixture, words, decoder, bias, decoder_bias;
};
const std::vector<Names> kCases = {
    {"bert/mlm", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight",
     "cls.predictions.bias", "cls.predictions.decoder.bias"},
    {"roberta/mlm", "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight", "lm_head.bias",
     "lm_head.decoder.bias"},
    {"distilbert/mlm", "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight", "", ""}};

std::vector<float> probe(const Model& model) {
  return logits_of(model, RandomFeatures(model, 9, 30, 7).batch(9));
}

// The fixture's folder with tensors added or changed.
void write_with(const fs::path& fixture, const fs::path& to, const std::function<void(OwnedTensors&)>& edit,
                bool tied = true) {
  copy_with_config(fixture, to, [&](Json& config) { config["tie_word_embeddings"] = tied; });
  OwnedTensors owned(fixture / "model.safetensors");
  edit(owned);
  hub::write_safetensors(to / "model.safetensors", owned.tensors);
}

TEST(Tied, TheDecodersNamesAloneAreEnough) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const Names& n : kCases) {
    TempDir dir;
    copy_with_names(golden / n.fixture, dir / "m", [&](const std::string& name) {
      return name == n.words ? n.decoder : !n.bias.empty() && name == n.bias ? n.decoder_bias : name;
    });
    const Model model = load_model(dir / "m");
    EXPECT_TRUE(same_bits(probe(model), probe(load_model(golden / n.fixture)))) << n.fixture;
    EXPECT_THAT(model.load_report().missing, IsEmpty()) << n.fixture;
    EXPECT_THAT(model.load_report().unexpected, IsEmpty()) << n.fixture;
  }
}

TEST(Tied, EqualCopiesAreOneParameterAndOthersAreRefused) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const Names& n : kCases) {
    TempDir dir;
    std::vector<float> copy;
    const auto with_copy = [&](const std::string& of, const std::string& as, std::vector<int64_t> shape,
                               float change) {
      write_with(golden / n.fixture, dir / "m", [&](OwnedTensors& owned) {
        const float* from = owned.find(of);
        copy.assign(from, from + (shape.size() == 2 ? 200 * 32 : 200));
        copy[3] += change;
        owned.tensors.push_back({as, shape, DType::f32, copy.data()});
      });
    };
    with_copy(n.words, n.decoder, {200, 32}, 0);
    EXPECT_TRUE(same_bits(probe(load_model(dir / "m")), probe(load_model(golden / n.fixture)))) << n.fixture;
    with_copy(n.words, n.decoder, {200, 32}, 1);
    EXPECT_THAT(error_of([&] { load_model(dir / "m"); }),
                AllOf(HasSubstr(n.words), HasSubstr(n.decoder), HasSubstr("tie_word_embeddings"),
                      HasSubstr("model.safetensors")))
        << n.fixture;
    if (n.bias.empty()) continue;
    with_copy(n.bias, n.decoder_bias, {200}, 1);
    EXPECT_THAT(error_of([&] { load_model(dir / "m"); }), AllOf(HasSubstr(n.bias), HasSubstr(n.decoder_bias)))
        << n.fixture;
  }
}

// Untied, 5.24 stores two biases and adds decoder.bias.
TEST(Tied, UntiedTheDecodersOwnBiasIsInUse) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const Names& n : kCases) {
    if (n.bias.empty()) continue;
    TempDir dir;
    std::vector<float> words, bias;
    write_with(
        golden / n.fixture, dir / "m",
        [&](OwnedTensors& owned) {
          words.assign(owned.find(n.words), owned.find(n.words) + 200 * 32);
          bias.assign(owned.find(n.bias), owned.find(n.bias) + 200);
          for (float& b : bias) b += 0.5f;
          owned.tensors.push_back({n.decoder, {200, 32}, DType::f32, words.data()});
          owned.tensors.push_back({n.decoder_bias, {200}, DType::f32, bias.data()});
        },
        false);
    const Model model = load_model(dir / "m");
    const std::vector<float> got = probe(model), tied = probe(load_model(golden / n.fixture));
    ASSERT_EQ(got.size(), tied.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], tied[i] + 0.5f, 1e-5) << n.fixture;
    EXPECT_THAT(model.load_report().unexpected, IsEmpty()) << n.fixture;
    model.save_pretrained(dir / "saved");
    EXPECT_TRUE(same_bits(probe(load_model(dir / "saved")), got)) << n.fixture;
  }
}

TEST(Load, TwoNamesOfOneParameterAreRefused) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  TempDir dir;
  const std::vector<float> other(32, 1.0f);
  const std::string norm = "bert.embeddings.LayerNorm.";
  write_with(folder, dir / "m", [&](OwnedTensors& owned) {
    owned.tensors.push_back({norm + "gamma", {32}, DType::f32, other.data()});
  });
  EXPECT_THAT(error_of([&] { load_model(dir / "m"); }),
              AllOf(HasSubstr("model.safetensors"), HasSubstr(norm + "gamma"), HasSubstr(norm + "weight"),
                    HasSubstr("the same parameter")));
}

}  // namespace
}  // namespace graft::test
