#include "text/file_tokenizer.h"

#include <simdjson.h>

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/truncation.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

void start(SequenceTokens& tokens, const EncodeOptions& options) {
  tokens.clear();
  if (options.reference_windows && options.truncation != Truncation::none && options.max_length > 0)
    tokens.max_tokens = static_cast<size_t>(options.max_length);
}

void push_token(SequenceTokens& out, int32_t id, Span bytes, bool offsets) {
  out.ids.push_back(id);
  if (!offsets) return;
  out.offsets.emplace_back(bytes.begin, bytes.end);
  out.words.push_back(out.num_words);
}

}  // namespace

// Converts byte offsets to code points. Fast for increasing offsets.
class FileTokenizer::CharCounter {
 public:
  explicit CharCounter(std::string_view text) : text_(text) {}
  int32_t at(int32_t pos) {
    for (; pos_ < pos; ++pos_) chars_ += !is_continuation(text_[pos_]);
    for (; pos_ > pos; --pos_) chars_ -= !is_continuation(text_[pos_ - 1]);
    return chars_;
  }
  // Sets the value of at(pos).
  void set(int32_t pos, int32_t chars) {
    pos_ = pos;
    chars_ = chars;
  }

 private:
  std::string_view text_;
  int32_t pos_ = 0, chars_ = 0;
};

FileTokenizer::FileTokenizer(TokenizerParts parts) : parts_(std::move(parts)) { refresh(); }

void FileTokenizer::refresh() {
  parts_.added.refresh(parts_.normalizer.get());
  fast_ = FastPath::make(parts_);
  const Json pre = parts_.blocks.value("pre_tokenizer", Json(nullptr));
  prefix_words_ =
      pre.is_object() && pre.value("type", "") == "ByteLevel" && !pre.value("add_prefix_space", true);
  scratch_.clear();
  if (!parts_.post_processor.trims_offsets || !spaces_.empty()) return;
  const Vocab& vocab = parts_.model->vocab;
  spaces_.resize(static_cast<size_t>(vocab.end_id()));
  for (int32_t id = 0; id < vocab.end_id(); ++id) {
    const std::string_view token = vocab.token(id);
    int32_t leading = 0, trailing = 0, chars = 0;
    for (size_t pos = 0; pos < token.size(); ++chars) {
      const char32_t c = next_char(token, pos);
      const bool space = c == 0x120 || is_whitespace(c);  // U+0120 is the byte-level space
      leading += space && leading == chars;
      trailing = space ? trailing + 1 : 0;
    }
    spaces_[id] = {leading, trailing};
  }
}
FileTokenizer::~FileTokenizer() = default;

void FileTokenizer::encode_plain(const AlignedText& text, bool offsets, SequenceTokens& out) const {
  if (text.text.empty()) return;
  PreTokenized cut{text, {{0, static_cast<int32_t>(text.text.size())}}};
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->pre_tokenize(cut);
  Pieces pieces;
  for (const Span& word : cut.words) {
    if (out.is_full()) return;
    pieces.clear();
    parts_.model->tokenize(std::string_view(cut.text.text).substr(word.begin, word.end - word.begin), pieces);
    for (const Piece& piece : pieces)
      push_token(out, piece.id,
                 offsets ? cut.text.original(word.begin + piece.begin, word.begin + piece.end) : Span{},
                 offsets);
    ++out.num_words;
  }
}

void FileTokenizer::encode_general(std::string_view text, size_t begin, size_t end, bool offsets,
                                   SequenceTokens& out) const {
  AlignedText aligned;
  aligned.assign(text.substr(begin, end - begin), static_cast<int32_t>(begin));
  if (parts_.normalizer) parts_.normalizer->normalize(aligned);
  if (parts_.added.normalized().empty()) return encode_plain(aligned, offsets, out);
  std::vector<Section> sections;
  parts_.added.normalized().find(aligned.text, 0, aligned.text.size(), sections);
  for (const Section& section : sections) {
    if (out.is_full()) break;
    if (section.id >= 0) {
      const bool is_first = out.ids.empty() || aligned.align[section.begin].begin == 0;
      Span span = added_span(aligned.text, section, is_first);
      if (span.begin < span.end) {
        span = aligned.original(span.begin, span.end);
      } else {  // white space only: an empty span at its end
        span.begin = span.end = aligned.original(section.begin, section.end).end;
      }
      push_token(out, section.id, span, offsets);
      ++out.num_words;
      continue;
    }
    if (section.begin == 0 && section.end == aligned.text.size()) return encode_plain(aligned, offsets, out);
    AlignedText part;
    part.text = aligned.text.substr(section.begin, section.end - section.begin);
    part.align.assign(aligned.align.begin() + section.begin, aligned.align.begin() + section.end);
    encode_plain(part, offsets, out);
  }
}

