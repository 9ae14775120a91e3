// What a student learns from its teacher's layers.
#include "transfer/layer_teacher.h"

#include "engine/plain_twins.h"
#include "models/model_case.h"
#include "models/transformer.h"
#include "train/tiny_run.h"
#include "transfer/distill.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using engine::twin::Mat;
using test::error_of;
using test::same_bits;
using testing::HasSubstr;

class LayerTeacherTest : public testing::Test {
 protected:
  // [CLS] four words [SEP], [CLS] two [SEP], [CLS] three [SEP]; the ids of `tokenizer`.
  static data::RaggedBatch batch_of(const Tokenizer& tokenizer) {
    data::RaggedBatch batch;
    int64_t i = 0;
    for (const char* text : {"up down ba de", "fi go", "ku la me"}) batch.append(tokenizer.encode(text), i++);
    return batch;
  }
  // The same model with the pieces that `text` and the special tokens need.
  fs::path pruned(const fs::path& model, const std::string& text, const std::string& layers = "") const {
    PruneOptions options;
    options.model = model;
    options.output_dir = run_ / "pruned";
    options.layers = layers;
    options.vocabulary = {run_.dir().write("pieces.txt", text)};
    prune(options);
    return options.output_dir;
  }
  fs::path save(const Model& model, const std::string& name) const {
    model.save_pretrained(run_ / name);
    run_.tokenizer()->save(run_ / name);
    return run_ / name;
  }
  static Model load(const fs::path& folder) {
    ModelOptions options;
    options.task = "sentence-embedding";
    return Model::from_pretrained(folder, options);
  }
  static double loss_of(const LayerTeacher& teacher, const Model& student, const data::RaggedBatch& batch,
                        double denominator) {
    engine::Arena arena(engine::ArenaSize{});
    engine::Tape tape(arena, student.state().parameters, {.training = true, .record = true});
    const models::Network& network = student.state().network;
    const models::Forward pass = network.forward(tape, batch, teacher.student_options());
    const engine::Var loss = teacher.loss(tape, network, pass, batch, denominator);
    student.state().parameters.allocate_grads();
    tape.backward(loss);
    return double{tape.scalar(loss)};
  }
  // The outputs of all layers, and queries, keys and values of the last one.
  struct Layers {
    std::vector<Mat> outputs;
    Mat projections;
  };
  static Layers layers_of(const Model& model, const data::RaggedBatch& batch) {
    const auto mat = [](engine::Tensor t) {
      Mat out(t.rows, t.cols);
      for (int64_t r = 0; r < t.rows; ++r)
        for (int64_t c = 0; c < t.cols; ++c) out(r, c) = double{t.row(r)[c]};
      return out;
    };
    engine::Arena arena(engine::ArenaSize{});
    engine::Tape tape(arena, model.state().parameters, {});
    const models::Network& network = model.state().network;
    const models::Forward pass = network.forward(tape, batch, {.hidden_states = true, .every_row = true});
    Layers out;
    for (const engine::Var v : pass.hidden_states) out.outputs.push_back(mat(v->data));
    const auto& layers = *network.encoder->post_norm_layers();
    out.projections =
        mat(engine::linear(tape, pass.hidden_states[layers.size() - 1], layers.back().qkv)->data);
    return out;
  }
  test::TinyRun run_;
};

TEST_F(LayerTeacherTest, TheLossesAreTheirFormulas) {
  const Model teacher = run_.model("sentence-embedding", {});
  save(run_.model("sentence-embedding", {}, 0, "bert", 7), "other");
  const fs::path folder = pruned(run_ / "other", "up down ba de fi go ku la me", "1");
  const Model student = load(folder);
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  const data::RaggedBatch batch = batch_of(*tokenizer);
  const Layers knows = layers_of(teacher, batch_of(*run_.tokenizer())), learns = layers_of(student, batch);
  ASSERT_EQ(knows.outputs.size(), 3u);
  ASSERT_EQ(learns.outputs.size(), 2u);
  double difference = 0;
  for (const auto& [s, t] : {std::pair{0, 0}, {1, 2}}) {
    for (int32_t b = 0; b < batch.size(); ++b) {
      const int32_t begin = batch.cu_seqlens[b], end = batch.cu_seqlens[b + 1];
      for (int32_t r = begin; r < end; ++r)
        for (int64_t c = 0; c < 32; ++c) {
          const double d = learns.outputs[s](r, c) - knows.outputs[t](r, c);
          difference += d * d / (end - begin) / 32 / 2;
        }
    }
  }
  const auto loss = [&](const LayerLosses& losses) {
    return loss_of({losses, teacher, *run_.tokenizer(), student, *tokenizer, 0}, student, batch, 5);
  };
  const double hidden = 3 * difference / 5;
  EXPECT_NEAR(loss({.hidden = 3}), hidden, 1e-5 * hidden);
  for (const int64_t heads : {4, 8}) {
    const double relations = 0.5 / static_cast<double>(heads) *
                             engine::twin::relation_divergence(learns.projections, knows.projections,
                                                               3 * heads, batch.cu_seqlens, 5)
                                 .loss;
    EXPECT_GT(relations, 0);
    EXPECT_NEAR(loss({.relation = 0.5, .relation_heads = heads}), relations, 1e-5 * relations);
    EXPECT_NEAR(loss({.hidden = 3, .relation = 0.5, .relation_heads = heads}), hidden + relations,
                1e-5 * (hidden + relations));
  }
}

