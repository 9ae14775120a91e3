#include "text/fast_path.h"

#include <utf8proc.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/threads.h"
#include "text/file_tokenizer.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr int kCacheBits = 18;  // 16 MiB per thread: a miss is much slower than a line from the L3 cache
constexpr size_t kCacheSize = size_t{1} << kCacheBits;

uint64_t load_word(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// Masks for the bytes of a chunk's key: the mask for a chunk of `size` bytes starts at 24 - size.
struct alignas(64) KeyMask {
  char bytes[48] = {};
  constexpr KeyMask() {
    for (int i = 0; i < 24; ++i) bytes[i] = -1;
  }
};
constexpr KeyMask kKeyMask;

// A chunk of up to 23 bytes as three words: its bytes, zeros, its size. `readable` bytes may be read.
inline ChunkKey make_key(const char* p, size_t size, size_t readable) {
  char copy[24];
  if (readable < sizeof copy) {
    std::memset(copy, 0, sizeof copy);
    std::memcpy(copy, p, size);
    p = copy;
  }
  const char* mask = kKeyMask.bytes + 24 - size;
  return {load_word(p) & load_word(mask), load_word(p + 8) & load_word(mask + 8),
          (load_word(p + 16) & load_word(mask + 16)) | uint64_t{size} << 56};
}

uint64_t hash_of(const ChunkKey& key) {
  uint64_t h = key.a * 0x9E3779B97F4A7C15u ^ key.b * 0xD6E8FEB86659FD93u ^ key.c * 0xA0761D6478BD642Fu;
  h ^= h >> 32;
  return h * 0xE7037ED1A0B428DBu;
}
uint8_t tag_of(uint64_t hash) { return static_cast<uint8_t>(hash >> 8); }
size_t pair_of(uint64_t hash) { return hash >> (64 - kCacheBits) & ~size_t{1}; }

// Normalizers that treat the texts left and right of a space independently.
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

// Characters that occur in Replace patterns: the table cannot hold them, because the result depends on their
// neighbours.
void collect_pattern_chars(const Json& normalizer, std::string& out) {
  if (!normalizer.is_object()) return;
  if (normalizer.contains("normalizers"))
    for (const Json& part : normalizer["normalizers"]) collect_pattern_chars(part, out);
  if (normalizer.contains("pattern") && normalizer["pattern"].contains("String"))
    out += normalizer["pattern"]["String"].get<std::string>();
}

}  // namespace

// Appends tokens to a SequenceTokens whose arrays are large enough.
template <bool offsets>
class FastPath::Writer {
 public:
  Writer(SequenceTokens& out, size_t section_size, int32_t first_char)
      : out_(out), n_(out.ids.size()), chars_(first_char) {
    resize(n_ + section_size / 4 + 16);
  }
  void add(const CachedChunk& c) {
    if (n_ + CachedChunk::kMaxTokens > size_) resize(2 * n_ + 16);
    std::memcpy(ids_ + n_, c.ids, sizeof c.ids);
    if (offsets) {  // always six: a branch on their number is mispredicted too often
      for (size_t i = 0; i < CachedChunk::kMaxTokens; ++i) {
        spans_[n_ + i] = {chars_ + (c.begin[i] & 31), chars_ + c.end[i]};
        words_[n_ + i] = num_words_ + (c.begin[i] >> 5);
      }
      chars_ += c.num_chars;
      num_words_ += c.num_words;
    }
    n_ += c.num_tokens;
  }
  void add(const std::vector<ChunkToken>& tokens, int32_t num_words, std::string_view chunk) {
    if (n_ + tokens.size() + CachedChunk::kMaxTokens > size_) resize(2 * n_ + tokens.size() + 16);
    for (const ChunkToken& t : tokens) {
      if (offsets) {
        spans_[n_] = {chars_ + t.begin, chars_ + t.end};
        words_[n_] = num_words_ + t.word;
      }
      ids_[n_++] = t.id;
    }
    if (offsets) chars_ += static_cast<int32_t>(count_chars(chunk));
    num_words_ += num_words;
  }
  void skip_chars(int32_t n) {
    if (offsets) chars_ += n;
  }
  int32_t finish() {
    resize(n_);
    out_.num_words = num_words_;
    return chars_;
  }

