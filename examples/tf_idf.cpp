// Counting words well, to set a fine-tuned language model beside: tf-idf of words and of character n-grams
// with logistic regression, as scikit-learn's TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
// TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True) and LogisticRegression(C=10)
// compute it.
//   tf_idf TRAIN.csv TEST.csv [MAX_TRAIN_SAMPLES]     two labels; prints the accuracy, the correct answers
//   and their number
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graft/dataset.h"
#include "graft/error.h"

namespace {

constexpr double kInverseRegularisation = 10;  // C of the loss |w|^2 / 2 + C * sum log(1 + exp(-y f))
constexpr int kIterations = 3000;  // of accelerated gradient descent: converged to the last answer

using Counts = std::map<std::string, int>;
using Row = std::vector<std::pair<int, double>>;  // (feature, value)

// Starts of the characters of a UTF-8 text, and its end.
std::vector<size_t> characters(const std::string& text) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) starts.push_back(i);
  }
  starts.push_back(text.size());
  return starts;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
// Every byte beyond ASCII counts as a letter.
bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80); }

// Runs of at least `shortest` characters that `inside` accepts.
template <class Inside>
std::vector<std::string> runs(const std::string& text, size_t shortest, Inside inside) {
  std::vector<std::string> found;
  std::string run;
  for (const char c : text + '\n') {
    if (inside(c)) {
      run += c;
    } else {
      if (run.size() >= shortest) found.push_back(run);
      run.clear();
    }
  }
  return found;
}

// Words of two letters or more, and pairs of neighbours.
Counts word_counts(const std::string& text) {
  const auto words = runs(text, 2, is_letter);
  Counts counts;
  for (size_t i = 0; i < words.size(); ++i) {
    ++counts[words[i]];
    if (i > 0) ++counts[words[i - 1] + ' ' + words[i]];
  }
  return counts;
}

// 2 to 5 neighbouring characters of each word between spaces.
Counts character_counts(const std::string& text) {
  Counts counts;
  for (const std::string& run : runs(text, 1, [](char c) { return !is_space(c); })) {
    const std::string word = ' ' + run + ' ';
    const auto starts = characters(word);
    const size_t length = starts.size() - 1;
    for (size_t n = 2; n <= 5; ++n) {
      if (n >= length) {  // a short word counts once, whole
        ++counts[word];
        break;
      }
      for (size_t i = 0; i + n <= length; ++i) ++counts[word.substr(starts[i], starts[i + n] - starts[i])];
    }
  }
  return counts;
}

// One kind of counts: (1 + log count) * (log((1 + N) / (1 + texts with it)) + 1), each text scaled to
// length 1.
class TfIdf {
 public:
  TfIdf(Counts (*count)(const std::string&), int first_feature) : count_(count), first_(first_feature) {}

  void fit(const std::vector<std::string>& texts) {
    std::vector<int> texts_with;
    for (const std::string& text : texts) {
      for (const auto& [key, n] : count_(text)) {
        const auto [it, is_new] = features_.emplace(key, static_cast<int>(features_.size()));
        if (is_new) texts_with.push_back(0);
        ++texts_with[static_cast<size_t>(it->second)];
      }
    }
    const double total = 1.0 + static_cast<double>(texts.size());
    for (const int n : texts_with) idf_.push_back(std::log(total / (1 + n)) + 1);
  }

  int end_feature() const { return first_ + static_cast<int>(features_.size()); }

  void append(const std::string& text, Row& row) const {
    const size_t begin = row.size();
    double squares = 0;
    for (const auto& [key, n] : count_(text)) {
      const auto it = features_.find(key);
      if (it == features_.end()) continue;
      const double value = (1 + std::log(n)) * idf_[static_cast<size_t>(it->second)];
      row.emplace_back(first_ + it->second, value);
      squares += value * value;
    }
    for (size_t i = begin; i < row.size(); ++i) row[i].second /= std::sqrt(squares);
  }

 private:
  Counts (*count_)(const std::string&);
  int first_;
  std::unordered_map<std::string, int> features_;
  std::vector<double> idf_;
};

double score(const std::vector<double>& weight, const Row& row) {
  double sum = weight.back();  // the bias
  for (const auto& [feature, value] : row) sum += weight[static_cast<size_t>(feature)] * value;
  return sum;
}

// Minimises the regularised logistic loss by accelerated gradient descent (Nesterov); `signs` are +1 and -1.
// The bias is not regularised. A row's squared length is at most 3 (two parts of length 1 and the bias),
// which bounds the curvature.
std::vector<double> train(const std::vector<Row>& rows, const std::vector<int>& signs, int num_features) {
  const double step = 1 / (1 + kInverseRegularisation * 0.25 * 3 * static_cast<double>(rows.size()));
  std::vector<double> weight(static_cast<size_t>(num_features) + 1, 0), previous = weight, ahead = weight;
  for (int k = 0; k < kIterations; ++k) {
    std::vector<double> gradient = ahead;
    gradient.back() = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const double g = -kInverseRegularisation * signs[i] / (1 + std::exp(signs[i] * score(ahead, rows[i])));
      for (const auto& [feature, value] : rows[i]) gradient[static_cast<size_t>(feature)] += g * value;
      gradient.back() += g;
    }
    previous.swap(weight);
    for (size_t j = 0; j < weight.size(); ++j) {
      weight[j] = ahead[j] - step * gradient[j];
      ahead[j] = weight[j] + k / (k + 3.0) * (weight[j] - previous[j]);
    }
  }
  return weight;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) throw graft::Error("usage: tf_idf TRAIN.csv TEST.csv [MAX_TRAIN_SAMPLES]");
  graft::DatasetOptions options;
  options.require_label = true;
  const auto train_set = graft::Dataset::from_file(argv[1], options);
  const auto test_set = graft::Dataset::from_file(argv[2], options);
  size_t n = train_set.examples().size();
  if (argc == 4) n = std::min(n, static_cast<size_t>(std::max(1, std::atoi(argv[3]))));
  if (train_set.label_counts().size() != 2)
    throw graft::Error(std::string(argv[1]) + ": two labels are needed");
  const std::string positive = train_set.label_counts()[1].label;

  std::vector<std::string> texts;
  std::vector<int> signs;
  for (size_t i = 0; i < n; ++i) {
    const graft::Example& e = train_set.examples()[i];
    texts.push_back(lower(e.text));
    signs.push_back(e.labels.at(0) == positive ? 1 : -1);
  }
  TfIdf words(word_counts, 0);
  words.fit(texts);
  TfIdf pieces(character_counts, words.end_feature());
  pieces.fit(texts);
  const auto features_of = [&](const std::string& text) {
    Row row;
    words.append(text, row);
    pieces.append(text, row);
    return row;
  };
  std::vector<Row> rows;
  rows.reserve(texts.size());
  for (const std::string& text : texts) rows.push_back(features_of(text));
  const auto weight = train(rows, signs, pieces.end_feature());

  const auto right =
      std::count_if(test_set.examples().begin(), test_set.examples().end(), [&](const graft::Example& e) {
        return (score(weight, features_of(lower(e.text))) > 0) == (e.labels.at(0) == positive);
      });
  std::printf("%.4f %ld %zu\n", static_cast<double>(right) / static_cast<double>(test_set.size()),
              static_cast<long>(right), test_set.examples().size());
} catch (const graft::Error& e) {
  std::fprintf(stderr, "error: %s\n%s\n", e.what(), e.hint().c_str());
  return 1;
}
