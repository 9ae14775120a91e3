// Checkpoints in and out: what is saved is what the reference saves, old layouts give the same bits, and a
// tensor or key that does not fit is named.
#include <algorithm>
#include <array>
#include <cmath>

#include "graft/error.h"
#include "graft/tokenizer.h"
#include "models/model_case.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

ModelOptions with_task(const std::string& task) {
  ModelOptions o;
  o.task = task;
  return o;
}

ModelOptions with_labels(int n, bool ignore_mismatched_sizes = false, uint64_t seed = 42) {
  ModelOptions o;
  o.num_labels = n;
  o.ignore_mismatched_sizes = ignore_mismatched_sizes;
  o.seed = seed;
  return o;
}

std::vector<std::string> files_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Logits of a few random sequences.
std::vector<float> probe(const Model& model) {
  return logits_of(model, RandomFeatures(model, 9, 30, 7).batch(9));
}

std::vector<float> values_of(const Model& model, const std::string& name) {
  const engine::Parameter* p = model.state().parameters.find(name);
  if (!p) return {};
  const float* w = model.state().parameters.value(*p);
  return {w, w + p->size};
}

TEST(Save, WritesTheReferencesFilesNamesShapesAndTypes) {
  for (const std::string& name : fixture_names()) {
    TempDir dir;
    load_model(fixture_folder(name)).save_pretrained(dir / "saved");
    EXPECT_THAT(files_of(dir / "saved"), ElementsAre("config.json", "model.safetensors")) << name;
    const hub::StateDict ours = hub::read_safetensors(dir / "saved" / "model.safetensors");
    const hub::StateDict theirs = hub::read_safetensors(fixture_folder(name) / "model.safetensors");
    ASSERT_EQ(ours.tensors().size(), theirs.tensors().size()) << name;
    for (size_t i = 0; i < ours.tensors().size(); ++i) {
      const hub::TensorView &a = ours.tensors()[i], &b = theirs.tensors()[i];
      EXPECT_EQ(a.name, b.name) << name;
      EXPECT_EQ(a.shape, b.shape) << name << " " << a.name;
      EXPECT_EQ(a.dtype, b.dtype) << name << " " << a.name;
      ASSERT_EQ(a.num_bytes, b.num_bytes);
      EXPECT_TRUE(std::equal(a.data, a.data + a.num_bytes, b.data)) << name << " " << a.name;
    }
    EXPECT_EQ(read_json(dir / "saved" / "config.json"), read_json(fixture_folder(name) / "config.json"))
        << name;
  }
}

TEST(Save, LoadedAgainGivesTheSameBits) {
  for (const std::string& name : fixture_names()) {
    TempDir dir;
    const Model model = load_model(fixture_folder(name));
    for (const engine::Parameter& p : model.state().parameters.parameters()) {
      float* w = model.state().parameters.value(p);
      for (int64_t i = 0; i < p.size; ++i) w[i] *= 1.0f + 1e-3f * static_cast<float>(i % 7);  // as if trained
    }
    model.state().parameters.touch_values();
    model.save_pretrained(dir / "saved");
    const Model again = load_model(dir / "saved");
    EXPECT_TRUE(same_bits(probe(model), probe(again))) << name;
    EXPECT_TRUE(same_bits(all_values(model), all_values(again))) << name;
    EXPECT_THAT(again.load_report().missing, IsEmpty());
    EXPECT_THAT(again.load_report().unexpected, IsEmpty());
  }
}

