#include "tasks/text_metrics.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <string>

#include "base/utf8.h"

namespace graft::tasks {

namespace {

using Words = std::vector<std::string>;

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// The words as rouge-score cuts them. Python's lower() maps two characters outside of ASCII into it: the
// Kelvin sign to k, and I with a dot above to i and a combining dot.
Words rouge_words(std::string_view text) {
  Words words;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    at += static_cast<size_t>(std::max(utf8::decode(text, at, c), 1));
    const bool dotted = c == 0x130;
    char letter = c == 0x212A ? 'k' : dotted ? 'i' : c < 0x80 ? static_cast<char>(c) : ' ';
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    if (!is_alphanumeric(letter)) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    words.back() += letter;
    inside = !dotted;
  }
  return words;
}

// Elements that two multisets have in common.
template <class T>
int64_t num_common(std::vector<T> a, std::vector<T> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  std::vector<T> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return static_cast<int64_t>(common.size());
}

double rouge_f1(int64_t common, size_t predicted, size_t reference) {
  if (common == 0) return 0;
  const double precision = static_cast<double>(common) / static_cast<double>(predicted),
               recall = static_cast<double>(common) / static_cast<double>(reference);
  return 2 * precision * recall / (precision + recall);
}

std::vector<std::pair<std::string, std::string>> pairs_of(const Words& words) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (size_t i = 1; i < words.size(); ++i) pairs.emplace_back(words[i - 1], words[i]);
  return pairs;
}

// table[i][j]: length of the longest common subsequence of the first i and the first j words.
std::vector<std::vector<int32_t>> subsequence_table(const Words& a, const Words& b) {
  std::vector<std::vector<int32_t>> table(a.size() + 1, std::vector<int32_t>(b.size() + 1));
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j)
      table[i][j] =
          a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
  return table;
}