void FileTokenizer::encode_fast(std::string_view text, const Section& section, bool offsets,
                                CharCounter& chars, Scratch& scratch, SequenceTokens& out) const {
  const auto begin = static_cast<int32_t>(section.begin), end = static_cast<int32_t>(section.end);
  const int32_t first = offsets ? chars.at(begin) : 0;
  const int32_t count =
      fast_->encode(text.substr(section.begin, section.end - section.begin), offsets, first, scratch, out);
  if (offsets) chars.set(end, first + count);
}

void FileTokenizer::encode_section(std::string_view text, const Section& section, bool offsets,
                                   CharCounter& chars, Scratch& scratch, SequenceTokens& out) const {
  const bool fast = fast_ && out.max_tokens == SIZE_MAX &&
                    fast_->accepts(text.substr(section.begin, section.end - section.begin));
  const size_t first = out.ids.size();
  if (!fast) {
    encode_general(text, section.begin, section.end, offsets, out);
    for (size_t i = first; offsets && i < out.offsets.size(); ++i)
      out.offsets[i] = {chars.at(out.offsets[i].first), chars.at(out.offsets[i].second)};
    return;
  }
  const TokenFinder& normalized = parts_.added.normalized();  // the normalizer changes nothing here
  if (normalized.candidate(text, section.begin, section.end) == section.end)
    return encode_fast(text, section, offsets, chars, scratch, out);
  std::vector<Section> parts;
  normalized.find(text, section.begin, section.end, parts);
  for (const Section& part : parts) {
    if (part.id >= 0)
      push_added(text, part, offsets, chars, out);
    else
      encode_fast(text, part, offsets, chars, scratch, out);
  }
}

void FileTokenizer::push_added(std::string_view text, const Section& section, bool offsets,
                               CharCounter& chars, SequenceTokens& out) const {
  Span span = added_span(text, section, out.ids.empty() || section.begin == 0);
  if (offsets) span = {chars.at(span.begin), chars.at(span.end)};
  push_token(out, section.id, span, offsets);
  ++out.num_words;
}

void FileTokenizer::encode_text(std::string_view text, bool offsets, Scratch& scratch, SequenceTokens& out,
                                int32_t& num_replaced) const {
  std::string valid;
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    size_t count = 0;
    valid = utf8::replace_invalid(text, &count);
    num_replaced += static_cast<int32_t>(count);
    text = valid;
  }
  if (text.size() > INT32_MAX / 2) fail("a text of {} bytes is too long: cut it into documents", text.size());
  CharCounter chars(text);
  const TokenFinder& raw = parts_.added.raw();
  if (raw.candidate(text, 0, text.size()) == text.size()) {
    if (!text.empty()) encode_section(text, {0, text.size(), -1}, offsets, chars, scratch, out);
    return;
  }
  std::vector<Section> sections;
  raw.find(text, 0, text.size(), sections);
  for (const Section& section : sections) {
    if (out.is_full()) break;
    if (section.id >= 0)
      push_added(text, section, offsets, chars, out);
    else
      encode_section(text, section, offsets, chars, scratch, out);
  }
}

