// The components of tokenizer.json one by one, on small cases.
#include "support/shared.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/support_json.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

Json json(const std::string& text) { return parse_json(text, "test"); }

struct NormalizerCase {
  const char *block, *in, *out;
};

TEST(Normalizers, RewriteText) {
  const NormalizerCase cases[] = {
      {R"({"type":"BertNormalizer"})", "Caf\u00e9\t\u4f60\x01X", "cafe  \u4f60 x"},
      {R"({"type":"BertNormalizer","lowercase":false,"strip_accents":null})", "Caf\u00e9", "Caf\u00e9"},
      {R"({"type":"BertNormalizer","lowercase":true,"strip_accents":false})", "CAF\u00c9", "caf\u00e9"},
      {R"({"type":"BertNormalizer","handle_chinese_chars":false})", "\u4f60\u597d", "\u4f60\u597d"},
      {R"({"type":"Strip","strip_left":true,"strip_right":false})", " \ta ", "a "},
      {R"({"type":"Strip","strip_left":false,"strip_right":true})", " a \u00a0", " a"},
      {R"({"type":"StripAccents"})", "e\u0301", "e"},
      {R"({"type":"NFC"})", "e\u0301 \u1100\u1161\u11a8 \u0390", "\u00e9 \uac01 \u0390"},
      {R"({"type":"NFC"})", "\u03b9\u0308\u0301 q\u0307\u0323", "\u0390 q\u0323\u0307"},
      {R"({"type":"NFD"})", "\u00e9\uac01", "e\u0301\u1100\u1161\u11a8"},
      {R"({"type":"NFKC"})", "\ufb01\u00bd\uff21", "fi1\u20442A"},
      {R"({"type":"NFKD"})", "\uff21\u00e9", "Ae\u0301"},
      {R"({"type":"Lowercase"})", "\u0130\u03a3A", "i\u0307\u03c3a"},
      {R"({"type":"Nmt"})", "a\u200bb\x01\tc", "a b c"},
      {R"({"type":"Replace","pattern":{"String":"aa"},"content":"b"})", "aaaca", "baca"},
      {R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":"_"})", "a   b c", "a_b c"},
      {R"({"type":"Prepend","prepend":"_"})", "ab", "_ab"},
      {R"({"type":"ByteLevel"})", "a \u00e9", "a\u0120\u00c3\u00a9"},
      {R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"}]})", "\u00e9", "e"},
  };
  for (const auto& [block, in, out] : cases) {
    AlignedText text;
    text.assign(in, 0);
    make_normalizer(json(block), "test")->normalize(text);
    EXPECT_EQ(text.text, out) << block;
    EXPECT_EQ(text.align.size(), text.text.size()) << block;
  }
}

TEST(Normalizers, KeepTrackOfTheOriginal) {
  AlignedText text;
  text.assign("Caf\u00e9 \u4f60", 10);
  make_normalizer(json(R"({"type":"BertNormalizer"})"), "test")->normalize(text);
  EXPECT_EQ(text.text, "cafe  \u4f60 ");
  EXPECT_EQ(text.original(3, 4), (Span{13, 15}));
  EXPECT_EQ(text.original(6, 9), (Span{16, 19}));
}

struct PreTokenizerCase {
  const char *block, *in;
  std::vector<std::string> words;
};

