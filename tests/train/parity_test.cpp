// Every fixture passes, and a fixture that does not hold does not pass.
#include "train/parity.h"

#include "models/model_case.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;
using namespace graft::test;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class Parity : public testing::TestWithParam<std::string> {};

TEST_P(Parity, HoldsOnTheFixture) {
  const ParityReport report = run_parity(fixture_folder(GetParam()));
  EXPECT_TRUE(report.ok()) << to_json(report).dump(1);
  std::vector<std::string> kinds;
  for (const ParityKind& k : report.kinds) {
    kinds.push_back(k.kind);
    EXPECT_GT(k.tensors, 0) << k.kind;
    EXPECT_LE(k.worst_of_limit, 1.0) << k.kind << " of " << k.worst_tensor;
  }
  for (const char* kind : {"loss", "logits", "hidden states", "gradients"})
    EXPECT_THAT(kinds, Contains(kind));
  if (!GetParam().ends_with("seqcls_multi") && !GetParam().ends_with("seqcls_mean")) {  // no five steps
    for (const char* kind : {"step losses", "trained weights"}) EXPECT_THAT(kinds, Contains(kind));
  }
}

// The one fixture on which `graft parity --bf16` fails, as the reference's own bf16 autocast does
// (torch 1.13.1: median cosine 0.99135, the limit is 0.998): rounding the operands of the first layer's
// projections turns a ReLU of the pre_classifier around.
constexpr const char* kBf16Exception = "distilbert/seqcls_regression";
constexpr double kReferencesMedianCosine = 0.99135;

class ParityBf16 : public testing::TestWithParam<std::string> {};

// The limits of the fixtures' README for bf16; a CPU without bf16 instructions computes the same definition.
TEST_P(ParityBf16, HoldsOnTheFixture) {
  const ParityReport report = run_parity(fixture_folder(GetParam()), true);
  EXPECT_TRUE(report.ok()) << to_json(report).dump(1);
  std::vector<std::string> kinds;
  for (const ParityKind& k : report.kinds) {
    kinds.push_back(k.kind);
    EXPECT_GT(k.tensors, 0) << k.kind;
  }
  EXPECT_THAT(kinds, ElementsAre("loss", "logits, worst", "logits, median", "gradients, 1 - cosine",
                                 "gradients, median"));
  // bf16 it was: eight bits of a number leave a trace in the gradients.
  EXPECT_GT(report.kinds.back().worst_error, 1e-7);
}

std::string fixture_label(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '/' || c == '-' ? '_' : c;
  return name;
}

std::vector<std::string> bf16_fixture_names() {
  std::vector<std::string> names = fixture_names();
  std::erase(names, kBf16Exception);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Parity, testing::ValuesIn(fixture_names()), fixture_label);
INSTANTIATE_TEST_SUITE_P(Fixtures, ParityBf16, testing::ValuesIn(bf16_fixture_names()), fixture_label);

// Spans, words and choices; BERT's fixtures are in the repository, the others in ../shared.
class ParityOfHeads : public testing::TestWithParam<std::string> {};

std::vector<std::string> kinds_of(const ParityReport& report) {
  std::vector<std::string> kinds;
  for (const ParityKind& k : report.kinds) kinds.push_back(k.kind);
  return kinds;
}

TEST_P(ParityOfHeads, HoldsInBothPrecisions) {
  GRAFT_SHARED_PATH(folder, "golden/" + GetParam());
  const bool of_padding = GetParam().ends_with("/qa"), steps = !GetParam().ends_with("multiple_choice");
  for (const bool bf16 : {false, true}) {
    const ParityReport report = run_parity(folder, bf16);
    EXPECT_TRUE(report.ok()) << to_json(report).dump(1);
    const std::vector<std::string> kinds = kinds_of(report);
    EXPECT_THAT(kinds, Contains(bf16 ? "logits, worst" : "logits"));
    for (const char* kind : {"loss", bf16 ? "gradients, 1 - cosine" : "gradients"})
      EXPECT_EQ(std::count(kinds.begin(), kinds.end(), kind), !of_padding) << kind;
    for (const char* kind : {"step losses", "trained weights"})
      EXPECT_EQ(std::count(kinds.begin(), kinds.end(), kind), steps && !of_padding && !bf16) << kind;
    // Named, with the reason.
    EXPECT_EQ(report.of_padding.size(), of_padding ? 3u : 0u);
    for (const std::string& what : report.of_padding) EXPECT_THAT(what, HasSubstr("padded"));
  }
}