// An added token with lstrip or rstrip includes white space, which trimming removes from its span. With
// add_prefix_space, a single space before the first token or at the start of the text is not trimmed.
Span FileTokenizer::added_span(std::string_view text, const Section& section, bool is_first) const {
  size_t begin = section.begin, end = section.end;
  if (!parts_.post_processor.trims_offsets) return {static_cast<int32_t>(begin), static_cast<int32_t>(end)};
  int leading = 0;
  for (size_t next = begin; begin < end && is_whitespace(next_char(text, next)); begin = next) ++leading;
  if (leading == 1 && is_first && parts_.post_processor.add_prefix_space) begin = section.begin;
  while (end > begin) {
    size_t last = end - 1;
    while (last > begin && is_continuation(text[last])) --last;
    size_t next = last;
    if (!is_whitespace(next_char(text, next))) break;
    end = last;
  }
  return {static_cast<int32_t>(begin), static_cast<int32_t>(end)};
}

void FileTokenizer::trim_offsets(SequenceTokens& tokens, bool add_prefix_space) const {
  for (size_t i = 0; i < tokens.offsets.size(); ++i) {
    const int32_t id = tokens.ids[i];
    if (id >= static_cast<int32_t>(spaces_.size()) || parts_.added.by_id(id)) continue;
    auto [leading, trailing] = spaces_[id];
    auto& [begin, end] = tokens.offsets[i];
    if (leading > 0) {
      if (leading == 1 && (i == 0 || begin == 0) && add_prefix_space) leading = 0;
      begin = std::min(begin + leading, end);
    }
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

Encoding FileTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  ScratchPool::Lease scratch(scratch_);
  start(scratch->first, options);
  int32_t replaced = 0;
  encode_text(text, !options.ids_only, *scratch, scratch->first, replaced);
  Encoding out = assemble(scratch->first, nullptr, options);
  out.num_replaced = replaced;
  return out;
}

Encoding FileTokenizer::encode_pair(std::string_view text, std::string_view pair,
                                    const EncodeOptions& options) const {
  ScratchPool::Lease scratch(scratch_);
  start(scratch->first, options);
  start(scratch->second, options);
  int32_t replaced = 0;
  encode_text(text, !options.ids_only, *scratch, scratch->first, replaced);
  encode_text(pair, !options.ids_only, *scratch, scratch->second, replaced);
  Encoding out = assemble(scratch->first, &scratch->second, options);
  out.num_replaced = replaced;
  return out;
}

Encoding FileTokenizer::encode_words(const std::vector<std::string>& words,
                                     const EncodeOptions& options) const {
  ScratchPool::Lease scratch(scratch_);
  SequenceTokens &all = scratch->first, &word = scratch->second;
  all.clear();
  all.has_prefix_space = prefix_words_;
  int32_t replaced = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    word.clear();
    if (prefix_words_ && !words[i].empty() && words[i][0] != ' ') {
      encode_text(" " + words[i], !options.ids_only, *scratch, word, replaced);
      for (auto& [begin, end] : word.offsets) {
        begin = std::max(0, begin - 1);
        end = std::max(1, end - 1);
      }
    } else {
      encode_text(words[i], !options.ids_only, *scratch, word, replaced);
    }
    all.ids.insert(all.ids.end(), word.ids.begin(), word.ids.end());
    all.offsets.insert(all.offsets.end(), word.offsets.begin(), word.offsets.end());
    all.words.resize(all.offsets.size(), static_cast<int32_t>(i));
  }
  Encoding out = assemble(all, nullptr, options);
  out.num_replaced = replaced;
  return out;
}

