// What a student learns from the layers of its teacher, token by token: their outputs (Jiao et al. 2020,
// TinyBERT), and how the tokens of a text relate to each other in one of them (Wang et al. 2021, MiniLMv2).
// A text has hundreds of times as many of these numbers as it has outputs: they are not cached on disk, and
// the teacher reads the batch beside the student.
#pragma once
#include <cstdint>
#include <vector>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "models/network.h"

namespace graft::transfer {

struct LayerLosses {
  // Weight of the mean squared difference of the layers' outputs, the embeddings' among them: layer i of n
  // learns from layer i m / n of m, rounded.
  double hidden = 0;
  // Weight of the divergences KL(teacher || student) of the relations among queries, keys and values: the sum
  // of the three, each a mean over tokens and relation heads.
  double relation = 0;
  int64_t relation_heads = 0;  // 0 = the teacher's attention heads
  int64_t relation_layer = 0;  // of the teacher, counted from 1; 0 = its last one. The student's is its last.
  bool any() const { return hidden > 0 || relation > 0; }
};

class LayerTeacher {
 public:
  // Throws Error where the student's tokens or layers cannot be compared with those of the teacher, whose
  // model outlives this.
  LayerTeacher(const LayerLosses& losses, const Model& teacher, const Tokenizer& teacher_tokenizer,
               const Model& student, const Tokenizer& student_tokenizer, int64_t max_seq_length);
  // What the student's pass must compute for loss().
  models::ForwardOptions student_options() const;
  // Sum over the batch's texts of the weighted losses / denominator.
  engine::Var loss(engine::Tape& tape, const models::Network& student, const models::Forward& pass,
                   const data::RaggedBatch& batch, double denominator) const;

 private:
  const int32_t* ids_of(engine::Tape& tape, const data::RaggedBatch& batch) const;
  engine::Var hidden_loss(engine::Tape& tape, const models::Forward& student, const models::Forward& teacher,
                          const engine::Rows& rows, double denominator) const;
  LayerLosses losses_;
  models::State& teacher_;
  std::vector<int32_t> ids_;  // the teacher's id of each of the student's; empty = the same
};

}  // namespace graft::transfer
