// BERT (Devlin et al. 2019) and, with other numbers and names, RoBERTa (Liu et al. 2019) and XLM-R (Conneau
// et al. 2020).
#pragma once
#include "models/config.h"
#include "models/transformer.h"

namespace graft::models {

class BertEncoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  BertEncoder(engine::ParameterStore& store, const std::string& scope, const ModelConfig& config, bool tied,
              bool positions_after_padding);

  engine::Var encode(engine::Tape& tape, const Inputs& inputs, const int32_t* rows, int64_t n) const override;
  int64_t max_positions() const override;
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }

 private:
  const int32_t* position_ids(engine::Tape& tape, const Inputs& inputs) const;
  const int32_t* token_type_ids(engine::Tape& tape, const Inputs& inputs) const;

  std::string scope_;
  engine::Embeddings embeddings_;
  std::vector<PostNormLayer> layers_;
  float hidden_dropout_ = 0;
  int64_t padding_id_ = 0;
  bool positions_after_padding_ = false;  // RoBERTa: positions count from padding id + 1
};

Network make_bert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config);
Network make_bert_masked_lm(engine::ParameterStore& store, const ModelConfig& config);
Network make_roberta_sequence_classification(engine::ParameterStore& store, const ModelConfig& config);
Network make_roberta_masked_lm(engine::ParameterStore& store, const ModelConfig& config);

}  // namespace graft::models