TEST(Save, StoresSixteenBitsOnDemand) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const Model model = Model::from_pretrained(folder, with_task("masked-lm"));
  for (const auto& [dtype, stored, error] :
       {std::tuple{"float16", DType::f16, 1.0f / 1024}, std::tuple{"bfloat16", DType::bf16, 1.0f / 128}}) {
    TempDir dir;
    model.save_pretrained(dir / "half", dtype);
    EXPECT_EQ(read_json(dir / "half" / "config.json")["torch_dtype"], dtype);
    const auto written = hub::read_safetensors(dir / "half" / "model.safetensors");
    for (const hub::TensorView& t : written.tensors()) EXPECT_EQ(t.dtype, stored) << t.name;
    const std::vector<float> before = all_values(model);
    const std::vector<float> after = all_values(Model::from_pretrained(dir / "half", with_task("masked-lm")));
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i)
      ASSERT_NEAR(before[i], after[i], std::abs(before[i]) * error + 1e-7f) << dtype << " " << i;
  }
  TempDir dir;
  EXPECT_THAT([&] { model.save_pretrained(dir / "x", "int8"); },
              testing::ThrowsMessage<Error>(HasSubstr("int8: no such dtype to store")));
}

// `dtype` is the newer name of torch_dtype and wins in the reference where both stand: neither stays stale.
TEST(Save, BothNamesOfTheDtypeSayWhatIsStored) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const auto saved = [&](const char* dtype, const char* torch_dtype) {
    TempDir dir;
    copy_with_config(folder, dir / "m", [&](Json& config) {
      config.erase("torch_dtype");
      if (dtype) config["dtype"] = dtype;
      if (torch_dtype) config["torch_dtype"] = torch_dtype;
    });
    Model::from_pretrained(dir / "m").save_pretrained(dir / "saved");
    const Json config = read_json(dir / "saved" / "config.json");
    return config.value("dtype", "-") + " " + config.value("torch_dtype", "-");
  };
  EXPECT_EQ(saved("bfloat16", nullptr), "float32 -");
  EXPECT_EQ(saved(nullptr, "float16"), "- float32");
  EXPECT_EQ(saved("bfloat16", "float16"), "float32 float32");
  EXPECT_EQ(saved(nullptr, nullptr), "- float32");
}

TEST(Save, AnInterruptedSaveIsNamed) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  TempDir dir;
  Model::from_pretrained(folder).save_pretrained(dir / "m");
  fs::create_directories(dir / "m" / ".graft-saving");
  fs::rename(dir / "m" / "config.json", dir / "m" / ".graft-saving" / "config.json");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(dir / "m"); }),
              AllOf(HasSubstr("config.json is missing: a save into this folder was interrupted"),
                    HasSubstr((dir / "m" / ".graft-saving").string())));
}

TEST(Save, KeepsTheLabelsGiven) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  TempDir dir;
  ModelOptions options;
  options.labels = {"neg", "meh", "pos"};
  Model::from_pretrained(folder, options).save_pretrained(dir / "saved");
  const Json config = read_json(dir / "saved" / "config.json");
  EXPECT_EQ(config["id2label"].dump(), R"({"0":"neg","1":"meh","2":"pos"})");
  EXPECT_EQ(config["label2id"].dump(), R"({"neg":0,"meh":1,"pos":2})");
  EXPECT_EQ(config["architectures"].dump(), R"(["BertForSequenceClassification"])");
  EXPECT_THAT(Model::from_pretrained(dir / "saved").labels(), ElementsAre("neg", "meh", "pos"));
}

TEST(Save, ATokenizersFilesLieBeside) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  GRAFT_SHARED_PATH(tokenizer, "data/tokenizers/small-bert-uncased");
  TempDir dir;
  Model::from_pretrained(folder, with_task("masked-lm")).save_pretrained(dir / "saved");
  Tokenizer::from_pretrained(tokenizer)->save(dir / "saved");
  EXPECT_THAT(files_of(dir / "saved"),
              ElementsAre("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
                          "tokenizer_config.json", "vocab.txt"));
}