void FileTokenizer::append_window(const std::vector<TemplatePiece>& pieces,
                                  const SequenceTokens* sequences[2], const Span* windows,
                                  const EncodeOptions& options, Encoding& out) const {
  const bool full = !options.ids_only;
  size_t size = 0;
  for (const TemplatePiece& piece : pieces)
    size += piece.sequence < 0
                ? piece.ids.size()
                : static_cast<size_t>(windows[piece.sequence].end - windows[piece.sequence].begin);
  const bool typed = full || std::any_of(pieces.begin(), pieces.end(),
                                         [](const TemplatePiece& piece) { return piece.type_id != 0; });
  out.input_ids.reserve(size);
  if (typed) out.token_type_ids.reserve(size);
  if (full) {
    out.special_tokens_mask.reserve(size);
    out.offsets.reserve(size);
    out.word_ids.reserve(size);
    out.sequence_ids.reserve(size);
  }
  for (const TemplatePiece& piece : pieces) {
    if (piece.sequence < 0) {
      if (!options.add_special_tokens) continue;
      for (const int32_t id : piece.ids) {
        out.input_ids.push_back(id);
        if (typed) out.token_type_ids.push_back(piece.type_id);
        if (!full) continue;
        out.special_tokens_mask.push_back(1);
        out.offsets.emplace_back(0, 0);
        out.word_ids.push_back(-1);
        out.sequence_ids.push_back(-1);
      }
      continue;
    }
    const SequenceTokens& tokens = *sequences[piece.sequence];
    const Span window = windows[piece.sequence];
    out.input_ids.insert(out.input_ids.end(), tokens.ids.begin() + window.begin,
                         tokens.ids.begin() + window.end);
    if (typed) out.token_type_ids.resize(out.input_ids.size(), piece.type_id);
    if (!full) continue;
    out.special_tokens_mask.resize(out.input_ids.size());
    out.offsets.insert(out.offsets.end(), tokens.offsets.begin() + window.begin,
                       tokens.offsets.begin() + window.end);
    out.word_ids.insert(out.word_ids.end(), tokens.words.begin() + window.begin,
                        tokens.words.begin() + window.end);
    out.sequence_ids.resize(out.input_ids.size(), piece.sequence);
  }
}

const std::vector<TemplatePiece>& FileTokenizer::pieces_of(bool add_special_tokens, bool is_pair) const {
  static const std::vector<TemplatePiece> kBare[2] = {{{0, 0, {}}}, {{0, 0, {}}, {1, 1, {}}}};
  if (!add_special_tokens) return kBare[is_pair];
  return is_pair ? parts_.post_processor.pair : parts_.post_processor.single;
}

int32_t FileTokenizer::visit(std::string_view text, bool add_special_tokens, const Visitor& see) const {
  ScratchPool::Lease scratch(scratch_);
  scratch->first.clear();
  int32_t replaced = 0;
  encode_text(text, true, *scratch, scratch->first, replaced);
  if (parts_.post_processor.trims_offsets)
    trim_offsets(scratch->first, parts_.post_processor.add_prefix_space);
  see(scratch->first, pieces_of(add_special_tokens, false));
  scratch->first.clear();
  return replaced;
}

Encoding FileTokenizer::assemble(SequenceTokens& first, SequenceTokens* second,
                                 const EncodeOptions& options) const {
  if (parts_.post_processor.trims_offsets && !options.ids_only) {
    const bool prefix = parts_.post_processor.add_prefix_space || first.has_prefix_space;
    trim_offsets(first, prefix);
    if (second) trim_offsets(*second, prefix);
  }
  const bool is_pair = second != nullptr;
  const PostProcessor& post = parts_.post_processor;
  const auto& pieces = pieces_of(options.add_special_tokens, is_pair);
  const auto first_size = static_cast<int32_t>(first.ids.size());
  const int32_t second_size = second ? static_cast<int32_t>(second->ids.size()) : -1;
  const SequenceTokens* sequences[2] = {&first, second};
  Encoding out;
  if ((options.truncation == Truncation::none || options.max_length <= 0) && !options.return_overflowing) {
    const Span whole[2] = {{0, first_size}, {0, std::max(second_size, 0)}};
    append_window(pieces, sequences, whole, options, out);
    return out;
  }
  const bool left = options.truncation_side == TruncationSide::left ||
                    (options.truncation_side == TruncationSide::as_configured &&
                     parts_.config.value("truncation_side", "right") == "left");
  const Windows windows = truncate(first_size, second_size,
                                   options.add_special_tokens ? post.num_special(is_pair) : 0, options, left);
  std::vector<TemplatePiece> untyped;  // pieces whose sequences keep their own type ids
  const auto emit = [&](size_t a, size_t b, Encoding& target) {
    const bool keeps_types = options.reference_windows && post.is_template && (a > 0 || b > 0);
    if (keeps_types) {
      untyped = pieces;
      for (TemplatePiece& piece : untyped)
        if (piece.sequence == 0 ? a > 0 : piece.sequence == 1 && b > 0) piece.type_id = piece.sequence;
    }
    const Span chosen[2] = {windows.first[a], is_pair ? windows.second[b] : Span{0, 0}};
    append_window(keeps_types ? untyped : pieces, sequences, chosen, options, target);
  };
  emit(0, 0, out);
  if (!options.return_overflowing) {
    const auto kept = [](const std::vector<Span>& w) { return w.empty() ? 0 : w[0].end - w[0].begin; };
    out.num_truncated = first_size + std::max(second_size, 0) - kept(windows.first) - kept(windows.second);
    return out;
  }
  const size_t num_second = is_pair ? windows.second.size() : 1;
  out.overflowing.reserve(windows.first.size() * num_second - 1);
  for (size_t i = 1; i <= windows.first.size(); ++i) {  // the main first window comes last
    const size_t a = i % windows.first.size();
    for (size_t b = a == 0 ? 1 : 0; b < num_second; ++b) {
      out.overflowing.emplace_back();
      emit(a, b, out.overflowing.back());
    }
  }
  return out;
}