TEST(PreTokenizers, CutText) {
  const std::vector<PreTokenizerCase> cases = {
      {R"({"type":"BertPreTokenizer"})", "Hey, you\u2014there", {"Hey", ",", "you", "\u2014", "there"}},
      {R"({"type":"ByteLevel","add_prefix_space":false})",
       "I've  a 12!",
       {"I", "'ve", "\u0120", "\u0120a", "\u012012", "!"}},
      {R"({"type":"ByteLevel","add_prefix_space":true})", "a", {"\u0120a"}},
      {R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b", {"a\u0120b"}},
      {R"({"type":"Whitespace"})", "a_b, \u00e9-c...", {"a_b", ",", "\u00e9", "-", "c", "..."}},
      {R"({"type":"WhitespaceSplit"})", " a,b\u3000c ", {"a,b", "c"}},
      {R"({"type":"CharDelimiterSplit","delimiter":"|"})", "a||b", {"a", "b"}},
      {R"({"type":"Metaspace","replacement":"_","prepend_scheme":"always"})", "a b", {"_a", "_b"}},
      {R"({"type":"Metaspace","replacement":"_","prepend_scheme":"never"})", "a b", {"a", "_b"}},
      {R"({"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":false})", "a b", {"_a_b"}},
      {R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})", "a", {"a"}},
      {R"({"type":"Split","pattern":{"String":"-"},"behavior":"Removed","invert":false})",
       "a--b",
       {"a", "b"}},
      {R"({"type":"Split","pattern":{"String":"-"},"behavior":"Isolated","invert":false})",
       "a--b",
       {"a", "-", "-", "b"}},
      {R"({"type":"Split","pattern":{"String":"-"},"behavior":"Contiguous","invert":false})",
       "a--b",
       {"a", "--", "b"}},
      {R"({"type":"Split","pattern":{"String":"-"},"behavior":"MergedWithPrevious","invert":false})",
       "a--b",
       {"a-", "-", "b"}},
      {R"({"type":"Split","pattern":{"String":"-"},"behavior":"MergedWithNext","invert":false})",
       "a--b",
       {"a", "-", "-b"}},
      {R"({"type":"Split","pattern":{"Regex":"\\d+"},"behavior":"Removed","invert":true})",
       "a12b3",
       {"12", "3"}},
      {R"({"type":"Split","pattern":{"Regex":"\\p{L}+"},"behavior":"Isolated","invert":false})",
       "a\u00e91",
       {"a\u00e9", "1"}},
      {R"({"type":"Punctuation"})", "a.,b", {"a", ".", ",", "b"}},
      {R"({"type":"Punctuation","behavior":"Contiguous"})", "a.,b", {"a", ".,", "b"}},
      {R"({"type":"Digits","individual_digits":true})", "a12", {"a", "1", "2"}},
      {R"({"type":"Digits","individual_digits":false})", "a12b", {"a", "12", "b"}},
      {R"({"type":"UnicodeScripts"})",
       " ab \u0434\u0430 \u30ab\u30fc\u6f22",
       {"ab ", "\u0434\u0430 ", "\u30ab\u30fc\u6f22"}},
      {R"({"type":"FixedLength","length":2})", "a\u00e9\u4f60", {"a\u00e9", "\u4f60"}},
      {R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Digits","individual_digits":true}]})",
       "a1 2",
       {"a", "1", "2"}},
  };
  for (const auto& [block, in, words] : cases) {
    PreTokenized text;
    text.text.assign(in, 0);
    text.words = {{0, static_cast<int32_t>(text.text.text.size())}};
    make_pre_tokenizer(json(block), "test")->pre_tokenize(text);
    std::vector<std::string> got;
    for (const Span& w : text.words) got.push_back(text.text.text.substr(w.begin, w.end - w.begin));
    EXPECT_EQ(got, words) << block;
  }
}

struct DecoderCase {
  const char* block;
  std::vector<std::string> in;
  const char* out;
};

TEST(Decoders, JoinTokens) {
  const std::vector<DecoderCase> cases = {
      {R"({"type":"BPEDecoder","suffix":"</w>"})", {"a", "b</w>", "c</w>"}, "ab c"},
      {R"({"type":"ByteLevel"})", {"\u0120a", "\u00c3", "\u00a9"}, " a\u00e9"},
      {R"({"type":"ByteLevel"})", {"\u00c3"}, "\ufffd"},
      {R"({"type":"WordPiece","prefix":"##","cleanup":true})", {"do", "##g", "."}, "dog."},
      {R"({"type":"WordPiece","prefix":"##","cleanup":false})", {"do", "##g", "."}, "dog ."},
      {R"({"type":"Metaspace","replacement":"_","prepend_scheme":"always"})", {"_a", "_b"}, "a b"},
      {R"({"type":"Metaspace","replacement":"_","prepend_scheme":"never"})", {"_a", "_b"}, " a b"},
      {R"({"type":"Replace","pattern":{"String":"_"},"content":" "})", {"_a", "b_"}, " ab "},
      {R"({"type":"Fuse"})", {"a", "b"}, "ab"},
      {R"({"type":"Strip","content":" ","start":1,"stop":1})", {"  a "}, " a"},
      {R"({"type":"ByteFallback"})", {"<0xC3>", "<0xA9>", "x", "<0xFF>"}, "\u00e9x\ufffd"},
      {R"({"type":"CTC","pad_token":"-","word_delimiter_token":"|","cleanup":true})",
       {"h", "h", "-", "i", "|", "|", "y"},
       "hi y"},
      {R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"a","start":1,"stop":0}]})",
       {"a", "ab"},
       "ab"},
  };
  for (auto [block, tokens, out] : cases) {
    make_decoder(json(block), "test")(tokens);
    std::string text;
    for (const std::string& token : tokens) text += token;
    EXPECT_EQ(text, out) << block;
  }
}