// Release 4 of the reference has no TokenizersBackend; both take tokenizer.json as it is under the class
// written.
TEST(Save, TheTokenizersClassIsOneThatBothReleasesHave) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/small-bert-uncased");
  TempDir dir;
  for (const auto& [before, after] : std::vector<std::pair<std::string, std::string>>{
           {"TokenizersBackend", "PreTrainedTokenizerFast"}, {"BertTokenizer", "BertTokenizer"}}) {
    Tokenizer::from_pretrained(folder)->save(dir / "m");
    Json config = read_json(dir / "m" / "tokenizer_config.json");
    config["tokenizer_class"] = before;
    write_json(dir / "m" / "tokenizer_config.json", config);
    Tokenizer::from_pretrained(dir / "m")->save(dir / "saved");
    EXPECT_EQ(read_json(dir / "saved" / "tokenizer_config.json")["tokenizer_class"], after);
  }
}

TEST(Load, OldNamesOfNormalizationGiveTheSameBits) {
  for (const std::string& name : single_and_mlm_names()) {
    TempDir dir;
    int renamed = 0;
    copy_with_names(fixture_folder(name), dir / "old", [&](const std::string& n) {
      const bool norm = n.find("LayerNorm.") != std::string::npos || n.find("norm.") != std::string::npos ||
                        n.find("ln_") != std::string::npos;
      if (!norm) return n;
      ++renamed;
      return n.ends_with(".weight") ? n.substr(0, n.size() - 6) + "gamma"
                                    : n.substr(0, n.size() - 4) + "beta";
    });
    ASSERT_GE(renamed, 6) << name;
    const Model model = load_model(dir / "old");
    EXPECT_TRUE(same_bits(probe(model), probe(load_model(fixture_folder(name))))) << name;
    EXPECT_THAT(model.load_report().missing, IsEmpty()) << name;
    EXPECT_THAT(model.load_report().unexpected, IsEmpty()) << name;
  }
}

TEST(Load, NamesOfAWrapperAreExplained) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  for (const char* prefix : {"module.", "_orig_mod."}) {
    copy_with_names(golden / "bert/seqcls_single", dir / prefix,
                    [&](const std::string& n) { return prefix + n; });
    EXPECT_THAT(error_of([&] { load_model(dir / prefix); }),
                AllOf(HasSubstr("tensor bert.embeddings.word_embeddings.weight"), HasSubstr("is missing"),
                      HasSubstr(prefix + std::string("bert.embeddings.word_embeddings.weight")),
                      HasSubstr("inside the wrapper")));
  }
}

TEST(Load, WithoutTheBasePrefixOrWithItGivesTheSameBits) {
  for (const std::string& name : single_and_mlm_names()) {
    TempDir dir;
    const models::Family& family = *load_model(fixture_folder(name)).state().family;
    int renamed = 0;
    copy_with_names(fixture_folder(name), dir / "bare", [&](const std::string& n) {
      if (!models::is_backbone(family, n)) return n;
      ++renamed;
      return models::other_backbone_name(family, n);
    });
    ASSERT_GE(renamed, 20) << name;
    const Model model = load_model(dir / "bare");
    EXPECT_TRUE(same_bits(probe(model), probe(load_model(fixture_folder(name))))) << name;
    EXPECT_THAT(model.load_report().missing, IsEmpty()) << name;
    EXPECT_THAT(model.load_report().unexpected, IsEmpty()) << name;
  }
}

TEST(Load, TorchFilesGiveTheBitsOfSafetensors) {
  int files = 0;
  for (const std::string& name : fixture_names()) {
    for (const char* bin : {"pytorch_model.bin", "pytorch_model.legacy.bin"}) {
      if (!fs::exists(fixture_folder(name) / bin)) continue;
      TempDir dir;
      fs::create_directories(dir / "m");
      fs::copy_file(fixture_folder(name) / "config.json", dir / "m" / "config.json");
      fs::copy_file(fixture_folder(name) / bin, dir / "m" / "pytorch_model.bin");
      const Model model = load_model(dir / "m");
      EXPECT_TRUE(same_bits(probe(model), probe(load_model(fixture_folder(name))))) << name << " " << bin;
      EXPECT_THAT(model.load_report().missing, IsEmpty()) << name;
      EXPECT_THAT(model.load_report().unexpected, IsEmpty()) << name;  // buffers and aliases are known
      ++files;
    }
  }
  EXPECT_EQ(files, 12);
}

