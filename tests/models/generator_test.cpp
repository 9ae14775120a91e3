#include "models/generator.h"

#include "base/file.h"
#include "base/log.h"
#include "models/model_case.h"
#include "models/registry.h"

namespace graft::models {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A discriminator and a generator; embeddings of the same seed are equal.
class GeneratorTest : public testing::Test {
 protected:
  Json config(int64_t hidden_size, int64_t vocab_size = 30) const {
    return {{"model_type", "electra"},           {"vocab_size", vocab_size},      {"embedding_size", 8},
            {"hidden_size", hidden_size},        {"num_hidden_layers", 1},        {"num_attention_heads", 2},
            {"intermediate_size", 12},           {"max_position_embeddings", 12}, {"hidden_dropout_prob", 0},
            {"attention_probs_dropout_prob", 0}, {"initializer_range", 0.3},      {"pad_token_id", 0}};
  }
  Model make(const HeadKind& kind, const Json& json, uint64_t seed = 1) const {
    ModelOptions options;
    options.task = kind.task;
    options.seed = seed;
    return Model::from_config(dir_.write("config.json", json.dump()), options);
  }
  Model discriminator() const { return make(kReplacedTokenDetection, config(16)); }
  fs::path generator(const Json& json, uint64_t seed = 1, const HeadKind& kind = kMaskedLm) const {
    make(kind, json, seed).save_pretrained(dir_ / "g");
    return dir_ / "g";
  }
  std::string log_of(const std::function<void()>& f) const {
    std::string log;
    const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { log += text + "\n"; });
    f();
    set_log_sink(former);
    return log;
  }
  std::string refusal(const fs::path& folder) const {
    const Model model = discriminator();
    return error_of([&] { add_generator(model.state(), folder); });
  }
  TempDir dir_;
};

data::RaggedBatch masked_batch() {
  data::RaggedBatch batch;
  const std::vector<int32_t> ids = {2, 7, 9, 4, 11};
  batch.append(ids.data(), nullptr, 5, 0);
  batch.label_rows = {1, 3};
  batch.labels = {8, 5};
  return batch;
}

std::vector<float> generator_logits(const Model& model, const data::RaggedBatch& batch) {
  State& state = model.state();
  engine::Arena arena;
  engine::Tape tape(arena, state.parameters, {});
  const engine::Tensor x = state.generator->network.forward(tape, batch).logits->data;
  std::vector<float> out;
  for (int64_t r = 0; r < x.rows; ++r) out.insert(out.end(), x.row(r), x.row(r) + x.cols);
  return out;
}

TEST_F(GeneratorTest, ComputesWhatItsFolderDoesAndLeavesTheModel) {
  const Model model = discriminator();
  const std::vector<float> before = logits_of(model, masked_batch());
  const fs::path folder = generator(config(6));
  const std::string log = log_of([&] { add_generator(model.state(), folder); });
  EXPECT_THAT(log, HasSubstr("the generator's embeddings are those of the discriminator"));
  EXPECT_EQ(logits_of(model, masked_batch()), before);
  EXPECT_EQ(generator_logits(model, masked_batch()), logits_of(load_model(folder), masked_batch()));
  const engine::ParameterStore& store = model.state().parameters;
  EXPECT_EQ(model.state().generator->network.encoder->word_embeddings(),
            store.find("electra.embeddings.word_embeddings.weight"));
  EXPECT_EQ(store.find("generator.electra.embeddings.word_embeddings.weight"), nullptr);
  EXPECT_TRUE(store.find("generator.electra.encoder.layer.0.output.dense.weight")->of_generator);
  EXPECT_THAT(error_of([&] { add_generator(model.state(), folder); }), HasSubstr("has a generator already"));
}

