// What no language model knows: logistic regression on the words of a text, to set a fine-tuned model beside.
// bag_of_words TRAIN.csv TEST.csv   (two labels)
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "graft/dataset.h"
#include "graft/error.h"

namespace {

// The words of a text, lower-cased; how often one occurs does not count.
std::set<std::string> words_of(const std::string& text) {
  std::set<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '\'') {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      words.insert(std::move(word));
      word.clear();
    }
  }
  return words;
}

struct Classifier {
  std::map<std::string, double> weight;
  double bias = 0;

  double score(const std::set<std::string>& words) const {
    double sum = bias;
    for (const std::string& w : words) {
      if (const auto it = weight.find(w); it != weight.end()) sum += it->second;
    }
    return sum;
  }
};

// Gradient descent on the logistic loss with weight decay, one text at a time, slower from pass to pass.
Classifier train(const graft::Dataset& data, const std::string& positive) {
  std::vector<std::pair<std::set<std::string>, double>> rows;
  for (const graft::Example& e : data.examples())
    rows.emplace_back(words_of(e.text), e.labels.at(0) == positive ? 1.0 : 0.0);
  Classifier c;
  for (int pass = 0; pass < 100; ++pass) {
    const double rate = 0.1 / (1 + 0.1 * pass);
    for (const auto& [words, label] : rows) {
      const double error = label - 1 / (1 + std::exp(-c.score(words)));
      c.bias += rate * error;
      for (const std::string& w : words) {
        double& v = c.weight[w];
        v += rate * (error - 0.01 * v);
      }
    }
  }
  return c;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw graft::Error("usage: bag_of_words TRAIN.csv TEST.csv");
  graft::DatasetOptions options;
  options.require_label = true;
  const auto data = graft::Dataset::from_file(argv[1], options);
  const auto test = graft::Dataset::from_file(argv[2], options);
  if (data.label_counts().size() != 2) throw graft::Error(std::string(argv[1]) + ": two labels are needed");
  const std::string positive = data.label_counts()[1].label;
  const Classifier classifier = train(data, positive);
  const auto right =
      std::count_if(test.examples().begin(), test.examples().end(), [&](const graft::Example& e) {
        return (classifier.score(words_of(e.text)) > 0) == (e.labels.at(0) == positive);
      });
  std::printf("%.4f\n", static_cast<double>(right) / static_cast<double>(test.size()));
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
