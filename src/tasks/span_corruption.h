// Span corruption as data of seq2seq-lm: text that the model learns to complete (T5's pretraining).
#pragma once
#include "data/span_corruption.h"
#include "data/text_blocks.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// Texts whose spans are other ones in every epoch.
class SpanFeatures : public Features {
 public:
  SpanFeatures(data::TokenStore tokens, data::SpanCorruptor corruptor, int32_t decoder_start_token_id)
      : tokens_(std::move(tokens)),
        corruptor_(std::move(corruptor)),
        decoder_start_token_id_(decoder_start_token_id) {}

  int64_t size() const override { return tokens_.size(); }
  int32_t length(int64_t i) const override;

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  data::TokenStore tokens_;
  data::SpanCorruptor corruptor_;
  int32_t decoder_start_token_id_;
};

// Packs the text so that inputs fill max_seq_length. Throws Error for a tokenizer without sentinels and for a
// text of one token.
PreparedTask prepare_span_corruption(const Model& model, const TaskData& data,
                                     const FeatureSettings& settings, int32_t decoder_start_token_id);

}  // namespace graft::tasks