 private:
  void resize(size_t n) {
    out_.ids.resize(n);
    ids_ = out_.ids.data();
    size_ = n;
    if (!offsets) return;
    out_.offsets.resize(n);
    out_.words.resize(n);
    spans_ = out_.offsets.data();
    words_ = out_.words.data();
  }
  SequenceTokens& out_;
  int32_t* ids_ = nullptr;
  std::pair<int32_t, int32_t>* spans_ = nullptr;
  int32_t* words_ = nullptr;
  size_t n_, size_ = 0;
  int32_t chars_, num_words_ = out_.num_words;
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
    rule_ = Rule::bert;
    isolates_chinese_ = normalizer.value("handle_chinese_chars", true);
    set_up_ascii();
    return true;
  }
  bpe_ = dynamic_cast<const Bpe*>(parts_.model.get());
  if (type_of(pre) == "ByteLevel" && bpe_ && bpe_->has_byte_alphabet() && pre.value("use_regex", true) &&
      !pre.value("add_prefix_space", true) && (normalizer.is_null() || type_of(normalizer) == "NFC")) {
    rule_ = Rule::gpt2;
    needs_nfc_ = !normalizer.is_null();
    return true;
  }
  if (type_of(pre) != "Sequence" || pre["pretokenizers"].size() != 2 || has_normalized) return false;
  const Json &split = pre["pretokenizers"][0], &meta = pre["pretokenizers"][1];
  if (type_of(split) != "WhitespaceSplit" || type_of(meta) != "Metaspace" || !meta.value("split", true))
    return false;
  const PrependScheme scheme = parse_prepend_scheme(meta, parts_.where);
  if (scheme == PrependScheme::first || (!normalizer.is_null() && !is_local(normalizer))) return false;
  rule_ = Rule::spaces;
  prepends_ = scheme == PrependScheme::always && meta.value("replacement", "") == "\xE2\x96\x81";
  set_up_ascii();
  return true;
}

void FastPath::set_up_ascii() {
  std::string special;
  collect_pattern_chars(parts_.blocks.value("normalizer", Json(nullptr)), special);
  for (unsigned char code = 33; code < 127; ++code) {
    const char c = static_cast<char>(code);
    if (special.find(c) != std::string::npos) continue;
    AlignedText text;
    text.assign({&c, 1}, 0);
    if (parts_.normalizer) parts_.normalizer->normalize(text);
    if (text.text.size() == 1 && text.text[0] > 32) ascii_map_[code] = text.text[0];
  }
}

bool FastPath::accepts(std::string_view section) const {
  if (needs_nfc_) return is_surely_normal(section, NormalForm::nfc);
  if (rule_ != Rule::spaces || section.empty()) return true;
  const uint8_t first = byte_at(section, 0);
  if (first >= 0x20 && first < 0x7F) return true;
  // If the character map removes the first character, the reference's offsets are shifted up to the end of
  // the text. A chunk alone does not show this.
  AlignedText text;
  text.assign(section.substr(0, static_cast<size_t>(sequence_length(section[0]))), 0);
  if (parts_.normalizer) parts_.normalizer->normalize(text);
  return !text.text.empty();
}

void FastPath::remember(const ChunkKey& key, std::string_view chunk, int32_t num_words, Scratch& scratch,
                        CachedChunk* pair) {
  if (scratch.tokens.size() > CachedChunk::kMaxTokens ||
      num_words >= static_cast<int32_t>(CachedChunk::kMaxWords))
    return;
  // A new chunk does not replace the first entry if that chunk has been seen more than once.
  const bool second = !pair[0].is_free();
  if (second) pair[0].second = tag_of(hash_of(key));
  CachedChunk& entry = pair[second];
  entry.key = key;
  entry.num_tokens = static_cast<uint8_t>(scratch.tokens.size());
  entry.num_words = static_cast<uint8_t>(num_words);
  entry.num_chars = static_cast<uint8_t>(count_chars(chunk));
  for (size_t i = 0; i < scratch.tokens.size(); ++i) {
    const ChunkToken& t = scratch.tokens[i];
    entry.ids[i] = t.id;
    entry.begin[i] = static_cast<uint8_t>(t.begin | t.word << 5);
    entry.end[i] = static_cast<uint8_t>(t.end);
  }
}

template <bool offsets>
void FastPath::encode_chunk(std::string_view chunk, const ChunkKey& key, CachedChunk* pair, Scratch& scratch,
                            Writer<offsets>& writer) const {
  if (pair && pair[0].second == tag_of(hash_of(key)) && pair[1].key == key) {  // seen again
    std::swap(pair[0], pair[1]);
    pair[0].second = tag_of(hash_of(pair[1].key));
    return writer.add(pair[0]);
  }
  int32_t num_words = 0;
  tokenize(chunk, scratch, num_words);
  writer.add(scratch.tokens, num_words, chunk);
  if (pair) remember(key, chunk, num_words, scratch, pair);
}

