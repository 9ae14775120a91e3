// A world small enough to train in: a word-level vocabulary, models of hidden size 32, generated data.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "graft/trainer.h"
#include "support/shared.h"

namespace graft::test {

class TinyRun {
 public:
  // Writes a tokenizer folder; a word is a token.
  TinyRun();

  const TempDir& dir() const { return dir_; }
  std::filesystem::path operator/(const std::string& name) const { return dir_ / name; }
  const std::shared_ptr<Tokenizer>& tokenizer() const { return tokenizer_; }

  // A model of `model_type` with random weights. `labels` empty: as the config says (2), for masked-lm none.
  Model model(const std::string& task, const std::vector<std::string>& labels, double dropout = 0,
              const std::string& model_type = "bert", uint64_t seed = 42) const;
  // 8 examples a batch, learning rate 3e-3, no logging, no checkpoints, output_dir inside the folder.
  TrainingArguments arguments() const;

  // `n` sentences of 3 to 9 words. Single: exactly one of the words "red", "green", "blue" is in each, and is
  // its label.
  std::filesystem::path single_csv(const std::string& name, int n, uint64_t seed) const;
  // Each colour that occurs is a label; sentences may have none.
  std::filesystem::path multi_jsonl(const std::string& name, int n, uint64_t seed) const;
  // The score is a quarter of the number of words "up" minus a quarter of the number of words "down".
  std::filesystem::path score_csv(const std::string& name, int n, uint64_t seed) const;
  // Lines that count through the words in order from a random start: what is hidden follows from its
  // neighbours.
  std::filesystem::path text(const std::string& name, int lines, uint64_t seed) const;

 private:
  TempDir dir_;
  std::shared_ptr<Tokenizer> tokenizer_;
};

// The value of a name in a log entry; a test failure and NaN when it is not there.
double value_of(const LogEntry& entry, const std::string& name);

}  // namespace graft::test
