#include "tasks/question_windows.h"

#include <algorithm>

#include "base/error.h"
#include "base/shown.h"
#include "base/utf8.h"

namespace graft::tasks {

std::string without_leading_space(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    const int n = std::max(utf8::decode(text, at, c), 1);
    if (!utf8::is_space(c)) return text.substr(at);
    at += static_cast<size_t>(n);
  }
  return "";
}

std::string question_place(const std::string& origin, const Example& e, size_t index) {
  std::string place = origin.empty() ? "the data" : origin;
  if (e.line > 0) place += fmt::format(": line {}", e.line);
  place += fmt::format(": question {}", index + 1);
  return e.id.empty() ? place : place + fmt::format(" (id {})", shown(e.id));
}

bool is_blank(const std::string& text) { return without_leading_space(text).empty(); }

std::string code_points(const std::string& text, int64_t begin, int64_t end) {
  size_t first = text.size(), last = text.size();
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (count == begin) first = at;
    if (count++ == end) {
      last = at;
      break;
    }
  }
  return first < last ? text.substr(first, last - first) : "";
}

namespace {

EncodeOptions window_options(const QuestionSettings& settings) {
  EncodeOptions options;
  options.truncation = Truncation::only_second;
  options.truncation_side = TruncationSide::right;
  options.max_length = settings.max_seq_length;
  options.stride = settings.stride();
  options.return_overflowing = true;
  return options;
}

std::vector<Encoding> windows_of(Encoding first) {
  std::vector<Encoding> windows = std::move(first.overflowing);
  first.overflowing.clear();
  windows.insert(windows.begin(), std::move(first));
  return windows;
}

}  // namespace

std::vector<Encoding> encode_windows(const Tokenizer& tokenizer, const std::string& question,
                                     const std::string& context, const QuestionSettings& settings) {
  Encoding first;
  try {
    first = tokenizer.encode_pair(without_leading_space(question), context, window_options(settings));
  } catch (const Error&) {
    const auto alone = static_cast<int64_t>(tokenizer.encode_pair(question, "").input_ids.size());
    if (settings.max_seq_length - alone > settings.stride()) throw;
    fail_with(
        "use a larger --max_seq_length or a smaller --doc_stride, or shorten the question",
        "the question has {} tokens (special ones included), which leaves {} of max_seq_length {} for the "
        "context: windows that share {} need more",
        alone, std::max<int64_t>(0, settings.max_seq_length - alone), settings.max_seq_length,
        settings.stride());
  }
  return windows_of(std::move(first));
}

WindowContext context_of(const Encoding& window) {
  const auto& ids = window.sequence_ids;
  const auto first = std::find(ids.begin(), ids.end(), 1);
  return {static_cast<int32_t>(first - ids.begin()), static_cast<int32_t>(std::count(first, ids.end(), 1))};
}

namespace {

// Questions [begin, end) with the windows of each. Throws Error with the place of the first that fails.
std::vector<Encoding> encode_piece(const std::vector<Example>& questions, size_t begin, size_t end,
                                   const std::string& origin, const Tokenizer& tokenizer,
                                   const QuestionSettings& settings) {
  std::vector<std::string> texts, contexts;
  for (size_t i = begin; i < end; ++i) {
    texts.push_back(questions[i].text);
    contexts.push_back(questions[i].text_pair);
  }
  try {
    return tokenizer.encode_batch(texts, contexts, window_options(settings));
  } catch (const Error&) {
    for (size_t i = begin; i < end; ++i) {
      try {
        encode_windows(tokenizer, questions[i].text, questions[i].text_pair, settings);
      } catch (const Error& error) {
        fail_with(error.hint(), "{}: {}", question_place(origin, questions[i], i), error.what());
      }
    }
    throw;
  }
}

}  // namespace

QuestionFeatures::QuestionFeatures(std::vector<Example> questions, const std::string& origin,
                                   const Tokenizer& tokenizer, const QuestionSettings& settings,
                                   bool searches)
    : num_questions_(static_cast<int64_t>(questions.size())) {
  const auto cls = tokenizer.special_id("cls_token"), bos = tokenizer.special_id("bos_token");
  constexpr size_t kPiece = 1024;  // questions in flight
  for (size_t begin = 0; begin < questions.size(); begin += kPiece) {
    std::vector<Encoding> piece = encode_piece(questions, begin, std::min(questions.size(), begin + kPiece),
                                               origin, tokenizer, settings);
    for (size_t k = 0; k < piece.size(); ++k) {
      Example& e = questions[begin + k];
      for (const Encoding& w : windows_of(std::move(piece[k]))) {
        int32_t none = 0;
        for (const auto& token : {bos, cls}) {
          const auto at = std::find(w.input_ids.begin(), w.input_ids.end(), token.value_or(-1));
          if (at != w.input_ids.end()) none = static_cast<int32_t>(at - w.input_ids.begin());
        }
        add(w, e, static_cast<int64_t>(begin + k), none, searches);
      }
      if (!searches) continue;
      contexts_.push_back(std::move(e.text_pair));
      std::vector<std::string>& texts = answers_.emplace_back();
      for (AnswerSpan& a : e.answers) texts.push_back(std::move(a.text));
    }
  }
}

// Labels are those of the first answer if it is in the window, else `none`.
void QuestionFeatures::add(const Encoding& w, const Example& question, int64_t index, int32_t none,
                           bool searches) {
  Window out;
  out.question = index;
  out.first_id = static_cast<int64_t>(ids_.size());
  out.first_offset = static_cast<int64_t>(offsets_.size());
  out.context = context_of(w);
  out.start = out.end = none;
  ids_.insert(ids_.end(), w.input_ids.begin(), w.input_ids.end());
  types_.insert(types_.end(), w.token_type_ids.begin(), w.token_type_ids.end());
  types_.resize(ids_.size(), 0);
  const auto* tokens = w.offsets.data() + out.context.begin;
  const int32_t n = out.context.count;
  if (!question.answers.empty() && n > 0) {
    const AnswerSpan& answer = question.answers.front();
    const int64_t begin = answer.start, end = begin + static_cast<int64_t>(utf8::length(answer.text));
    if (tokens[0].first <= begin && tokens[n - 1].second >= end) {
      int32_t first = n - 1, last = 0;
      while (first > 0 && tokens[first].first > begin) --first;
      while (last < n - 1 && tokens[last].second < end) ++last;
      out.start = out.context.begin + first;
      out.end = out.context.begin + last;
      ++num_with_answer_;
    }
  }
  if (searches) offsets_.insert(offsets_.end(), tokens, tokens + n);
  windows_.push_back(out);
}

int32_t QuestionFeatures::length(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  const int64_t end =
      at + 1 < windows_.size() ? windows_[at + 1].first_id : static_cast<int64_t>(ids_.size());
  return static_cast<int32_t>(end - windows_[at].first_id);
}

ContextTokens QuestionFeatures::context_tokens(int64_t i) const {
  const Window& w = windows_[static_cast<size_t>(i)];
  return {w.context.begin, w.context.count, offsets_.data() + w.first_offset};
}

void QuestionFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                        int64_t /*epoch*/) const {
  const Window& w = windows_[static_cast<size_t>(i)];
  batch.append_sequence(ids_.data() + w.first_id, types_.data() + w.first_id, length(i), index);
  batch.start_positions.push_back(w.start);
  batch.end_positions.push_back(w.end);
}

}  // namespace graft::tasks