template <bool offsets>
int32_t FastPath::encode_chunks(std::string_view section, int32_t first_char, Scratch& scratch,
                                SequenceTokens& out) const {
  Writer<offsets> writer(out, section.size(), first_char);
  uint32_t begins[ChunkCutter::kBatchRoom], ends[ChunkCutter::kBatchRoom], done = 0;
  ChunkKey keys[ChunkCutter::kBatchRoom];
  CachedChunk* pairs[ChunkCutter::kBatchRoom];  // cache entries of a chunk; nullptr: the chunk is too long
  scratch.cutter.start(section, rule_, isolates_chinese_);
  while (const size_t n = scratch.cutter.next(begins, ends)) {
    // All cache lines of a batch are prefetched before the first one is read.
    for (size_t i = 0; i < n; ++i) {
      const size_t size = ends[i] - begins[i];
      pairs[i] = nullptr;
      if (size > CachedChunk::kMaxBytes) continue;
      keys[i] = make_key(section.data() + begins[i], size, section.size() - begins[i]);
      pairs[i] = &scratch.cache[pair_of(hash_of(keys[i]))];
      __builtin_prefetch(pairs[i]);
      __builtin_prefetch(pairs[i] + 1);
    }
    for (size_t i = 0; i < n; ++i) {
      writer.skip_chars(static_cast<int32_t>(begins[i] - done));  // white space between chunks
      done = ends[i];
      if (pairs[i] && pairs[i]->key == keys[i])
        writer.add(*pairs[i]);
      else
        encode_chunk(section.substr(begins[i], done - begins[i]), keys[i], pairs[i], scratch, writer);
    }
  }
  writer.skip_chars(static_cast<int32_t>(section.size() - done));
  return writer.finish() - first_char;
}

int32_t FastPath::encode(std::string_view section, bool offsets, int32_t first_char, Scratch& scratch,
                         SequenceTokens& out) const {
  if (scratch.cache.empty()) scratch.cache.resize(kCacheSize);
  return offsets ? encode_chunks<true>(section, first_char, scratch, out)
                 : encode_chunks<false>(section, first_char, scratch, out);
}

void FastPath::tokenize(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  scratch.tokens.clear();
  if (rule_ == Rule::gpt2) return tokenize_bytes(chunk, scratch, num_words);
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

// A word of ASCII characters: the normalizer is a table.
bool FastPath::tokenize_ascii(std::string_view chunk, Scratch& scratch, int32_t& num_words) const {
  constexpr std::string_view kPrefix = "\xE2\x96\x81";
  const bool bert = rule_ == Rule::bert;
  const size_t spaces = bert ? 0 : std::min(chunk.find_first_not_of(' '), chunk.size());
  if (!bert && (!prepends_ || spaces == chunk.size())) return false;
  const size_t prefix = bert ? 0 : kPrefix.size(), size = chunk.size() - spaces;
  scratch.word.resize(prefix + size);
  std::memcpy(scratch.word.data(), kPrefix.data(), prefix);
  char* word = scratch.word.data() + prefix;
  for (size_t i = 0; i < size; ++i) {
    const uint8_t b = byte_at(chunk, spaces + i);
    if (b >= 128 || ascii_map_[b] == 0) return false;
    word[i] = ascii_map_[b];
  }
  scratch.pieces.clear();
  parts_.model->tokenize(scratch.word, scratch.pieces);
  num_words = 1;
  const auto first = static_cast<int32_t>(spaces), shift = static_cast<int32_t>(prefix);
  for (const Piece& p : scratch.pieces) {  // a prepended character shares the position of the first character
    const int32_t begin = std::max(0, p.begin - shift), end = std::max(1, p.end - shift);
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

ScratchPool::~ScratchPool() { clear(); }

// A small number for this thread. Numbers repeat from the 65th thread on.
size_t ScratchPool::place_of_thread() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t place = threads++ % kPlaces;
  return place;
}

ScratchPool::Lease::Lease(ScratchPool& pool) : pool_(pool) {
  const size_t own = place_of_thread();
  scratch_ = pool.places_[own].free.exchange(nullptr);
  // Bounds the number of entries when threads are created and destroyed many times.
  for (size_t i = 0; !scratch_ && i < kPlaces && pool.made_ >= num_threads(); ++i)
    if (pool.places_[i].free.load(std::memory_order_relaxed))
      scratch_ = pool.places_[i].free.exchange(nullptr);
  if (scratch_) return;
  scratch_ = new Scratch;
  ++pool.made_;
}

ScratchPool::Lease::~Lease() { pool_.drop(pool_.places_[place_of_thread()].free.exchange(scratch_)); }

void ScratchPool::drop(Scratch* scratch) {
  if (!scratch) return;
  delete scratch;
  --made_;
}

void ScratchPool::clear() {
  for (Place& place : places_) drop(place.free.exchange(nullptr));
}

}  // namespace graft::text
