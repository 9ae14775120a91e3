#include "train/tiny_run.h"

#include <cmath>

#include "base/philox.h"

namespace graft::test {
namespace fs = std::filesystem;

namespace {

const std::vector<std::string>& colours() {
  static const std::vector<std::string> words = {"blue", "green", "red"};
  return words;
}

// 40 words without meaning.
const std::vector<std::string>& fillers() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> out;
    for (const char first : std::string("bdfgklmn")) {
      for (const char second : std::string("aeiou")) out.push_back({first, second});
    }
    return out;
  }();
  return words;
}

std::string sentence(PhiloxStream& draws, std::vector<std::string> words) {
  const uint64_t length = 3 + draws.below(5);
  while (words.size() < length) words.push_back(fillers()[draws.below(fillers().size())]);
  for (size_t i = words.size() - 1; i > 0; --i) std::swap(words[i], words[draws.below(i + 1)]);
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

}  // namespace

TinyRun::TinyRun() {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nup\ndown\n";
  for (const std::string& w : colours()) vocabulary += w + "\n";
  for (const std::string& w : fillers()) vocabulary += w + "\n";
  dir_.write("tokenizer/vocab.txt", vocabulary);
  dir_.write("tokenizer/tokenizer_config.json",
             R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 40})");
  tokenizer_ = Tokenizer::from_pretrained(dir_ / "tokenizer");
}

Model TinyRun::model(const std::string& task, const std::vector<std::string>& labels, double dropout,
                     const std::string& model_type, uint64_t seed) const {
  const int vocabulary = tokenizer_->vocab_size();
  Json config = {{"model_type", model_type},
                 {"vocab_size", vocabulary},
                 {"max_position_embeddings", 40},
                 {"initializer_range", 0.1},
                 {"pad_token_id", 0}};
  if (model_type == "distilbert") {
    config.update({{"dim", 32},
                   {"n_layers", 2},
                   {"n_heads", 4},
                   {"hidden_dim", 64},
                   {"dropout", dropout},
                   {"attention_dropout", dropout},
                   {"seq_classif_dropout", dropout}});
  } else {
    config.update({{"hidden_size", 32},
                   {"num_hidden_layers", 2},
                   {"num_attention_heads", 4},
                   {"intermediate_size", 64},
                   {"hidden_dropout_prob", dropout},
                   {"attention_probs_dropout_prob", dropout}});
  }
  const fs::path file = dir_ / (model_type + ".json");
  write_json(file, config);
  ModelOptions options;
  options.task = task;
  options.labels = labels;
  options.seed = seed;
  return Model::from_config(file, options);
}

TrainingArguments TinyRun::arguments() const {
  TrainingArguments a;
  a.output_dir = (dir_ / "out").string();
  a.per_device_train_batch_size = 8;
  a.learning_rate = 3e-3;
  a.logging_strategy = "no";
  a.save_strategy = "no";
  a.bf16 = false;
  return a;
}

fs::path TinyRun::single_csv(const std::string& name, int n, uint64_t seed) const {
  PhiloxStream draws(philox_key(seed, 0, "single"));
  std::string out = "text,label\n";
  for (int i = 0; i < n; ++i) {
    const std::string& colour = colours()[static_cast<size_t>(i) % 3];
    out += sentence(draws, {colour}) + "," + colour + "\n";
  }
  return dir_.write(name, out);
}

fs::path TinyRun::multi_jsonl(const std::string& name, int n, uint64_t seed) const {
  PhiloxStream draws(philox_key(seed, 0, "multi"));
  std::string out;
  for (int i = 0; i < n; ++i) {
    Json labels = Json::array();
    std::vector<std::string> words;
    for (const std::string& colour : colours()) {
      if (draws.below(2) == 0) continue;
      labels.push_back(colour);
      words.push_back(colour);
    }
    out += Json({{"text", sentence(draws, words)}, {"label", labels}}).dump() + "\n";
  }
  return dir_.write(name, out);
}

fs::path TinyRun::score_csv(const std::string& name, int n, uint64_t seed) const {
  PhiloxStream draws(philox_key(seed, 0, "score"));
  std::string out = "text,label\n";
  for (int i = 0; i < n; ++i) {
    const auto up = draws.below(4), down = draws.below(4);
    std::vector<std::string> words(up, "up");
    words.insert(words.end(), down, "down");
    out += sentence(draws, words) + "," +
           std::to_string((static_cast<double>(up) - static_cast<double>(down)) / 4) + "\n";
  }
  return dir_.write(name, out);
}

fs::path TinyRun::text(const std::string& name, int lines, uint64_t seed) const {
  PhiloxStream draws(philox_key(seed, 0, "text"));
  std::string out;
  for (int i = 0; i < lines; ++i) {
    const uint64_t start = draws.below(fillers().size()), length = 6 + draws.below(10);
    for (uint64_t k = 0; k < length; ++k) out += (k ? " " : "") + fillers()[(start + k) % fillers().size()];
    out += "\n";
  }
  return dir_.write(name, out);
}

double value_of(const LogEntry& entry, const std::string& name) {
  for (const auto& [key, value] : entry) {
    if (key == name) return value;
  }
  ADD_FAILURE() << name << " is not in the log entry";
  return std::nan("");
}

}  // namespace graft::test