std::vector<std::string> names_of_heads() {
  std::vector<std::string> names;
  for (const char* a : {"bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "t5"})
    for (const char* h : {"qa", "qa_unpadded", "tokencls"}) names.push_back(std::string(a) + "/" + h);
  for (const char* a : {"bert", "roberta", "xlm-roberta", "distilbert"})
    names.push_back(std::string(a) + "/multiple_choice");
  for (const char* a : {"albert", "electra", "mpnet", "deberta-v2"})
    for (const char* h : {"qa", "qa_unpadded", "tokencls", "multiple_choice"})
      names.push_back(std::string(a) + "/" + h);
  names.push_back("modernbert/tokencls");
  keep_available(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ParityOfHeads, testing::ValuesIn(names_of_heads()), fixture_label);

// A logit of a span at a real position counts, one at a padded position does not.
TEST(ParityOfSpans, RealPositionsOfTheLogitsCount) {
  GRAFT_SHARED_PATH(golden, "golden/bert/qa");
  for (const bool real : {true, false}) {
    TempDir dir;
    copy_folder(golden, dir / "f");
    OwnedTensors owned(dir / "f" / "outputs.safetensors");
    owned.find("end_logits")[real ? 17 + 3 : 17 + 12] += 0.01f;  // the second row has 9 tokens
    hub::write_safetensors(dir / "f" / "outputs.safetensors", owned.tensors);
    EXPECT_EQ(run_parity(dir / "f").ok(), !real);
  }
}

// Fails like the reference, in one number and by as much: a change of either shows here.
TEST(ParityBf16Exception, FailsInTheMedianCosineAlone) {
  const ParityReport report = run_parity(fixture_folder(kBf16Exception), true);
  EXPECT_FALSE(report.ok());
  EXPECT_TRUE(report.not_compared.empty());
  for (const ParityKind& k : report.kinds) {
    EXPECT_EQ(k.worst_of_limit > 1, k.kind == "gradients, median") << k.kind;
    if (k.kind == "gradients, median") {
      EXPECT_NEAR(k.worst_error, 1 - kReferencesMedianCosine, 5e-4);
    }
  }
}

TEST(ParityReport, AFixtureTensorThatIsNotComparedIsAFailure) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* file : {"outputs.safetensors", "grads.safetensors", "after5.safetensors"}) {
    TempDir dir;
    copy_folder(golden / "bert/seqcls_single", dir / "f");
    OwnedTensors owned(dir / "f" / file);
    const std::vector<float> extra(6, 0.0f);
    owned.tensors.push_back({"something_new", {2, 3}, DType::f32, extra.data()});
    hub::write_safetensors(dir / "f" / file, owned.tensors);
    const ParityReport report = run_parity(dir / "f");
    EXPECT_FALSE(report.ok()) << file;
    EXPECT_THAT(report.not_compared, ElementsAre(HasSubstr("something_new"))) << file;
    for (const ParityKind& k : report.kinds) EXPECT_LE(k.worst_of_limit, 1.0);
  }
}

TEST(ParityReport, AParameterThatTheFixtureLacksIsAFailure) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_folder(golden / "distilbert/mlm", dir / "f");
  OwnedTensors owned(dir / "f" / "grads.safetensors");
  const std::string dropped = owned.tensors.back().name;
  owned.tensors.pop_back();
  hub::write_safetensors(dir / "f" / "grads.safetensors", owned.tensors);
  const ParityReport report = run_parity(dir / "f");
  EXPECT_FALSE(report.ok());
  EXPECT_THAT(report.not_compared, ElementsAre(HasSubstr("lacks " + dropped)));
}