TEST(Load, ShardsGiveTheBitsOfOneFile) {
  GRAFT_SHARED_PATH(folder, "golden/roberta/seqcls_single");
  TempDir dir;
  fs::create_directories(dir / "m");
  fs::copy_file(folder / "config.json", dir / "m" / "config.json");
  const OwnedTensors owned(folder / "model.safetensors");
  ASSERT_GT(hub::write_checkpoint(dir / "m", owned.tensors, 20'000).size(), 4u);
  ASSERT_FALSE(fs::exists(dir / "m" / "model.safetensors"));
  EXPECT_TRUE(same_bits(probe(load_model(dir / "m")), probe(load_model(folder))));
}

// A decoder of its own: with the embedding's values it gives the bits of the tied one, and is saved beside
// it.
TEST(Load, UntiedDecoders) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::array<std::string, 3>> cases = {
      {"bert/mlm", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
      {"roberta/mlm", "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"},
      {"distilbert/mlm", "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"}};
  for (const auto& [name, embedding, decoder] : cases) {
    TempDir dir;
    copy_with_config(golden / name, dir / "m", [](Json& config) { config["tie_word_embeddings"] = false; });
    OwnedTensors owned(golden / name / "model.safetensors");
    hub::TensorToWrite copy{decoder, {200, 32}, DType::f32, owned.find(embedding)};
    owned.tensors.push_back(copy);
    hub::write_safetensors(dir / "m" / "model.safetensors", owned.tensors);
    const Model untied = load_model(dir / "m"), tied = load_model(golden / name);
    EXPECT_TRUE(same_bits(probe(untied), probe(tied))) << name;
    EXPECT_THAT(untied.load_report().unexpected, IsEmpty()) << name;
    EXPECT_TRUE(untied.state().network.encoder->word_embeddings()->row_sparse) << name;
    EXPECT_FALSE(tied.state().network.encoder->word_embeddings()->row_sparse) << name;
    untied.save_pretrained(dir / "saved");
    if (name != "distilbert/mlm") {  // both biases: 4.57 reads the one, 5.24 the other
      const hub::StateDict saved = hub::read_safetensors(dir / "saved" / "model.safetensors");
      const std::string root = decoder.substr(0, decoder.find(".decoder"));
      const auto *a = saved.find(root + ".bias"), *b = saved.find(root + ".decoder.bias");
      ASSERT_TRUE(a && b) << name;
      EXPECT_TRUE(std::equal(a->data, a->data + a->num_bytes, b->data)) << name;
    }
    EXPECT_NE(hub::read_safetensors(dir / "saved" / "model.safetensors").find(decoder), nullptr) << name;
    EXPECT_TRUE(same_bits(probe(load_model(dir / "saved")), probe(tied))) << name;
  }
}

TEST(Load, HalfPrecisionTensorsBecomeFloats) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  for (const DType dtype : {DType::f16, DType::bf16}) {
    TempDir dir;
    fs::create_directories(dir / "m");
    fs::copy_file(folder / "config.json", dir / "m" / "config.json");
    OwnedTensors owned(folder / "model.safetensors");
    for (hub::TensorToWrite& t : owned.tensors) t.dtype = dtype;
    hub::write_safetensors(dir / "m" / "model.safetensors", owned.tensors);
    const std::vector<float> a = all_values(load_model(dir / "m")), b = all_values(load_model(folder));
    ASSERT_EQ(a.size(), b.size());
    // Half a unit in the last place: 2^-11 of f16, 2^-8 of bf16 (2^-9 for the mantissa of 8 bits), and f16's
    // smallest subnormal.
    const double relative = dtype == DType::f16 ? 1.0 / 2048 : 1.0 / 256;
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], relative * std::abs(b[i]) + 6e-8);
    EXPECT_FALSE(same_bits(a, b));
  }
}

