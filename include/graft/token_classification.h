// Prediction of labels for the words of texts: entities, parts of speech.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graft/export.h"
#include "graft/pipeline.h"

namespace graft {

// How the labels of tokens become those of words and entities; the strategies of the reference's
// TokenClassificationPipeline. `none`: each token by itself. `simple`: adjacent tokens of one entity are
// joined. The others decide on whole words first, by the first token (which is the one that training labels),
// by the mean of the scores, or by the token with the largest score.
enum class Aggregation { none, simple, first, average, max };

// An entity, or with Aggregation::none a token. Labels O are left out.
struct TextEntity {
  std::string entity;          // the type ("PER"); the label itself ("B-PER") with Aggregation::none
  double score = 0;            // probability; the mean over the words or tokens of an entity
  std::string word;            // the characters of the text; the token itself with Aggregation::none
  int64_t start = 0, end = 0;  // [start, end) in code points of the text
  int64_t index = 0;           // of the token, with Aggregation::none
};

// What a text of given words has. Offsets are those of the words joined by single spaces.
struct TaggedWords {
  std::vector<std::string> tags;  // of each word; "" where the tokenizer makes nothing of it
  std::vector<double> scores;     // of the tags
  std::vector<TextEntity> entities;
};

struct TokenClassificationOptions : PipelineOptions {
  Aggregation aggregation = Aggregation::first;
  int64_t stride = -1;  // tokens that two windows of a long text share; -1 = as in training
};

// A text longer than max_seq_length is read in windows that overlap; every word has the prediction of the
// window in which it has the most context. Thread-safe like Pipeline.
class GRAFT_API TokenClassificationPipeline {
 public:
  // Loads a folder that `graft train` or Python wrote. Throws Error as Pipeline does.
  explicit TokenClassificationPipeline(const std::filesystem::path& folder,
                                       const TokenClassificationOptions& options = {});
  ~TokenClassificationPipeline();
  TokenClassificationPipeline(TokenClassificationPipeline&&) noexcept;

  // The entities of each text, in order. A word ends where the reference's pipeline ends it: at a token that
  // does not continue one (WordPiece), else at a space.
  std::vector<std::vector<TextEntity>> predict(const std::vector<std::string>& texts) const;
  // The same of texts that are words already.
  std::vector<TaggedWords> predict_words(const std::vector<std::vector<std::string>>& texts) const;
  const std::vector<std::string>& labels() const;
  const Model& model() const;
  Aggregation aggregation() const;
  // Texts that were read in windows since construction.
  int64_t num_windowed() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// "none", "simple", "first", "average", "max". Throws UsageError for another.
GRAFT_API Aggregation parse_aggregation(const std::string& name);

}  // namespace graft