// One number moved by a hundred times its limit.
TEST(ParityReport, APerturbedNumberFails) {
  GRAFT_SHARED_PATH(golden, "golden");
  struct Change {
    const char *file, *tensor, *kind;
    float by;
  };
  for (const Change& c :
       {Change{"outputs.safetensors", "loss", "loss", 1e-3f},
        Change{"outputs.safetensors", "logits", "logits", 5e-3f},
        Change{"outputs.safetensors", "last_hidden_state", "hidden states", 1e-2f},
        Change{"outputs.safetensors", "hidden_states.1", "hidden states", 1e-2f},
        Change{"grads.safetensors", "bert.pooler.dense.bias", "gradients", 1e-2f},
        Change{"grads.safetensors", "bert.embeddings.word_embeddings.weight", "gradients", 1e-2f},
        Change{"after5.safetensors", "classifier.weight", "trained weights", 3e-3f}}) {
    TempDir dir;
    copy_folder(golden / "bert/seqcls_single", dir / "f");
    OwnedTensors owned(dir / "f" / c.file);
    ASSERT_NE(owned.find(c.tensor), nullptr) << c.tensor;
    owned.find(c.tensor)[0] += c.by;
    hub::write_safetensors(dir / "f" / c.file, owned.tensors);
    const ParityReport report = run_parity(dir / "f");
    EXPECT_FALSE(report.ok()) << c.tensor;
    for (const ParityKind& k : report.kinds) {
      EXPECT_EQ(k.worst_of_limit > 1, k.kind == c.kind) << c.tensor << ": " << k.kind;
      if (k.kind == c.kind) {
        EXPECT_EQ(k.worst_tensor, c.tensor);
      }
    }
  }
}

TEST(ParityReport, APerturbedWeightFails) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"bert/seqcls_single", "roberta/mlm"}) {
    TempDir dir;
    copy_folder(golden / name, dir / "f");
    OwnedTensors owned(dir / "f" / "model.safetensors");
    owned.values[owned.values.size() / 2][0] += 0.5f;
    hub::write_safetensors(dir / "f" / "model.safetensors", owned.tensors);
    EXPECT_FALSE(run_parity(dir / "f").ok()) << name;
  }
}

TEST(ParityReport, NotANumberFails) {
  GRAFT_SHARED_PATH(golden, "golden");
  TempDir dir;
  copy_folder(golden / "bert/seqcls_single", dir / "f");
  OwnedTensors owned(dir / "f" / "outputs.safetensors");
  owned.find("logits")[1] = std::nanf("");
  hub::write_safetensors(dir / "f" / "outputs.safetensors", owned.tensors);
  EXPECT_FALSE(run_parity(dir / "f").ok());
}

TEST(ParityReport, AFolderThatIsNoFixtureIsAnError) {
  TempDir dir;
  dir.write("some/config.json", "{}");
  EXPECT_THAT(error_of([&] { run_parity(dir / "some"); }),
              AllOf(HasSubstr((dir / "some").string()), HasSubstr("not a fixture"), HasSubstr("meta.json")));
  EXPECT_THAT(error_of([&] { find_fixtures(dir.path()); }), HasSubstr("no fixture folder"));
  EXPECT_THAT(error_of([&] { find_fixtures(dir / "nowhere"); }), HasSubstr("no such folder"));
}

TEST(ParityReport, AnArchitectureThatIsNotThereIsAnError) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  TempDir dir;
  copy_folder(folder, dir / "f");
  Json config = read_json(folder / "config.json");
  config["architectures"] = Json::array({"BertForNextSentencePrediction"});
  write_json(dir / "f" / "config.json", config);
  EXPECT_THAT(error_of([&] { run_parity(dir / "f"); }), HasSubstr("BertForNextSentencePrediction"));
}

TEST(ParityReport, FixturesAreFoundBelowAFolder) {
  GRAFT_SHARED_PATH(folder, "golden/distilbert");
  const std::vector<fs::path> found = find_fixtures(folder);
  EXPECT_THAT(found, Contains(folder / "mlm"));
  EXPECT_THAT(found, Contains(folder / "seqcls_multi"));
  EXPECT_THAT(find_fixtures(folder / "mlm"), ElementsAre(folder / "mlm"));
}

}  // namespace
}  // namespace graft::train