std::vector<int32_t> ids(const Tokenizer& t, const std::string& text) {
  EncodeOptions options;
  options.add_special_tokens = false;
  return t.encode(text, options).input_ids;
}

TEST(Models, WordPieceTakesTheLongestPieceFirst) {
  SmallTokenizer t;
  t.model =
      R"({"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":6,
                "vocab":{"[UNK]":0,"un":1,"##aff":2,"##able":3,"##a":4,"unaff":5}})";
  EXPECT_EQ(ids(*t.make(), "unaff una unx unaffab unaaaaaa"), (std::vector<int32_t>{5, 1, 4, 0, 0, 0}));
}

TEST(Models, BpeOptions) {
  SmallTokenizer t;
  const std::string vocab =
      R"("vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"<0xC3>":4,"<0xA9>":5,"abab":6},"merges":["a b"])";
  t.model = R"({"type":"BPE","unk_token":"<unk>","fuse_unk":true,)" + vocab + "}";
  EXPECT_EQ(ids(*t.make(), "abxyab abab"), (std::vector<int32_t>{3, 0, 3, 3, 3}));
  t.model = R"({"type":"BPE","unk_token":"<unk>","fuse_unk":false,)" + vocab + "}";
  EXPECT_EQ(ids(*t.make(), "abxyab"), (std::vector<int32_t>{3, 0, 0, 3}));
  t.model = R"({"type":"BPE","unk_token":"<unk>","byte_fallback":true,)" + vocab + "}";
  EXPECT_EQ(ids(*t.make(), "a\u00e9"), (std::vector<int32_t>{1, 4, 5}));
  t.model = R"({"type":"BPE","ignore_merges":true,)" + vocab + "}";
  EXPECT_EQ(ids(*t.make(), "abab abx"), (std::vector<int32_t>{6, 3}));
  t.model = R"({"type":"BPE","dropout":1.0,)" + vocab + "}";
  EXPECT_EQ(ids(*t.make(), "ab"), (std::vector<int32_t>{1, 2}));
  t.model = R"({"type":"BPE","continuing_subword_prefix":"##","end_of_word_suffix":"</w>",
                "vocab":{"a":0,"##b":1,"##b</w>":2,"ab</w>":3,"ab":4},"merges":[["a","##b"],["a","##b</w>"]]})";
  EXPECT_EQ(ids(*t.make(), "ab"), (std::vector<int32_t>{3}));
}

TEST(Models, UnigramTakesTheBestSum) {
  SmallTokenizer t;
  t.model = R"({"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-3],["b",-3],["ab",-7],["abc",-1]]})";
  const auto tokenizer = t.make();
  EXPECT_EQ(ids(*tokenizer, "ab abc"), (std::vector<int32_t>{1, 2, 4}));
  EXPECT_EQ(ids(*tokenizer, "axyb"), (std::vector<int32_t>{1, 0, 2}));
  const Encoding e = tokenizer->encode("axyb");
  EXPECT_EQ(e.offsets[1], (std::pair<int32_t, int32_t>(1, 3)));
  t.model =
      R"({"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["<unk>",0],["<0xC3>",-1],["<0xA9>",-1]]})";
  EXPECT_EQ(ids(*t.make(), "\u00e9"), (std::vector<int32_t>{1, 2}));
}

TEST(PostProcessors, SequencesNestAndTemplatesName) {
  SmallTokenizer t;
  t.post_processor = R"({"type":"Sequence","processors":[{"type":"ByteLevel","trim_offsets":true},
    {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"b","type_id":3}},{"Sequence":{"id":"A","type_id":4}}],
     "pair":[{"Sequence":{"id":"B","type_id":1}},{"SpecialToken":{"id":"b","type_id":1}},{"Sequence":{"id":"A","type_id":0}}],
     "special_tokens":{"b":{"id":"b","ids":[2],"tokens":["b"]}}}]})";
  const auto tokenizer = t.make();
  const Encoding one = tokenizer->encode("a a");
  EXPECT_EQ(one.input_ids, (std::vector<int32_t>{2, 1, 1}));
  EXPECT_EQ(one.token_type_ids, (std::vector<int32_t>{3, 4, 4}));
  EXPECT_EQ(one.special_tokens_mask, (std::vector<uint8_t>{1, 0, 0}));
  const Encoding two = tokenizer->encode_pair("a", "c a");
  EXPECT_EQ(two.input_ids, (std::vector<int32_t>{0, 1, 2, 1}));
  EXPECT_EQ(two.sequence_ids, (std::vector<int32_t>{1, 1, -1, 0}));
}

