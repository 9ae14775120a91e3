// A real checkpoint against the reference: tests/golden/minilm/expected.json holds what transformers 5.24.0
// computes in fp32 from the weights that scripts/get-model.sh finds.
#include "base/json.h"
#include "engine/basic_ops.h"
#include "engine/cpu/cpu_kernels.h"
#include "graft/tokenizer.h"
#include "hub/sentence_transformers.h"
#include "models/model_case.h"

namespace graft {
namespace {

constexpr double kTolerance = 2e-5;  // absolute, fp32

struct Outputs {
  std::vector<float> cls, pooler, embedding;
};

std::vector<float> first_row(const engine::Tensor& t) { return {t.row(0), t.row(0) + t.cols}; }

// All rows of one sequence through encoder, pooler and the folder's own pooling.
Outputs outputs_of(const Model& model, const hub::SentenceTransformer& modules,
                   const std::vector<int32_t>& ids) {
  data::RaggedBatch batch;
  batch.append(ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0);
  engine::Arena arena;
  engine::Tape tape(engine::cpu_kernels(), arena, model.state().parameters, {});
  const models::Inputs inputs = models::make_inputs(tape, batch);
  const models::Network& network = model.state().network;
  const engine::Var hidden = network.encoder->encode(tape, inputs, models::all_rows(batch));
  EXPECT_THAT(modules.pooling, testing::ElementsAre(hub::Pooling::mean));
  engine::Var embedding = engine::mean_pool(tape, hidden, inputs.rows);
  if (modules.normalize) embedding = engine::normalize(tape, embedding);
  Outputs out{first_row(hidden->data), {}, first_row(embedding->data)};
  const int32_t first[] = {0};
  const engine::Var cls = network.encoder->encode(tape, inputs, {first, 1, true});
  out.pooler = first_row(network.head->pooled(tape, cls)->data);
  return out;
}

TEST(RealCheckpoint, EqualsTheReference) {
  GRAFT_REAL_CHECKPOINT(folder);
  GRAFT_SHARED_PATH(file, "golden/minilm/expected.json");
  const Json expected = read_json(file);
  const auto modules = hub::read_sentence_transformer(folder);
  ASSERT_TRUE(modules.has_value());
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  const Model model = Model::from_pretrained(folder);
  double worst = 0;
  for (const Json& one : expected["cases"]) {
    const std::string text = one["text"].get<std::string>();
    EncodeOptions options;
    options.truncation = Truncation::longest_first;
    options.max_length = static_cast<int32_t>(modules->max_seq_length.value());
    const std::vector<int32_t> ids = tokenizer->encode(text, options).input_ids;
    ASSERT_EQ(ids, one["input_ids"].get<std::vector<int32_t>>()) << text;
    const Outputs got = outputs_of(model, *modules, ids);
    for (const auto& [name, values] : {std::pair("cls", &got.cls), std::pair("pooler", &got.pooler),
                                       std::pair("embedding", &got.embedding)}) {
      const double error = test::largest_difference(*values, one[name].get<std::vector<float>>());
      EXPECT_LE(error, kTolerance) << name << " of " << text;
      worst = std::max(worst, error);
    }
  }
  EXPECT_GE(expected["cases"].size(), 20u);
  RecordProperty("worst_error", std::to_string(worst));
}

TEST(RealCheckpoint, AFineTunedClassifierHasNoPoolingBesideIt) {
  GRAFT_REAL_CHECKPOINT(folder);
  test::TempDir copy;
  test::copy_with_config(folder, copy.path(), [](Json&) {});
  std::filesystem::copy(folder / "1_Pooling", copy / "1_Pooling");
  std::filesystem::copy_file(folder / "modules.json", copy / "modules.json");
  copy.write("notes.txt", "mine");
  Model::from_pretrained(copy.path()).save_pretrained(copy.path());
  EXPECT_FALSE(std::filesystem::exists(copy / "modules.json"));
  EXPECT_FALSE(std::filesystem::exists(copy / "1_Pooling"));
  EXPECT_TRUE(std::filesystem::exists(copy / "notes.txt"));
  EXPECT_FALSE(hub::read_sentence_transformer(copy.path()).has_value());
}

}  // namespace
}  // namespace graft