std::string FileTokenizer::decode(const std::vector<int32_t>& ids, bool skip_special_tokens,
                                  bool clean_up) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    if (!parts_.model->vocab.has(id) && !parts_.added.by_id(id)) continue;
    tokens.push_back(id_to_token(id));
  }
  std::string text;
  if (parts_.decoder) {
    parts_.decoder(tokens);
    for (const std::string& token : tokens) text += token;
  } else {
    for (size_t i = 0; i < tokens.size(); ++i) text += (i ? " " : "") + tokens[i];
  }
  return clean_up ? clean_up_pieces(std::move(text)) : text;
}

int32_t FileTokenizer::vocab_size() const {
  int32_t size = parts_.model->vocab.end_id();
  for (const AddedToken& token : parts_.added.tokens()) size = std::max(size, token.id + 1);
  return size;
}

std::string FileTokenizer::id_to_token(int32_t id) const {
  if (const AddedToken* token = parts_.added.by_id(id)) return token->content;
  return std::string(parts_.model->vocab.token(id));
}

std::string FileTokenizer::token_source(int32_t id) const {
  if (const AddedToken* token = parts_.added.by_id(id)) return token->source;
  return parts_.model->vocab.has(id) ? parts_.source : "";
}

std::optional<int32_t> FileTokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = parts_.added.by_content(std::string(token))) return added->id;
  const int32_t id = parts_.model->vocab.find(token);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::optional<int32_t> FileTokenizer::special_id(std::string_view role) const {
  const auto it = parts_.roles.find(std::string(role));
  return it == parts_.roles.end() ? std::nullopt : token_to_id(it->second);
}

int32_t FileTokenizer::model_max_length() const {
  const auto it = parts_.config.find("model_max_length");
  if (it == parts_.config.end() || !it->is_number()) return 0;
  const double length = it->get<double>();  // 1e30 means: none
  return length > 0 && length < 1e9 ? static_cast<int32_t>(length) : 0;
}

std::string FileTokenizer::normalize(std::string_view text) const {
  AlignedText aligned;
  aligned.assign(utf8::replace_invalid(text), 0);
  if (parts_.normalizer) parts_.normalizer->normalize(aligned);
  return aligned.text;
}

int32_t FileTokenizer::add_new_tokens(const std::vector<NewToken>& tokens) {
  int32_t added = 0, next = vocab_size();
  for (const NewToken& token : tokens) {
    if (token.content.empty()) continue;
    const auto known = token_to_id(token.content);
    const AddedToken* old = parts_.added.by_content(token.content);
    if (old && (old->special || !token.special)) continue;
    parts_.added.add({known ? *known : next++, token.content, token.single_word, token.lstrip, token.rstrip,
                      token.normalized, token.special, known ? token_source(*known) : "add_tokens"});
    added += !known;
    changed_ = true;
  }
  if (changed_) refresh();
  return added;
}

}  // namespace graft::text
