#include "transfer/layer_teacher.h"

#include "base/error.h"
#include "base/shown.h"
#include "engine/basic_ops.h"
#include "models/state.h"
#include "models/transformer.h"

namespace graft::transfer {

using engine::Over;
using engine::Tape;
using engine::Var;
using models::Forward;
using models::Network;
using models::PostNormLayer;

namespace {

// The teacher's id of each piece of the student; empty where all are the same.
std::vector<int32_t> teacher_ids(const Tokenizer& teacher, const Tokenizer& student) {
  std::vector<int32_t> ids;
  bool same = true;
  for (int32_t id = 0; id < student.vocab_size(); ++id) {
    const std::string piece = student.id_to_token(id);
    const std::optional<int32_t> other = teacher.token_to_id(piece);
    if (!other && !piece.empty())
      fail_with(
          "take a student with the teacher's pieces, or some of them; or leave out --hidden_weight and "
          "--relation_weight",
          "the student's piece '{}' is none of the teacher's: their layers are compared token by token",
          shown(piece));
    ids.push_back(other.value_or(0));
    same = same && ids.back() == id;
  }
  return same ? std::vector<int32_t>() : ids;
}

int64_t width_of(const Model& model) {
  const models::State& state = model.state();
  return state.config.size_or(state.family->sizes.hidden_size, 0);
}

const std::vector<PostNormLayer>& layers_of(const Network& network) {
  return *network.encoder->post_norm_layers();
}

const std::vector<PostNormLayer>& checked_layers(const char* who, const Model& model) {
  const std::vector<PostNormLayer>* layers = model.state().network.encoder->post_norm_layers();
  if (!layers || layers->empty())
    fail_with(
        "--hidden_weight needs no such layer",
        "--relation_weight: the {} is a {} model, which has no attention layer as BERT and its kin have", who,
        model.model_type());
  return *layers;
}

// At most the teacher's attention heads, and a divisor of both widths.
int64_t common_heads(const Model& teacher, const Model& student) {
  int64_t heads = layers_of(teacher.state().network).front().attention.num_heads;
  while (width_of(teacher) % heads != 0 || width_of(student) % heads != 0) --heads;
  return heads;
}

void check_relations(LayerLosses& losses, const Model& teacher, const Model& student) {
  const std::vector<PostNormLayer>& layers = checked_layers("teacher", teacher);
  checked_layers("student", student);
  const auto count = std::ssize(layers);
  if (losses.relation_layer > count)
    throw UsageError(
        fmt::format("--relation_layer {}: the teacher has {} layers", losses.relation_layer, count),
        fmt::format("give a number from 1 to {}; without it the last layer is read", count));
  if (losses.relation_layer == 0) losses.relation_layer = count;
  if (losses.relation_heads == 0) losses.relation_heads = layers.front().attention.num_heads;
  for (const Model* model : {&teacher, &student})
    if (width_of(*model) % losses.relation_heads != 0)
      throw UsageError(
          fmt::format("--relation_heads {}: so many parts do not divide the {}'s {} numbers for a token",
                      losses.relation_heads, model == &teacher ? "teacher" : "student", width_of(*model)),
          fmt::format("give --relation_heads {}", common_heads(teacher, student)));
}

// Queries, keys and values of layer `i`, counted from 1, side by side.
Var projections(Tape& tape, const Network& network, const Forward& pass, int64_t i) {
  const auto layer = static_cast<size_t>(i - 1);
  return engine::linear(tape, pass.hidden_states[layer], layers_of(network)[layer].qkv);
}

}  // namespace

LayerTeacher::LayerTeacher(const LayerLosses& losses, const Model& teacher,
                           const Tokenizer& teacher_tokenizer, const Model& student,
                           const Tokenizer& student_tokenizer, int64_t max_seq_length)
    : losses_(losses), teacher_(teacher.state()), ids_(teacher_ids(teacher_tokenizer, student_tokenizer)) {
  for (const Model* model : {&teacher, &student})
    if (model->state().family->decoder_layers)
      fail_with("leave out --hidden_weight and --relation_weight",
                "--hidden_weight and --relation_weight are for encoders; {} has a decoder, too",
                model->model_type());
  if (losses.hidden > 0 && width_of(teacher) != width_of(student))
    fail_with(
        "take a student as wide as its teacher, or give --relation_weight, which compares how tokens relate",
        "--hidden_weight: the student has {} numbers for a token and the teacher {}", width_of(student),
        width_of(teacher));
  if (losses.relation > 0) check_relations(losses_, teacher, student);
  const int64_t limit = teacher.max_positions();
  if (limit > 0 && max_seq_length > limit)
    fail_with(fmt::format("give --max_seq_length {}", limit),
              "--max_seq_length {}: the teacher reads {} tokens at most", max_seq_length, limit);
}

models::ForwardOptions LayerTeacher::student_options() const {
  return {.hidden_states = true, .every_row = losses_.hidden > 0};
}

const int32_t* LayerTeacher::ids_of(Tape& tape, const data::RaggedBatch& batch) const {
  if (ids_.empty()) return nullptr;
  auto* ids = tape.push_array<int32_t>(batch.rows());
  for (int32_t r = 0; r < batch.rows(); ++r)
    ids[r] = ids_[static_cast<size_t>(batch.input_ids[static_cast<size_t>(r)])];
  return ids;
}

Var LayerTeacher::hidden_loss(Tape& tape, const Forward& student, const Forward& teacher,
                              const engine::Rows& rows, double denominator) const {
  const int64_t n = std::ssize(student.hidden_states) - 1, m = std::ssize(teacher.hidden_states) - 1;
  Var sum = nullptr;
  for (int64_t i = 0; i <= n; ++i) {
    const Var learns = student.hidden_states[static_cast<size_t>(i)],
              knows = teacher.hidden_states[static_cast<size_t>(n == 0 ? m : (2 * i * m + n) / (2 * n))];
    const Var difference = engine::sub(tape, learns, tape.constant(knows->data));
    const Var of_texts = engine::mean_pool(tape, engine::mul(tape, difference, difference), rows);
    const Var of_layer = engine::reduce_sum(tape, of_texts, Over::all);
    sum = sum ? engine::add(tape, sum, of_layer) : of_layer;
  }
  const auto numbers = static_cast<double>((n + 1) * student.hidden_states.front()->data.cols);
  return engine::scale(tape, sum, static_cast<float>(losses_.hidden / numbers / denominator));
}

Var LayerTeacher::loss(Tape& tape, const Network& student, const Forward& pass,
                       const data::RaggedBatch& batch, double denominator) const {
  // On the same arena, so that a step's memory is planned with it; nothing is recorded.
  Tape reading(tape.kernels(), tape.arena(), teacher_.parameters,
               {.bf16 = teacher_.bf16, .packed_fp32 = teacher_.packed_fp32});
  const Forward teacher = teacher_.network.forward(reading, batch,
                                                   {.hidden_states = true,
                                                    .logits = false,
                                                    .every_row = losses_.hidden > 0,
                                                    .input_ids = ids_of(tape, batch)});
  const engine::Rows rows = models::make_inputs(tape, batch).rows;
  Var loss = losses_.hidden > 0 ? hidden_loss(tape, pass, teacher, rows, denominator) : nullptr;
  if (losses_.relation <= 0) return loss;
  constexpr int kQueriesKeysValues = 3;
  const Var learns = projections(tape, student, pass, std::ssize(layers_of(student))),
            knows = projections(reading, teacher_.network, teacher, losses_.relation_layer);
  const Var relations =
      engine::relation_divergence(tape, learns, tape.constant(knows->data),
                                  kQueriesKeysValues * losses_.relation_heads, rows, denominator);
  const Var weighted = engine::scale(
      tape, relations, static_cast<float>(losses_.relation / static_cast<double>(losses_.relation_heads)));
  return loss ? engine::add(tape, loss, weighted) : weighted;
}

}  // namespace graft::transfer