TEST(Load, AMissingBackboneTensorIsNamed) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"bert/mlm", "bert.encoder.layer.1.attention.self.key.weight"},
      {"roberta/seqcls_single", "roberta.embeddings.LayerNorm.bias"},
      {"distilbert/seqcls_single", "distilbert.transformer.layer.0.ffn.lin2.bias"}};
  for (const auto& [name, tensor] : cases) {
    TempDir dir;
    const std::string dropped = tensor;
    copy_with_names(golden / name, dir / "m", [&](const std::string& n) { return n == dropped ? "" : n; });
    EXPECT_THAT(error_of([&] { load_model(dir / "m"); }),
                AllOf(HasSubstr(tensor), HasSubstr((dir / "m").string()), HasSubstr("missing")));
  }
}

TEST(Load, AMissingHeadIsReportedAndStartsFromTheSeed) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const Model model = Model::from_pretrained(folder, with_labels(3, false, 1));
  EXPECT_THAT(model.load_report().missing,
              UnorderedElementsAre("bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight",
                                   "classifier.bias"));
  EXPECT_THAT(model.load_report().unexpected,
              AllOf(testing::SizeIs(5), Each(StartsWith("cls.predictions."))));
  const std::vector<float> head = values_of(model, "classifier.weight");
  ASSERT_EQ(head.size(), 96u);
  EXPECT_EQ(head, values_of(Model::from_pretrained(folder, with_labels(3, false, 1)), "classifier.weight"));
  EXPECT_NE(head, values_of(Model::from_pretrained(folder, with_labels(3, false, 2)), "classifier.weight"));
  // normal(0, initializer_range 0.02): 96 draws have a deviation within a quarter of it.
  EXPECT_NEAR(l2_norm(head) / std::sqrt(96.0), 0.02, 0.005);
  EXPECT_THAT(values_of(model, "classifier.bias"), Each(0.0f));
  EXPECT_EQ(values_of(model, "bert.encoder.layer.0.output.dense.weight"),
            values_of(load_model(folder), "bert.encoder.layer.0.output.dense.weight"));
}

TEST(Load, AHeadOfAnotherSizeIsAnErrorUnlessIgnored) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::pair<std::string, std::string>> heads = {{"bert", "classifier"},
                                                                  {"roberta", "classifier.out_proj"},
                                                                  {"xlm-roberta", "classifier.out_proj"},
                                                                  {"distilbert", "classifier"}};
  for (const auto& [architecture, head] : heads) {
    const fs::path folder = golden / architecture / "seqcls_single";
    EXPECT_THAT(error_of([&] { Model::from_pretrained(folder, with_labels(5)); }),
                AllOf(HasSubstr(head), HasSubstr("[3"), HasSubstr("[5"), HasSubstr("model.safetensors"),
                      HasSubstr("ignore_mismatched_sizes")));
    const Model model = Model::from_pretrained(folder, with_labels(5, true));
    EXPECT_THAT(model.load_report().mismatched,
                UnorderedElementsAre(head + ".weight [3, 32] -> [5, 32]", head + ".bias [3] -> [5]"));
    EXPECT_THAT(model.load_report().missing, IsEmpty());
    EXPECT_EQ(model.labels().size(), 5u);
    EXPECT_EQ(probe(model).size(), 9u * 5u);
    EXPECT_THAT(values_of(model, head + ".bias"), Each(0.0f));
  }
}

TEST(Load, ABackboneTensorOfAnotherShapeIsAnError) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  TempDir dir;
  copy_with_config(folder, dir / "m", [](Json& config) { config["max_position_embeddings"] = 50; });
  EXPECT_THAT(error_of([&] { load_model(dir / "m"); }),
              AllOf(HasSubstr("bert.embeddings.position_embeddings.weight"), HasSubstr("[40, 32]"),
                    HasSubstr("[50, 32]")));
}

}  // namespace
}  // namespace graft::test
