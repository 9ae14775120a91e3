// BERT (Devlin et al. 2019) and, with other numbers and names, RoBERTa (Liu et al. 2019), XLM-R (Conneau et
// al. 2020), CamemBERT (Martin et al. 2020) and data2vec for text (Baevski et al. 2022).
#pragma once
#include <optional>

#include "models/family.h"
#include "models/transformer.h"

namespace graft::models {

// config.json of BERT and its kin (BertConfig, RobertaConfig of transformers 5.24).
struct BertConfig : PostNormConfig {
  int64_t type_vocab_size = 2;
  double classifier_dropout = 0.1;
  std::optional<int64_t> pad_token_id;  // none: null in the file
  // RoBERTa: positions count from the padding id + 1. A difference between families, not a key.
  bool positions_after_padding = false;

  // Throws Error naming file and key.
  static BertConfig read(const ModelConfig& config, bool positions_after_padding);
  // Tokens that a sequence may have.
  int64_t max_positions() const;
};

class BertEncoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  BertEncoder(engine::ParameterStore& store, const std::string& scope, const BertConfig& config, bool tied);

  engine::Var encode(engine::Tape& tape, const Inputs& inputs, const RowSelection& rows) const override;
  int64_t max_positions() const override { return config_.max_positions(); }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }
  std::vector<PostNormLayer>* post_norm_layers() override { return &layers_; }

 private:
  std::string scope_;
  BertConfig config_;
  engine::Embeddings embeddings_;
  std::vector<PostNormLayer> layers_;
};

const Family& bert_family();
const Family& roberta_family();
const Family& xlm_roberta_family();
const Family& camembert_family();
const Family& data2vec_text_family();

}  // namespace graft::models
