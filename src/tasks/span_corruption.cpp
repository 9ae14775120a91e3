#include "tasks/span_corruption.h"

#include "base/error.h"
#include "tasks/language_model.h"
#include "tasks/seq2seq_lm.h"
#include "tasks/source_target.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

int32_t SpanFeatures::length(int64_t i) const {
  const data::SpanLengths lengths = data::span_lengths(tokens_.length(i), corruptor_.options());
  return lengths.input + lengths.target;
}

void SpanFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const {
  std::vector<int32_t> input, target;
  corruptor_.corrupt(epoch, i, tokens_.row(i), tokens_.length(i), input, target);
  batch.append_sequence(input.data(), nullptr, static_cast<int32_t>(input.size()), index);
  append_target(batch, target.data(), static_cast<int32_t>(target.size()), decoder_start_token_id_);
}

PreparedTask prepare_span_corruption(const Model& model, const TaskData& data,
                                     const FeatureSettings& settings, int32_t decoder_start_token_id) {
  const data::SpanOptions options = {settings.mlm_probability, settings.mean_noise_span_length,
                                     settings.seed};
  FeatureSettings blocks_of_text = settings;
  blocks_of_text.max_seq_length =
      data::span_lengths_of_input(static_cast<int32_t>(settings.max_seq_length), options).tokens;
  const data::SpanCorruptor corruptor(*data.tokenizer, options,
                                      static_cast<int32_t>(blocks_of_text.max_seq_length));
  check_ids(corruptor.sentinels().data(), corruptor.sentinels().size(), model, *data.tokenizer,
            "span corruption");
  data::TextBlocks blocks = read_corpus(model, data, blocks_of_text, {}, "texts");
  PreparedTask out;
  out.task = std::make_unique<Seq2SeqLm>();
  const auto features = [&](data::TokenStore& tokens) -> std::unique_ptr<Features> {
    for (int64_t i = 0; i < tokens.size(); ++i)
      if (tokens.length(i) < 2)
        fail_with("give more text, or longer lines where each is a text of its own",
                  "a text of one token ('{}') leaves nothing beside its span",
                  data.tokenizer->id_to_token(*tokens.row(i)));
    if (tokens.size() == 0) return nullptr;
    return std::make_unique<SpanFeatures>(std::move(tokens), corruptor, decoder_start_token_id);
  };
  out.train = features(blocks.train);
  out.eval = features(blocks.validation);
  return out;
}

}  // namespace graft::tasks