// With fewer pieces a token has another id; the teacher reads its own.
TEST_F(LayerTeacherTest, AStudentThatOnlyLacksPiecesHasNothingToLearn) {
  const Model teacher = run_.model("sentence-embedding", {});
  const fs::path folder = pruned(save(teacher, "teacher"), "me la ku go fi de ba down up");
  const Model student = load(folder);
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  ASSERT_LT(tokenizer->vocab_size(), run_.tokenizer()->vocab_size());
  EXPECT_EQ(loss_of({{.hidden = 1, .relation = 1}, teacher, *run_.tokenizer(), student, *tokenizer, 0},
                    student, batch_of(*tokenizer), 1),
            0);
}

TEST_F(LayerTeacherTest, WhatCannotBeComparedIsRefused) {
  const Model teacher = run_.model("sentence-embedding", {});
  const auto complaint = [&](const LayerLosses& losses, const Model& student, const Tokenizer& tokenizer,
                             int64_t length = 0) {
    return error_of([&] { LayerTeacher(losses, teacher, *run_.tokenizer(), student, tokenizer, length); });
  };
  const Tokenizer& same = *run_.tokenizer();
  EXPECT_THAT(complaint({.relation = 1, .relation_layer = 3}, teacher, same),
              HasSubstr("the teacher has 2 layers"));
  EXPECT_THAT(complaint({.relation = 1, .relation_heads = 5}, teacher, same),
              HasSubstr("so many parts do not divide the teacher's 32 numbers"));
  EXPECT_THAT(complaint({.hidden = 1}, teacher, same, 99), HasSubstr("reads 40 tokens at most"));
  EXPECT_THAT(complaint({.relation = 1}, run_.model("sentence-embedding", {}, 0, "modernbert"), same),
              HasSubstr("the student is a modernbert model"));
  run_.dir().write("more/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsuper\n");
  run_.dir().write("more/tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  EXPECT_THAT(complaint({.hidden = 1}, teacher, *Tokenizer::from_pretrained(run_ / "more")),
              HasSubstr("piece 'super' is none of the teacher's"));
}

// The same steps in micro-batches of any size, and after a resumption.
TEST_F(LayerTeacherTest, AStudentLearnsTheLayersInATraining) {
  DistillOptions o;
  o.teacher = save(run_.model("sentence-embedding", {}), "teacher");
  o.layers = "1";
  o.train_file = {run_.text("texts.txt", 200, 3)};
  o.losses.similarity = 0;
  o.losses.embedding = 0;
  o.losses.layers.hidden = 1;
  o.losses.layers.relation = 1;
  o.arguments = run_.arguments();
  o.arguments.num_train_epochs = 4;
  o.arguments.disable_tqdm = true;
  std::vector<std::vector<float>> weights;
  for (const int64_t accumulation : {1, 2}) {
    o.arguments.output_dir = run_ / ("student-" + std::to_string(accumulation));
    o.arguments.per_device_train_batch_size = 8 / accumulation;
    o.arguments.gradient_accumulation_steps = accumulation;
    Distiller distiller(o);
    distiller.trainer().train();
    weights.push_back(test::all_values(load(o.arguments.output_dir)));
    if (accumulation > 1) continue;
    const std::vector<DistillRow> rows = distiller.compare();
    EXPECT_GT(rows[2].likeness, rows[1].likeness);  // from the layers alone
    EXPECT_GT(rows[2].likeness, 0.8);
  }
  EXPECT_LT(test::largest_difference(weights[0], weights[1]), 1e-3);
  o.losses.layers.relation_heads = 4;
  o.losses.layers.relation = 0;
  o.arguments.output_dir = run_ / "refused";
  EXPECT_THAT(error_of([&] { Distiller d(o); }), HasSubstr("--relation_heads is refused"));
  o.losses.layers.relation_heads = 0;
  o.losses.alpha = 0.25;
  EXPECT_THAT(error_of([&] { Distiller d(o); }),
              HasSubstr("--alpha is refused: the teacher gives embeddings"));
}

}  // namespace
}  // namespace graft::transfer