TEST_F(GeneratorTest, HasEmbeddingsOfItsOwnWhereTheyDiffer) {
  Json longer = config(6);
  longer["max_position_embeddings"] = 14;
  const Model shapes = discriminator();
  EXPECT_THAT(log_of([&] { add_generator(shapes.state(), generator(longer)); }),
              HasSubstr("embeddings of its own (positions): they differ from the discriminator's in shape or "
                        "values; shared are words, token types, their norm"));
  EXPECT_EQ(shapes.state().generator->network.encoder->max_positions(), 14);

  const Model values = discriminator();
  const fs::path folder = generator(config(6), 2);
  EXPECT_THAT(log_of([&] { add_generator(values.state(), folder); }),
              HasSubstr("embeddings of its own (words, positions, token types)"));
  EXPECT_EQ(generator_logits(values, masked_batch()), logits_of(load_model(folder), masked_batch()));
  EXPECT_NE(values.state().parameters.find("generator.electra.embeddings.word_embeddings.weight"), nullptr);

  Json untied = config(6);
  untied["tie_word_embeddings"] = false;
  const Model decoder = discriminator();
  add_generator(decoder.state(), generator(untied));
  EXPECT_EQ(generator_logits(decoder, masked_batch()), logits_of(load_model(dir_ / "g"), masked_batch()));
}

TEST_F(GeneratorTest, IsSavedAsAFolderOfItsOwn) {
  const Model model = discriminator();
  add_generator(model.state(), generator(config(6)));
  // As a step of training leaves them: shared embeddings and its own layers have moved.
  State& state = model.state();
  for (const char* name : {"electra.embeddings.position_embeddings.weight",
                           "generator.electra.encoder.layer.0.output.dense.weight"}) {
    const engine::Parameter& p = *state.parameters.find(name);
    const engine::HostWrite x = state.parameters.write_value(p);
    for (int64_t i = 0; i < p.size; ++i) x.data()[i] += 0.25f;
  }
  state.parameters.touch_values();
  const std::vector<float> logits = generator_logits(model, masked_batch());
  model.save_pretrained(dir_ / "out");
  const Model again = load_model(dir_ / "out");
  EXPECT_TRUE(again.load_report().unexpected.empty());
  EXPECT_TRUE(again.load_report().missing.empty());
  EXPECT_EQ(logits_of(again, masked_batch()), logits_of(model, masked_batch()));
  EXPECT_EQ(read_json(dir_ / "out/config.json")["architectures"], Json::array({"ElectraForPreTraining"}));
  const Model apart = load_model(dir_ / "out" / kGeneratorFolder);
  EXPECT_EQ(apart.task(), kMaskedLm.task);
  EXPECT_EQ(logits_of(apart, masked_batch()), logits);
  // They are one pair still.
  EXPECT_THAT(log_of([&] { add_generator(again.state(), dir_ / "out" / kGeneratorFolder); }),
              HasSubstr("are those of the discriminator"));
}

TEST_F(GeneratorTest, OtherModelsAreRefused) {
  EXPECT_THAT(refusal(generator(config(6, 31))),
              AllOf(HasSubstr("31 tokens in its vocabulary"), HasSubstr("the discriminator has 30")));
  EXPECT_THAT(refusal(generator(config(6), 1, kReplacedTokenDetection)),
              AllOf(HasSubstr("has no masked-lm head (generator_predictions"),
                    HasSubstr("google/electra-small-generator")));
  Json bert = config(8);
  bert["model_type"] = "bert";
  EXPECT_THAT(refusal(generator(bert)), AllOf(HasSubstr("is a bert model"), HasSubstr("\"electra\"")));
  EXPECT_THAT(refusal(dir_ / "nowhere"), HasSubstr("no such folder"));
  const Model classifier = make(kSequenceClassification, config(16));
  EXPECT_THAT(error_of([&] { add_generator(classifier.state(), dir_ / "g"); }),
              HasSubstr("a sequence-classification model of model_type \"electra\" has no generator"));
}

}  // namespace
}  // namespace graft::models
