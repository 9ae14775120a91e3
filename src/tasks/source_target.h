// Rows of sources and targets as the two streams of an encoder-decoder (the reference's
// DataCollatorForSeq2Seq).
#pragma once
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "tasks/task.h"

namespace graft::tasks {

struct SourceTargetSettings {
  int32_t max_source_length = 0, max_target_length = 0;  // special tokens included; 0 = no limit
  std::string source_prefix{};                           // before every source
  int32_t decoder_start_token_id = 0;
};

// Counts of an encoding, for the log.
struct StreamCounts {
  int64_t truncated = 0, truncated_tokens = 0, unknown_tokens = 0, tokens = 0;
};

// The decoder reads decoder_start_token_id and the target without its last token, and predicts the target.
class SourceTargetFeatures : public Features {
 public:
  // Encodes all rows. Throws Error with file and line for a source without tokens, and for a tokenizer that
  // has no token with which a target ends.
  SourceTargetFeatures(const Dataset& dataset, const Tokenizer& tokenizer,
                       const SourceTargetSettings& settings);

  int64_t size() const override { return static_cast<int64_t>(targets_text_.size()); }
  int32_t length(int64_t i) const override;
  std::vector<int32_t> source(int64_t i) const;
  const std::string& target_text(int64_t i) const { return targets_text_[static_cast<size_t>(i)]; }
  const StreamCounts& source_counts() const { return sources_.counts; }
  const StreamCounts& target_counts() const { return targets_.counts; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  struct Stream {
    std::vector<int32_t> ids;
    std::vector<int64_t> offsets{0};
    StreamCounts counts;

    void add(const Encoding& encoding, std::optional<int32_t> unknown, std::optional<int32_t> end);
    const int32_t* row(int64_t i) const { return ids.data() + offsets[static_cast<size_t>(i)]; }
    int32_t length(int64_t i) const {
      return static_cast<int32_t>(offsets[static_cast<size_t>(i) + 1] - offsets[static_cast<size_t>(i)]);
    }
  };
  Stream sources_, targets_;
  std::vector<std::string> targets_text_;
  int32_t decoder_start_token_id_;
};

// Appends a target to the decoder's stream, with its labels.
void append_target(data::RaggedBatch& batch, const int32_t* ids, int32_t length,
                   int32_t decoder_start_token_id);

// The features of a set, with warnings about truncated and unknown tokens. `part` is the prefix of the
// warnings. Throws Error with file and line for a token without a row in the model's embedding.
std::unique_ptr<SourceTargetFeatures> encode_sources_and_targets(const std::string& part,
                                                                 const Dataset& dataset, const Model& model,
                                                                 const Tokenizer& tokenizer,
                                                                 const SourceTargetSettings& settings);

}  // namespace graft::tasks