// Marks the words of `reference` that are in its longest common subsequence with `prediction`; of several
// such subsequences the one that rouge-score finds.
void mark_common(const Words& reference, const Words& prediction, std::vector<bool>& marked) {
  const auto table = subsequence_table(reference, prediction);
  for (size_t i = reference.size(), j = prediction.size(); i > 0 && j > 0;) {
    if (reference[i - 1] == prediction[j - 1]) {
      marked[--i] = true;
      --j;
    } else if (table[i][j - 1] > table[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
}

std::vector<Words> lines_of(std::string_view text) {
  std::vector<Words> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(rouge_words(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

// A word counts once for each time that it occurs on both sides, however many lines it matches in.
double rouge_of_lines(std::string_view prediction, std::string_view reference) {
  std::map<std::string, int64_t> left_predicted, left_reference;
  size_t predicted = 0, referred = 0;
  const std::vector<Words> prediction_lines = lines_of(prediction), reference_lines = lines_of(reference);
  for (const Words& line : prediction_lines)
    for (const std::string& word : line) ++left_predicted[word], ++predicted;
  for (const Words& line : reference_lines)
    for (const std::string& word : line) ++left_reference[word], ++referred;
  int64_t hits = 0;
  for (const Words& line : reference_lines) {
    std::vector<bool> marked(line.size());
    for (const Words& other : prediction_lines) mark_common(line, other, marked);
    for (size_t i = 0; i < line.size(); ++i) {
      if (!marked[i] || left_predicted[line[i]] == 0 || left_reference[line[i]] == 0) continue;
      --left_predicted[line[i]];
      --left_reference[line[i]];
      ++hits;
    }
  }
  return rouge_f1(hits, predicted, referred);
}

// Words at Python's white space.
std::vector<std::u32string> split(std::string_view text) {
  std::vector<std::u32string> words;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    at += static_cast<size_t>(std::max(utf8::decode(text, at, c), 1));
    const bool space = utf8::is_space(c);
    if (!space && !inside) words.emplace_back();
    if (!space) words.back() += c;
    inside = !space;
  }
  return words;
}

bool is_punctuation(char32_t c) {  // Python's string.punctuation
  return (c > 0x20 && c < 0x30) || (c > 0x39 && c < 0x41) || (c > 0x5A && c < 0x61) || (c > 0x7A && c < 0x7F);
}

// chrF++ cuts one punctuation mark off a word: the last character, else the first.
std::vector<std::u32string> without_punctuation(const std::vector<std::u32string>& words) {
  std::vector<std::u32string> out;
  for (const std::u32string& word : words) {
    const size_t n = word.size();
    const size_t cut = n == 1                         ? 0
                       : is_punctuation(word.back())  ? n - 1
                       : is_punctuation(word.front()) ? 1
                                                      : 0;
    if (cut > 0) out.push_back(word.substr(0, cut));
    out.push_back(word.substr(cut));
  }
  return out;
}

// All runs of n elements; Sequence is a string of characters or a list of words.
template <class Sequence>
std::vector<Sequence> runs_of(const Sequence& sequence, size_t n) {
  std::vector<Sequence> runs;
  for (size_t i = 0; i + n <= sequence.size(); ++i) {
    const auto begin = sequence.begin() + static_cast<std::ptrdiff_t>(i);
    runs.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(n));
  }
  return runs;
}

std::u32string joined(const std::vector<std::u32string>& words) {
  std::u32string out;
  for (const std::u32string& word : words) out += word;
  return out;
}

std::string_view stripped(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    const auto n = static_cast<size_t>(std::max(utf8::decode(text, at, c), 1));
    if (!utf8::is_space(c)) {
      begin = std::min(begin, at);
      end = at + n;
    }
    at += n;
  }
  return text.substr(begin, end > begin ? end - begin : 0);
}

constexpr size_t kCharacterOrder = 6;

}  // namespace

RougeScores rouge(std::string_view prediction, std::string_view reference) {
  const Words p = rouge_words(prediction), r = rouge_words(reference);
  const auto p2 = pairs_of(p), r2 = pairs_of(r);
  RougeScores out;
  out.rouge1 = rouge_f1(num_common(p, r), p.size(), r.size());
  out.rouge2 = rouge_f1(num_common(p2, r2), p2.size(), r2.size());
  out.rougeL = rouge_f1(subsequence_table(r, p).back().back(), p.size(), r.size());
  out.rougeLsum = rouge_of_lines(prediction, reference);
  return out;
}

ChrF::ChrF(size_t word_order) : orders_(kCharacterOrder + word_order) {}

void ChrF::add(std::string_view prediction, std::string_view reference) {
  const auto count = [&](size_t order, const auto& p, const auto& r) {
    orders_[order].common += num_common(p, r);
    // An order that the reference is too short for is not counted against the prediction.
    if (!r.empty()) orders_[order].predicted += static_cast<int64_t>(p.size());
    orders_[order].reference += static_cast<int64_t>(r.size());
  };
  const auto p = split(prediction), r = split(reference);
  const std::u32string p_text = joined(p), r_text = joined(r);
  for (size_t n = 1; n <= kCharacterOrder; ++n) count(n - 1, runs_of(p_text, n), runs_of(r_text, n));
  if (orders_.size() == kCharacterOrder) return;
  const auto p_words = without_punctuation(p), r_words = without_punctuation(r);
  for (size_t n = 1; n + kCharacterOrder <= orders_.size(); ++n)
    count(kCharacterOrder + n - 1, runs_of(p_words, n), runs_of(r_words, n));
}

double ChrF::score() const {
  constexpr double kBetaSquared = 4;
  double precision = 0, recall = 0;
  int orders = 0;
  for (const Counts& c : orders_) {
    if (c.predicted == 0 || c.reference == 0) continue;
    precision += static_cast<double>(c.common) / static_cast<double>(c.predicted);
    recall += static_cast<double>(c.common) / static_cast<double>(c.reference);
    ++orders;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  return 100 * ((1 + kBetaSquared) * precision * recall / (kBetaSquared * precision + recall));
}

Partial ChrF::partial() const {
  Partial part;
  for (const Counts& c : orders_)
    for (const int64_t n : {c.predicted, c.reference, c.common}) part.push_back(static_cast<double>(n));
  return part;
}

void ChrF::merge(const Partial& part) {
  for (size_t i = 0; i < orders_.size(); ++i) {
    orders_[i].predicted += static_cast<int64_t>(part.at(3 * i));
    orders_[i].reference += static_cast<int64_t>(part.at(3 * i + 1));
    orders_[i].common += static_cast<int64_t>(part.at(3 * i + 2));
  }
}

void TextMetrics::add(std::string_view prediction, std::string_view reference) {
  prediction = stripped(prediction);
  reference = stripped(reference);
  rouge_.push_back(rouge(prediction, reference));
  chrf_.add(prediction, reference);
  chrf_plus_plus_.add(prediction, reference);
  exact_ += prediction == reference;
}

Partial TextMetrics::partial() const {
  Partial part = {static_cast<double>(exact_)};
  for (const ChrF* metric : {&chrf_, &chrf_plus_plus_}) {
    const Partial counts = metric->partial();
    part.insert(part.end(), counts.begin(), counts.end());
  }
  for (const RougeScores& s : rouge_) part.insert(part.end(), {s.rouge1, s.rouge2, s.rougeL, s.rougeLsum});
  return part;
}

void TextMetrics::merge(const Partial& part) {
  auto at = part.begin();
  exact_ += static_cast<int64_t>(*at++);
  for (ChrF* metric : {&chrf_, &chrf_plus_plus_}) {
    const auto end = at + static_cast<std::ptrdiff_t>(metric->partial().size());
    metric->merge({at, end});
    at = end;
  }
  for (; at != part.end(); at += 4) rouge_.push_back({at[0], at[1], at[2], at[3]});
}

MetricValues TextMetrics::values() const {
  const double undefined = std::numeric_limits<double>::quiet_NaN();
  const bool any = !rouge_.empty();
  const double n = static_cast<double>(rouge_.size());
  const auto percent = [&](double RougeScores::*score) {
    double sum = 0;
    for (const RougeScores& s : rouge_) sum += s.*score;
    return any ? 100 * sum / n : undefined;
  };
  return {{"rouge1", percent(&RougeScores::rouge1)},
          {"rouge2", percent(&RougeScores::rouge2)},
          {"rougeL", percent(&RougeScores::rougeL)},
          {"rougeLsum", percent(&RougeScores::rougeLsum)},
          {"chrf", any ? chrf_.score() : undefined},
          {"chrf++", any ? chrf_plus_plus_.score() : undefined},
          {"exact_match", any ? static_cast<double>(exact_) / n : undefined}};
}

}  // namespace graft::tasks