TEST(AddedTokenFlags, SingleWordStripsAndNormalized) {
  SmallTokenizer t;
  t.normalizer = R"({"type":"Lowercase"})";
  t.added_tokens =
      R"([{"id":10,"content":"<s>","special":true,"normalized":false,"lstrip":false,"rstrip":false,"single_word":false},
    {"id":11,"content":"<m>","special":true,"normalized":false,"lstrip":true,"rstrip":true,"single_word":false},
    {"id":12,"content":"Foo","special":false,"normalized":true,"lstrip":false,"rstrip":false,"single_word":true}])";
  const auto tokenizer = t.make();
  EXPECT_EQ(ids(*tokenizer, "a<s>b"), (std::vector<int32_t>{1, 10, 2}));
  const Encoding e = tokenizer->encode("a <m> b");
  EXPECT_EQ(e.input_ids, (std::vector<int32_t>{1, 11, 2}));
  EXPECT_EQ(e.offsets[1], (std::pair<int32_t, int32_t>(1, 6)));
  EXPECT_EQ(ids(*tokenizer, "fOO a"), (std::vector<int32_t>{12, 1}));
  EXPECT_EQ(ids(*tokenizer, "foox"), (std::vector<int32_t>{0}));
  EXPECT_EQ(ids(*tokenizer, "<S>"), (std::vector<int32_t>{0}));
}

TEST(Blocks, TruncationAndPaddingAreRead) {
  SmallTokenizer t;
  std::string text = t.json();
  const auto put = [&](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  put(R"("truncation": null)",
      R"("truncation": {"max_length": 7, "strategy": "OnlySecond", "stride": 2, "direction": "Left"})");
  put(R"("padding": null)",
      R"("padding": {"strategy": {"Fixed": 5}, "direction": "Left", "pad_id": 2, "pad_type_id": 1, "pad_token": "b"})");
  const auto tokenizer = tokenizer_from_json(text, "small.json");
  EXPECT_EQ(tokenizer->truncation().max_length, 7);
  EXPECT_EQ(tokenizer->truncation().stride, 2);
  EXPECT_TRUE(tokenizer->truncation().left);
  EXPECT_EQ(tokenizer->truncation().strategy, Truncation::only_second);
  std::vector<Encoding> batch = tokenizer->encode_batch({"a a", "a a a a a a"});
  const auto mask = pad_batch(batch, tokenizer->padding());
  EXPECT_EQ(batch[0].input_ids, (std::vector<int32_t>{2, 2, 2, 1, 1}));
  EXPECT_EQ(mask[0], (std::vector<uint8_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(batch[1].input_ids.size(), 6u);
}

TEST(Truncation, StrategiesAndWindows) {
  SmallTokenizer t;
  const auto tokenizer = t.make();
  EncodeOptions o;
  o.max_length = 5;
  o.truncation = Truncation::longest_first;
  Encoding e = tokenizer->encode_pair("a a a a", "b b b b b b", o);
  EXPECT_EQ(e.input_ids, (std::vector<int32_t>{1, 1, 2, 2, 2}));
  EXPECT_EQ(e.num_truncated, 5);
  o.truncation = Truncation::only_first;
  e = tokenizer->encode_pair("a a a a", "b b b", o);
  EXPECT_EQ(e.input_ids, (std::vector<int32_t>{1, 1, 2, 2, 2}));
  EXPECT_THAT(test::error_of([&] { tokenizer->encode_pair("a", "b b b b b b", o); }),
              testing::HasSubstr("first text"));
  o.truncation_side = TruncationSide::left;
  e = tokenizer->encode("a a a a b b", o);
  EXPECT_EQ(e.input_ids, (std::vector<int32_t>{1, 1, 1, 2, 2}));
  o.truncation_side = TruncationSide::right;
  o.max_length = 3;
  o.stride = 1;
  o.return_overflowing = true;
  e = tokenizer->encode("a b a b a b", o);
  ASSERT_EQ(e.overflowing.size(), 2u);
  EXPECT_EQ(e.overflowing[0].input_ids, (std::vector<int32_t>{1, 2, 1}));
  EXPECT_EQ(e.overflowing[1].input_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(e.overflowing[1].word_ids, (std::vector<int32_t>{4, 5}));
  o.stride = 3;
  EXPECT_THAT(test::error_of([&] { tokenizer->encode("a b a b", o); }), testing::HasSubstr("stride 3"));
}

// The plain twin of overflowing pairs: windows of `room` tokens each way, the first window of the first text
// last.
std::vector<std::vector<int32_t>> plain_windows(const std::vector<int32_t>& a, const std::vector<int32_t>& b,
                                                size_t room_a, size_t room_b, size_t stride) {
  const auto cut = [&](const std::vector<int32_t>& ids, size_t room) {
    std::vector<std::vector<int32_t>> out;
    for (size_t begin = 0; out.empty() || begin + stride < ids.size(); begin += room - stride)
      out.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                       ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), begin + room)));
    return out;
  };
  const auto first = cut(a, room_a), second = cut(b, room_b);
  std::vector<std::vector<int32_t>> out;
  const auto combine = [&](size_t i, size_t j) {
    out.push_back(first[i]);
    out.back().insert(out.back().end(), second[j].begin(), second[j].end());
  };
  combine(0, 0);
  for (size_t i = 1; i < first.size(); ++i)
    for (size_t j = 0; j < second.size(); ++j) combine(i, j);
  for (size_t j = 1; j < second.size(); ++j) combine(0, j);
  return out;
}

