// A saved classifier of random weights, small enough to load in a millisecond.
#pragma once
#include <string>
#include <vector>

#include "graft/model.h"
#include "support/shared.h"

namespace graft::test {

// The texts below have different answers under it. `hidden` widens it for tests of memory.
inline std::string write_tiny_folder(const TempDir& dir,
                                     const std::vector<std::string>& labels = {"bad", "fair", "good"},
                                     int hidden = 16) {
  dir.write("model/vocab.txt",
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nthe\nfilm\nwas\nbook\na\nsoup\nvery\nnot\n.\n");
  dir.write("model/tokenizer_config.json", R"({"do_lower_case": true})");
  const std::string width = std::to_string(hidden);
  const auto config = dir.write(
      "start.json", R"({"model_type": "bert", "vocab_size": 16, "hidden_size": )" + width +
                        R"(, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": )" +
                        width + R"(, "max_position_embeddings": 32, "initializer_range": 0.5})");
  ModelOptions options;
  options.labels = labels;
  Model::from_config(config, options).save_pretrained(dir / "model");
  return (dir / "model").string();
}

// `n` texts of 1 to 14 words.
inline std::vector<std::string> tiny_texts(int n) {
  const std::vector<std::string> words = {"good", "bad",  "the",  "film", "was", "book",
                                          "a",    "soup", "very", "not",  "."};
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i) {
    std::string text;
    for (int k = 0; k <= (i * 5) % 14; ++k)
      text += words[static_cast<size_t>(i * 7 + k * k * 3 + k) % words.size()] + " ";
    out.push_back(text);
  }
  return out;
}

}  // namespace graft::test
