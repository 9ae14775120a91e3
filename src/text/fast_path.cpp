#include "text/fast_path.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "text/file_tokenizer.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr int kCacheBits = 17;  // 8 MiB a thread: a miss costs many times what a line from a far cache does
constexpr size_t kCacheSize = size_t{1} << kCacheBits;

// Kinds of bytes for BERT's chunks.
enum ByteKind : uint8_t { kWordByte, kSpaceByte, kPunctByte, kOddByte };

constexpr std::array<uint8_t, 256> make_byte_kinds() {
  std::array<uint8_t, 256> kinds{};
  for (int b = 0; b < 256; ++b) {
    const bool alnum = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
    const bool space = b == ' ' || b == '\t' || b == '\n' || b == '\r';
    kinds[b] = alnum ? kWordByte : space ? kSpaceByte : b > 32 && b < 127 ? kPunctByte : kOddByte;
  }
  return kinds;
}
constexpr std::array<uint8_t, 256> kByteKinds = make_byte_kinds();

// The same for GPT-2's words: letters, digits, white space, the rest; bytes beyond ASCII need a closer look.
enum : uint8_t { kGptOther, kGptLetter, kGptDigit, kGptSpace, kGptHigh };
constexpr std::array<uint8_t, 256> make_gpt_kinds() {
  std::array<uint8_t, 256> kinds{};
  for (int b = 0; b < 256; ++b) {
    const bool letter = (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
    kinds[b] = b >= 128                          ? kGptHigh
               : letter                          ? kGptLetter
               : b >= '0' && b <= '9'            ? kGptDigit
               : b == ' ' || (b >= 9 && b <= 13) ? kGptSpace
                                                 : kGptOther;
  }
  return kinds;
}
constexpr std::array<uint8_t, 256> kGptKinds = make_gpt_kinds();

uint8_t byte_at(std::string_view text, size_t pos) { return static_cast<uint8_t>(text[pos]); }

uint64_t load_word(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// A chunk of up to 24 bytes as three words with zeros behind it; `readable` bytes may be read.
void make_key(const char* p, size_t size, size_t readable, uint64_t key[3]) {
  char copy[24];
  if (readable < 24) {
    std::memset(copy, 0, sizeof copy);
    std::memcpy(copy, p, size);
    p = copy;
  }
  const auto low = [](size_t bytes) { return (uint64_t{1} << 8 * bytes) - 1; };
  key[0] = load_word(p);
  key[1] = key[2] = 0;
  if (size < 8) {
    key[0] &= low(size);
  } else if (size > 8) {
    key[1] = load_word(p + 8);
    if (size < 16)
      key[1] &= low(size - 8);
    else if (size > 16)
      key[2] = size < 24 ? load_word(p + 16) & low(size - 16) : load_word(p + 16);
  }
}

size_t slot_of(const uint64_t key[3]) {
  uint64_t h = key[0] * 0x9E3779B97F4A7C15u;
  h ^= (key[1] + (h >> 32)) * 0xD6E8FEB86659FD93u;
  h ^= (key[2] + (h >> 29)) * 0xA0761D6478BD642Fu;
  h ^= h >> 32;
  return (h * 0x9E3779B97F4A7C15u) >> (64 - kCacheBits);
}

// Whether a grapheme cluster or a normal form may reach from the character before `pos` into the one there.
bool may_join(std::string_view text, size_t pos) {
  if (byte_at(text, pos) >= 0x80) {
    size_t p = pos;
    const char32_t c = next_char(text, p);
    const auto bound = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
    if (bound == UTF8PROC_BOUNDCLASS_EXTEND || bound == UTF8PROC_BOUNDCLASS_ZWJ ||
        bound == UTF8PROC_BOUNDCLASS_SPACINGMARK || (char_flags(c) & kMark))
      return true;
  }
  return false;
}
// Characters that cling to what follows (Unicode: Prepend); all lie behind these lead bytes.
bool ends_with_prepend(std::string_view text, size_t pos) {
  if (pos == 0 || byte_at(text, pos - 1) < 0x80) return false;
  size_t start = pos - 1;
  while (start > 0 && is_continuation(text[start])) --start;
  const uint8_t lead = byte_at(text, start);
  if (lead != 0xD8 && lead != 0xDB && lead != 0xDC && lead != 0xE0 && lead != 0xF0) return false;
  const char32_t c = next_char(text, start);
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass == UTF8PROC_BOUNDCLASS_PREPEND;
}

// Normalizers that treat what is left and right of a space independently.
bool is_local(const Json& normalizer) {
  const std::string type = normalizer.value("type", infer_normalizer_type(normalizer));
  if (type == "Sequence") {
    const Json& parts = normalizer["normalizers"];
    return std::all_of(parts.begin(), parts.end(), is_local);
  }
  if (type == "Replace") {
    const Json& pattern = normalizer["pattern"];
    return pattern.is_object() && pattern.contains("String") &&
           pattern["String"].get<std::string>().find(' ') == std::string::npos;
  }
  static constexpr const char* kLocal[] = {"Precompiled", "NFC",          "NFD",       "NFKC",
                                           "NFKD",        "StripAccents", "Lowercase", "Nmt"};
  return std::any_of(std::begin(kLocal), std::end(kLocal), [&](const char* name) { return type == name; });
}

// Characters that occur in Replace patterns: not plain, whatever they become alone.
void collect_pattern_chars(const Json& normalizer, std::string& out) {
  if (!normalizer.is_object()) return;
  if (normalizer.contains("normalizers"))
    for (const Json& part : normalizer["normalizers"]) collect_pattern_chars(part, out);
  if (normalizer.contains("pattern") && normalizer["pattern"].contains("String"))
    out += normalizer["pattern"]["String"].get<std::string>();
}

}  // namespace

size_t gpt2_word_end_ascii(std::string_view text, size_t pos) {
  const size_t size = text.size();
  const uint8_t first = byte_at(text, pos);
  if (first == '\'') return gpt2_word_end(text, pos, size);
  size_t p = pos + 1;
  uint8_t kind = kGptKinds[first];
  if (first == ' ' && p < size && kGptKinds[byte_at(text, p)] != kGptSpace)
    kind = kGptKinds[byte_at(text, p++)];
  if (kind == kGptHigh) return gpt2_word_end(text, pos, size);
  while (p < size && kGptKinds[byte_at(text, p)] == kind) ++p;
  if (p < size && kGptKinds[byte_at(text, p)] == kGptHigh) return gpt2_word_end(text, pos, size);
  if (kind == kGptSpace && p < size && p - pos > 1) return p - 1;
  return p;
}

// Appends tokens to a SequenceTokens whose arrays are sized ahead.
class FastPath::Writer {
 public:
  Writer(SequenceTokens& out, size_t section_size, bool offsets, int32_t first_char)
      : out_(out), n_(out.ids.size()), offsets_(offsets), chars_(first_char) {
    resize(n_ + section_size / 2 + 16);
  }
  void add(const CachedChunk& c) {
    if (n_ + CachedChunk::kMaxTokens > out_.ids.size()) resize(2 * n_ + 16);
    std::memcpy(out_.ids.data() + n_, c.ids, sizeof c.ids);
    if (offsets_) {
      for (size_t i = 0; i < c.num_tokens; ++i) {
        out_.offsets[n_ + i] = {chars_ + (c.begin[i] & 31), chars_ + c.end[i]};
        out_.words[n_ + i] = out_.num_words + (c.begin[i] >> 5);
      }
      chars_ += c.num_chars;
    }
    out_.num_words += c.num_words;
    n_ += c.num_tokens;
  }
  void add(const std::vector<ChunkToken>& tokens, int32_t num_words, std::string_view chunk) {
    if (n_ + tokens.size() + CachedChunk::kMaxTokens > out_.ids.size()) resize(2 * n_ + tokens.size() + 16);
    for (const ChunkToken& t : tokens) {
      if (offsets_) {
        out_.offsets[n_] = {chars_ + t.begin, chars_ + t.end};
        out_.words[n_] = out_.num_words + t.word;
      }
      out_.ids[n_++] = t.id;
    }
    if (offsets_) chars_ += static_cast<int32_t>(count_chars(chunk));
    out_.num_words += num_words;
  }
  void skip_chars(int32_t n) { chars_ += n; }
  int32_t finish() {
    resize(n_);
    return chars_;
  }

 private:
  void resize(size_t n) {
    out_.ids.resize(n);
    if (!offsets_) return;
    out_.offsets.resize(n);
    out_.words.resize(n);
  }
  SequenceTokens& out_;
  size_t n_;
  bool offsets_;
  int32_t chars_;
};

std::unique_ptr<FastPath> FastPath::make(const TokenizerParts& parts) {
  std::unique_ptr<FastPath> path(new FastPath(parts));
  if (!path->set_up()) return nullptr;
  return path;
}

bool FastPath::set_up() {
  if (!parts_.model->is_cacheable()) return false;
  const Json normalizer = parts_.blocks.value("normalizer", Json(nullptr));
  const Json pre = parts_.blocks.value("pre_tokenizer", Json(nullptr));
  const auto type_of = [](const Json& json) { return json.is_object() ? json.value("type", "") : ""; };
  const bool has_normalized = !parts_.added.normalized().empty();
  if (type_of(pre) == "BertPreTokenizer" && type_of(normalizer) == "BertNormalizer" && !has_normalized) {
    cut_ = Cut::bert;
    isolates_chinese_ = normalizer.value("handle_chinese_chars", true);
    set_up_ascii();
    return true;
  }
  bpe_ = dynamic_cast<const Bpe*>(parts_.model.get());
  if (type_of(pre) == "ByteLevel" && bpe_ && bpe_->has_byte_alphabet() && pre.value("use_regex", true) &&
      !pre.value("add_prefix_space", true) && (normalizer.is_null() || type_of(normalizer) == "NFC")) {
    cut_ = Cut::gpt2;
    needs_nfc_ = !normalizer.is_null();
    return true;
  }
  if (type_of(pre) != "Sequence" || pre["pretokenizers"].size() != 2 || has_normalized) return false;
  const Json &split = pre["pretokenizers"][0], &meta = pre["pretokenizers"][1];
  if (type_of(split) != "WhitespaceSplit" || type_of(meta) != "Metaspace" || !meta.value("split", true))
    return false;
  const PrependScheme scheme = parse_prepend_scheme(meta, parts_.where);
  if (scheme == PrependScheme::first || (!normalizer.is_null() && !is_local(normalizer))) return false;
  cut_ = Cut::spaces;
  prepends_ = scheme == PrependScheme::always && meta.value("replacement", "") == "\xE2\x96\x81";
  set_up_ascii();
  return true;
}

void FastPath::set_up_ascii() {
  std::string special;
  collect_pattern_chars(parts_.blocks.value("normalizer", Json(nullptr)), special);
  for (char c = 33; c < 127; ++c) {
    if (special.find(c) != std::string::npos) continue;
    AlignedText text;
    text.assign({&c, 1}, 0);
    if (parts_.normalizer) parts_.normalizer->normalize(text);
    if (text.text.size() == 1 && text.text[0] > 32) ascii_map_[static_cast<size_t>(c)] = text.text[0];
  }
}

bool FastPath::accepts(std::string_view section) const {
  if (needs_nfc_) return is_surely_normal(section, NormalForm::nfc);
  if (cut_ != Cut::spaces || section.empty()) return true;
  const uint8_t first = byte_at(section, 0);
  if (first >= 0x20 && first < 0x7F) return true;
  // Where the character map removes the first character, the reference's offsets are off by it to the end of
  // the text: that cannot be told from a chunk.
  AlignedText text;
  text.assign(section.substr(0, static_cast<size_t>(sequence_length(section[0]))), 0);
  if (parts_.normalizer) parts_.normalizer->normalize(text);
  return !text.text.empty();
}

// BERT: a punctuation mark, an ideograph, or everything up to the next of them or a space.
size_t FastPath::bert_chunk_end(std::string_view text, size_t pos) const {
  if (kByteKinds[byte_at(text, pos)] == kPunctByte) return pos + 1;
  size_t p = pos;
  while (p < text.size()) {
    const uint8_t kind = kByteKinds[byte_at(text, p)];
    if (kind == kWordByte) {
      ++p;
    } else if (kind != kOddByte) {
      break;
    } else {
      size_t next = p;
      const char32_t c = next_char(text, next);
      if (isolates_chinese_ && (char_flags(c) & kChinese)) return p == pos ? next : p;
      p = next;
    }
  }
  return p;
}

// Spaces and what follows them up to the next space.
size_t FastPath::spaces_chunk_end(std::string_view text, size_t pos) const {
  size_t p = pos;
  while (p < text.size() && text[p] == ' ') ++p;
  for (++p; p < text.size(); ++p) {
    if (text[p] != ' ') continue;
    size_t after = p;
    while (after < text.size() && text[after] == ' ') ++after;
    if (after < text.size() && may_join(text, after)) continue;
    if (!ends_with_prepend(text, p)) return p;
  }
  return text.size();
}

size_t FastPath::chunk_end(std::string_view text, size_t pos) const {
  switch (cut_) {
    case Cut::bert:
      return bert_chunk_end(text, pos);
    case Cut::gpt2:
      return gpt2_word_end_ascii(text, pos);
    case Cut::spaces:
      break;
  }
  return spaces_chunk_end(text, pos);
}

// Cuts the next chunks and asks for their cache lines, so that these are there when their turn comes.
size_t FastPath::look_ahead(std::string_view section, size_t& pos, const Scratch& scratch,
                            Pending* pending) const {
  size_t n = 0;
  while (n < kLookAhead && pos < section.size()) {
    Pending& next = pending[n];
    next.gap = 0;
    if (cut_ == Cut::bert) {
      const size_t before = pos;
      while (pos < section.size() && kByteKinds[byte_at(section, pos)] == kSpaceByte) ++pos;
      next.gap = static_cast<int32_t>(pos - before);
      if (pos == section.size()) break;
    }
    next.begin = pos;
    next.size = chunk_end(section, pos) - pos;
    pos += next.size;
    ++n;
    if (next.size > CachedChunk::kMaxBytes) break;
    make_key(section.data() + next.begin, next.size, section.size() - next.begin, next.key);
    next.slot = slot_of(next.key);
    __builtin_prefetch(&scratch.cache[next.slot]);
  }
  return n;
}

void FastPath::encode_chunk(std::string_view chunk, const Pending& p, Scratch& scratch,
                            Writer& writer) const {
  CachedChunk* entry = p.size <= CachedChunk::kMaxBytes ? &scratch.cache[p.slot] : nullptr;
  if (entry && entry->size == p.size && entry->key[0] == p.key[0] && entry->key[1] == p.key[1] &&
      entry->key[2] == p.key[2])
    return writer.add(*entry);
  int32_t num_words = 0;
  tokenize(chunk, scratch, num_words);
  writer.add(scratch.tokens, num_words, chunk);
  if (!entry || scratch.tokens.size() > CachedChunk::kMaxTokens ||
      num_words >= static_cast<int32_t>(CachedChunk::kMaxWords))
    return;
  std::memcpy(entry->key, p.key, sizeof p.key);
  entry->size = static_cast<uint8_t>(p.size);
  entry->num_tokens = static_cast<uint8_t>(scratch.tokens.size());
  entry->num_words = static_cast<uint8_t>(num_words);
  entry->num_chars = static_cast<uint8_t>(count_chars(chunk));
  for (size_t i = 0; i < scratch.tokens.size(); ++i) {
    const ChunkToken& t = scratch.tokens[i];
    entry->ids[i] = t.id;
    entry->begin[i] = static_cast<uint8_t>(t.begin | t.word << 5);
    entry->end[i] = static_cast<uint8_t>(t.end);
  }
}

int32_t FastPath::encode(std::string_view section, bool offsets, int32_t first_char, Scratch& scratch,
                         SequenceTokens& out) const {
  if (scratch.cache.empty()) scratch.cache.resize(kCacheSize);
  Writer writer(out, section.size(), offsets, first_char);
  Pending pending[kLookAhead];
  for (size_t pos = 0; pos < section.size();) {
    const size_t n = look_ahead(section, pos, scratch, pending);
    for (size_t i = 0; i < n; ++i) {
      writer.skip_chars(pending[i].gap);
      encode_chunk(section.substr(pending[i].begin, pending[i].size), pending[i], scratch, writer);
    }
  }
  const int32_t chars = writer.finish() - first_char;
  // White space at the end belongs to no chunk, but counts.
  return offsets && cut_ == Cut::bert ? static_cast<int32_t>(count_chars(section)) : chars;
}

void FastPath::tokenize(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  scratch.tokens.clear();
  if (cut_ == Cut::gpt2) return tokenize_bytes(chunk, scratch, num_words);
  if (!tokenize_ascii(chunk, scratch, num_words)) tokenize_generic(chunk, scratch, num_words);
}

void FastPath::tokenize_bytes(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  scratch.pieces.clear();
  bpe_->tokenize_bytes(chunk, scratch.pieces);
  num_words = 1;
  int32_t chars = -1;  // index of the character that holds the byte at `pos`
  int32_t pos = -1;
  const auto char_of = [&](int32_t byte) {
    while (pos < byte) chars += !is_continuation(chunk[static_cast<size_t>(++pos)]);
    return chars;
  };
  for (const Piece& piece : scratch.pieces) {
    const int32_t begin = char_of(piece.begin);
    scratch.tokens.push_back({piece.id, begin, char_of(piece.end - 1) + 1, 0});
  }
}

// A word of plain ASCII characters: the normalizer is a table.
bool FastPath::tokenize_ascii(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  const size_t spaces = cut_ == Cut::bert ? 0 : std::min(chunk.find_first_not_of(' '), chunk.size());
  scratch.word.assign(cut_ == Cut::bert ? "" : "\xE2\x96\x81");
  if (cut_ == Cut::spaces && (!prepends_ || spaces == chunk.size())) return false;
  const auto prefix = static_cast<int32_t>(scratch.word.size());
  for (const char ch : chunk.substr(spaces)) {
    const auto b = static_cast<unsigned char>(ch);
    if (b >= 128 || ascii_map_[b] == 0) return false;
    scratch.word += ascii_map_[b];
  }
  scratch.pieces.clear();
  parts_.model->tokenize(scratch.word, scratch.pieces);
  num_words = 1;
  const auto first = static_cast<int32_t>(spaces);
  for (const Piece& p : scratch.pieces) {  // what was put in front shares the place of the first character
    const int32_t begin = std::max(0, p.begin - prefix), end = std::max(1, p.end - prefix);
    scratch.tokens.push_back({p.id, first + begin, first + end, 0});
  }
  return true;
}

void FastPath::tokenize_generic(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  PreTokenized& cut = scratch.cut;
  cut.text.assign(chunk, 0);
  if (parts_.normalizer) parts_.normalizer->normalize(cut.text);
  if (cut.text.text.empty()) return;
  cut.words.assign(1, {0, static_cast<int32_t>(cut.text.text.size())});
  parts_.pre_tokenizer->pre_tokenize(cut);
  int32_t chars = 0, pos = 0;
  const auto chars_before = [&](int32_t byte) {
    for (; pos < byte; ++pos) chars += !is_continuation(chunk[static_cast<size_t>(pos)]);
    for (; pos > byte; --pos) chars -= !is_continuation(chunk[static_cast<size_t>(pos) - 1]);
    return chars;
  };
  for (const Span& word : cut.words) {
    scratch.pieces.clear();
    parts_.model->tokenize(std::string_view(cut.text.text).substr(word.begin, word.end - word.begin),
                           scratch.pieces);
    for (const Piece& piece : scratch.pieces) {
      const Span span = cut.text.original(word.begin + piece.begin, word.begin + piece.end);
      const int32_t begin = chars_before(span.begin);
      scratch.tokens.push_back({piece.id, begin, chars_before(span.end), num_words});
    }
    ++num_words;
  }
}

ScratchPool::Lease::Lease(ScratchPool& pool) : pool_(pool) {
  {
    const std::lock_guard<std::mutex> lock(pool.mutex_);
    if (!pool.free_.empty()) {
      scratch_ = std::move(pool.free_.back());
      pool.free_.pop_back();
    }
  }
  if (!scratch_) scratch_ = std::make_unique<Scratch>();
}

ScratchPool::Lease::~Lease() {
  const std::lock_guard<std::mutex> lock(pool_.mutex_);
  pool_.free_.push_back(std::move(scratch_));
}

void ScratchPool::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.clear();
}

}  // namespace graft::text