std::string words(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += i % 3 ? "a " : "b ";
  return text;
}

TEST(Truncation, WindowsOfTwoCutTextsAreThoseOfThePlainTwin) {
  const auto tokenizer = SmallTokenizer().make();
  EncodeOptions o;
  o.truncation = Truncation::longest_first;
  o.return_overflowing = true;
  for (const int32_t stride : {0, 1, 2})
    for (const size_t n : {7, 8, 20}) {
      const std::string a = words(n), b = words(2 * n);
      o.max_length = 7;  // 3 + 4 where both are longer
      o.stride = stride;
      const Encoding e = tokenizer->encode_pair(a, b, o);
      std::vector<std::vector<int32_t>> got = {e.input_ids};
      for (const Encoding& window : e.overflowing) got.push_back(window.input_ids);
      EXPECT_EQ(got, plain_windows(tokenizer->encode(a).input_ids, tokenizer->encode(b).input_ids, 3, 4,
                                   static_cast<size_t>(stride)))
          << stride << " " << n;
    }
}

TEST(Truncation, WindowsThatRepeatTooMuchAreRefused) {
  const auto tokenizer = SmallTokenizer().make();
  const std::string text = words(300'000);
  EncodeOptions o;
  o.truncation = Truncation::longest_first;
  o.max_length = 8;
  o.stride = 1;
  EXPECT_EQ(tokenizer->encode_pair(text, text, o).input_ids.size(), 8);
  o.return_overflowing = true;
  // 100,000 windows of 4 tokens of each text, each with each.
  const std::string error = test::error_of([&] { tokenizer->encode_pair(text, text, o); });
  EXPECT_THAT(error, testing::AllOf(
                         testing::HasSubstr("600000 tokens cut into windows of max_length 8 with stride 1"),
                         testing::HasSubstr("limit of 9600000"), testing::HasSubstr("only_second")));
  o.truncation = Truncation::only_second;
  EXPECT_EQ(tokenizer->encode_pair("a b", text, o).overflowing.size(), 59'999);
  // One text, of which each window repeats nearly the whole.
  o.max_length = 100'000;
  o.stride = 99'997;
  EXPECT_THAT(test::error_of([&] { tokenizer->encode("a " + text, o); }),
              testing::HasSubstr("only_second needs"));
  o.truncation = Truncation::longest_first;
  EXPECT_THAT(test::error_of([&] { tokenizer->encode(text, o); }),
              testing::AllOf(testing::HasSubstr("limit of 4800000"), testing::HasSubstr("a smaller stride")));
}

TEST(EncodeWords, CountsWordsAsGiven) {
  const auto tokenizer = Tokenizer::from_pretrained(test::fixture_path("data/tokenizers/small-roberta"));
  const Encoding e = tokenizer->encode_words({"EU", "rejects", "German", "\u00e9t\u00e9"});
  const auto spaced = tokenizer->encode(" EU rejects German \u00e9t\u00e9");
  EXPECT_EQ(e.input_ids, spaced.input_ids);
  EXPECT_EQ(e.word_ids.front(), -1);
  EXPECT_EQ(e.word_ids[1], 0);
  EXPECT_EQ(e.word_ids[e.word_ids.size() - 2], 3);
  const auto second = std::find(e.word_ids.begin(), e.word_ids.end(), 1);
  EXPECT_EQ(e.offsets[1].first, 0);  // offsets count from the word's begin
  EXPECT_EQ(e.offsets[static_cast<size_t>(second - e.word_ids.begin()) - 1].second, 2);
}

TEST(CleanUp, DropsSpacesBeforePunctuation) {
  EXPECT_EQ(clean_up_pieces("I do n't know , do you ?"), "I don't know, do you?");
}

}  // namespace
}  // namespace graft::text
