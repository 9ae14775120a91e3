// The pieces of `graft xling`: codes, scripts, files by language, the choice of rows, what a tokenizer makes
// of a language. tests/cli/xling_test.cpp runs the whole.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/file.h"
#include "data/labels.h"
#include "support/shared.h"
#include "transfer/language_files.h"
#include "transfer/language_text.h"
#include "transfer/languages.h"
#include "transfer/row_choice.h"
#include "transfer/xling_data.h"

namespace graft::transfer {
namespace {

using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string complaint(const std::string& code) {
  return error_of([&] { check_language(code, "--test_files " + code + "=f.csv"); });
}

TEST(Languages, CodesWithScriptsRegionsAndVariants) {
  for (const char* code : {"de", "zh-Hant", "pt-BR", "es-419", "deu_Latn", "gsw", "de-ba", "sl-nedis",
                           "de-1996", "qab", "yue", "zho_Hans"})
    check_language(code, "a test");
  EXPECT_EQ(language_name("de-CH"), "German");
  EXPECT_EQ(language_name("deu_Latn"), "German");
  EXPECT_EQ(language_name("qab"), "qab");
  EXPECT_EQ(base_language("deu_Latn"), "de");
  EXPECT_EQ(base_language("gsw"), "gsw");
  EXPECT_EQ(answer_rules("de-AT"), "de");
  EXPECT_EQ(answer_rules("arb_Arab"), "ar");
  EXPECT_EQ(answer_rules("ru"), "other");
}

TEST(Languages, WhatIsNoLanguageGetsASuggestion) {
  EXPECT_THAT(complaint("jp"), AllOf(HasSubstr("--test_files jp=f.csv: \"jp\" is no language code"),
                                     HasSubstr("did you mean ja (Japanese)?")));
  EXPECT_THAT(complaint("german"), HasSubstr("did you mean de (German)?"));
  EXPECT_THAT(complaint("Germn"), HasSubstr("did you mean de (German)?"));
  EXPECT_THAT(complaint("DE"), HasSubstr("did you mean de (German)?"));
  EXPECT_THAT(complaint("ger"), HasSubstr("did you mean de (German)?"));
  EXPECT_THAT(complaint("cantonese"), HasSubstr("did you mean yue (Cantonese)?"));
  EXPECT_THAT(complaint("xx"), HasSubstr("write a code such as de"));
  EXPECT_THAT(complaint("qzz"), HasSubstr("no language code"));
  EXPECT_THAT(complaint(""), HasSubstr("no language code"));
  EXPECT_THAT(complaint("de-x"), AllOf(HasSubstr("\"x\" is neither a script, nor a region, nor a variant"),
                                       HasSubstr("write de alone")));
  EXPECT_THAT(complaint("de-"), HasSubstr("neither a script"));
}

TEST(Languages, ACodeOfThreeLettersIsTheShorterOne) {
  EXPECT_EQ(usual_code("deu"), "de");
  EXPECT_EQ(usual_code("de"), "de");
  EXPECT_EQ(usual_code("gsw"), "gsw");
  EXPECT_EQ(usual_code("zho_Hant"), "zho_Hant");
}

TEST(Scripts, OfCharactersAndTexts) {
  EXPECT_EQ(script_of(U'a'), Script::latin);
  EXPECT_EQ(script_of(U'\u00E9'), Script::latin);
  EXPECT_EQ(script_of(U'\u00D7'), Script::none);  // the sign of multiplication
  EXPECT_EQ(script_of(U'7'), Script::none);
  EXPECT_EQ(script_of(U'\u0416'), Script::cyrillic);
  EXPECT_EQ(script_of(U'\u4E2D'), Script::han);
  EXPECT_EQ(script_of(U'\u3042'), Script::han);
  EXPECT_EQ(script_of(U'\uAC00'), Script::hangul);
  EXPECT_EQ(script_of(U'\U0010FFFF'), Script::none);
  ScriptCounts counts;
  counts.add("\u041C\u043E\u0441\u043A\u0432\u0430 2024, by Ann!\xFF");
  EXPECT_EQ(counts.of(Script::cyrillic), 6);
  EXPECT_EQ(counts.of(Script::latin), 5);
  EXPECT_EQ(counts.main(), Script::cyrillic);
  EXPECT_EQ(ScriptCounts().main(), Script::none);
  EXPECT_TRUE(has_spaces(Script::hangul));
  EXPECT_FALSE(has_spaces(Script::thai));
}

TEST(LanguageFiles, ItemsAndWhatIsWrongWithThem) {
  TempDir dir;
  const std::string de = dir.write("de.csv", "text,label\nx,1\n").string(),
                    fr = dir.write("fr.csv", "x").string(), empty = dir.write("empty.csv", "").string();
  const auto parse = [](const std::vector<std::string>& values) {
    return language_files(values, "test_files");
  };
  const auto wrong = [&](const std::string& value) { return error_of([&] { parse({value}); }); };
  const auto both = parse({"de=" + de + ",fr=" + fr});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[1].language, "fr");
  EXPECT_EQ(both[1].file, fr);
  EXPECT_EQ(parse({"de=" + de, "fr=" + fr}).size(), 2u);
  EXPECT_THAT(wrong(de),
              AllOf(HasSubstr("the item names no language"), HasSubstr("de=test.de.csv,fr=test.fr.csv")));
  EXPECT_THAT(wrong("de="), HasSubstr("the item has no file behind \"=\""));
  EXPECT_THAT(wrong("=" + de), HasSubstr("the item has no language before \"=\""));
  EXPECT_THAT(wrong("de=" + de + ","), HasSubstr("there is an empty item"));
  EXPECT_THAT(wrong("de=" + de + ",de=" + fr), HasSubstr("the language de is given twice"));
  EXPECT_THAT(wrong("de=" + (dir / "absent.csv").string()), HasSubstr("there is no such file"));
  EXPECT_THAT(wrong("de=" + dir.path().string()), HasSubstr("is a folder"));
  EXPECT_THAT(wrong("de=" + empty),
              AllOf(HasSubstr("the file is empty"), HasSubstr("labelled rows of German")));
}

TEST(LanguageFiles, OneFileIsNotTwoLanguages) {
  TempDir dir;
  const auto de = dir.write("de.csv", "text"), copy = dir.write("fr.csv", "text"),
             other = dir.write("es.csv", "texto");
  const auto check = [&](const std::filesystem::path& a, const std::filesystem::path& b) {
    return error_of([&] { check_different_files({{"de", a}, {"fr", b}}, "test_files"); });
  };
  EXPECT_THAT(check(de, copy), AllOf(HasSubstr("de=" + de.string()), HasSubstr("hold the same bytes")));
  EXPECT_THAT(check(de, de), HasSubstr("hold the same bytes"));
  check_different_files({{"de", de}, {"fr", other}}, "test_files");
}

Example row(const std::string& text, const std::string& label, int64_t line = 0) {
  Example e;
  e.text = text;
  e.labels = {label};
  e.line = line;
  return e;
}

// `n` rows of labels a and b in turn, and one of c.
Dataset rows_of_labels(int n) {
  std::vector<Example> rows;
  for (int i = 0; i < n; ++i) rows.push_back(row("text " + std::to_string(i), i % 2 ? "a" : "b"));
  rows.push_back(row("the only one", "c"));
  return Dataset(std::move(rows), "rows.csv");
}

TEST(RowChoice, ARowIsWhatItSays) {
  EXPECT_EQ(key_of_row(row("Guten  Tag!", "a")), key_of_row(row("guten tag", "b")));
  EXPECT_NE(key_of_row(row("guten tag", "a")), key_of_row(row("guten abend", "a")));
  Example pair = row("one", "a"), other = row("one two", "a");
  pair.has_pair = true;
  pair.text_pair = "two";
  EXPECT_NE(key_of_row(pair), key_of_row(other));
  Example words;
  words.words = {{"one", "O"}, {"two", "O"}};
  EXPECT_NE(key_of_row(words), key_of_row(Example()));
}

TEST(RowChoice, AHeldOutPartLeavesEachLabelARow) {
  std::vector<Example> rows = rows_of_labels(40).examples();
  rows.push_back(row("TEXT 3", "a"));  // says the same as an earlier row
  const Dataset all(rows);
  const RowSplit split = hold_out(all, 25);
  EXPECT_GE(split.held_out.size(), 11u);
  EXPECT_EQ(split.held_out.size() + split.train.size(), all.size());
  std::set<std::string> labels;
  std::set<uint64_t> train;
  for (const size_t i : split.train) {
    labels.insert(all[i].labels.front());
    train.insert(key_of_row(all[i]));
  }
  EXPECT_THAT(labels, ElementsAre("a", "b", "c"));
  for (const size_t i : split.held_out) EXPECT_FALSE(train.count(key_of_row(all[i])));
  EXPECT_EQ(hold_out(all, 25).held_out, split.held_out);
  EXPECT_TRUE(hold_out(Dataset({row("x", "a"), row("y", "b")}), 50).held_out.empty());
}

TEST(RowChoice, ATemperatureFlattensTheMixture) {
  EXPECT_THAT(mixture_of({800, 200}, 1), ElementsAre(800, 200));
  EXPECT_THAT(mixture_of({800, 200}, 2), ElementsAre(667, 333));  // sqrt: 2 to 1
  const std::vector<int64_t> flat = mixture_of({800, 200}, 100);
  EXPECT_NEAR(static_cast<double>(flat[0]), 503, 1);
  EXPECT_THAT(mixture_of({1000000, 1}, 1.5)[1], 100);
}

TEST(RowChoice, ASampleTakesEachRowAsOftenAsItFits) {
  const std::vector<size_t> more = sample_rows(10, 25, 1, "de");
  ASSERT_EQ(more.size(), 25u);
  for (size_t i = 0; i < 10; ++i) {
    const auto n = std::count(more.begin(), more.end(), i);
    EXPECT_TRUE(n == 2 || n == 3) << i;
  }
  EXPECT_EQ(sample_rows(10, 25, 1, "de"), more);
  EXPECT_NE(sample_rows(10, 5, 1, "de"), sample_rows(10, 5, 2, "de"));
  EXPECT_NE(sample_rows(10, 5, 1, "de"), sample_rows(10, 5, 1, "fr"));
  EXPECT_EQ(sample_rows(10, 10, 1, "de").back(), 9u);
}

TEST(RowChoice, ShotsOfALargerNumberHoldThoseOfASmaller) {
  const Dataset rows = rows_of_labels(40);
  std::vector<size_t> candidates;
  for (size_t i = 1; i < rows.size(); ++i) candidates.push_back(i);
  const auto one = draw_shots(rows, candidates, 1, true, 0), five = draw_shots(rows, candidates, 5, true, 0);
  EXPECT_EQ(one.size(), 3u);
  EXPECT_EQ(five.size(), 11u);  // of c there is one
  EXPECT_TRUE(std::includes(five.begin(), five.end(), one.begin(), one.end()));
  EXPECT_FALSE(std::count(five.begin(), five.end(), 0u));
  EXPECT_NE(draw_shots(rows, candidates, 5, true, 1), five);
  EXPECT_EQ(draw_shots(rows, candidates, 5, true, 0), five);
  EXPECT_EQ(draw_shots(rows, candidates, 5, false, 0).size(), 5u);
}

// A tokenizer whose vocabulary has the words "guten" and "tag", and the letters a to g.
std::shared_ptr<Tokenizer> small_tokenizer(const TempDir& dir) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nguten\ntag\n\u4E2D\n";
  for (const char c : std::string("abcdefg")) vocabulary += std::string(1, c) + "\n##" + c + "\n";
  dir.write("t/vocab.txt", vocabulary);
  dir.write("t/tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true})");
  return Tokenizer::from_pretrained(dir / "t");
}

LanguageText read(const TempDir& dir, std::vector<Example> rows, int64_t max_length = 0,
                  tasks::Input input = tasks::Input::labelled_rows) {
  return text_of(Dataset(std::move(rows)), *small_tokenizer(dir), input, max_length);
}

TEST(LanguageText, CountsPiecesWordsAndLongRows) {
  TempDir dir;
  const LanguageText text = read(dir, {row("guten tag", "a"), row("guten abc xyz", "b")}, 6);
  EXPECT_EQ(text.rows, 2);
  EXPECT_EQ(text.words, 5);
  EXPECT_EQ(text.tokens, 2 + 1 + 3 + 1);
  EXPECT_EQ(text.unknown_tokens, 1);
  EXPECT_DOUBLE_EQ(text.tokens_per_word(), 7.0 / 5);
  EXPECT_DOUBLE_EQ(text.unknown_rate(), 1.0 / 7);
  EXPECT_EQ(text.long_rows, 1);  // 5 tokens and two special ones
  EXPECT_EQ(text.script, Script::latin);
  Example pair = row("guten tag", "a");
  pair.has_pair = true;
  pair.text_pair = "guten tag";
  EXPECT_EQ(read(dir, {pair}, 6).long_rows, 1);                             // 4 tokens and three special ones
  EXPECT_EQ(read(dir, {pair}, 6, tasks::Input::text_tuples).long_rows, 0);  // two sequences
  Example choice = row("guten", "0");
  choice.has_pair = true;
  choice.choices = {"tag", "abc abc"};
  EXPECT_EQ(read(dir, {choice}, 9, tasks::Input::choices).long_rows, 1);  // 1 + 6 and three
  EXPECT_EQ(read(dir, {choice}, 10, tasks::Input::choices).long_rows, 0);
}

TEST(LanguageText, ScriptsWithoutSpacesAreCountedByCharacters) {
  TempDir dir;
  const LanguageText text = read(dir, {row("\u4E2D\u4E2D \u6587\u3002", "a")});
  EXPECT_TRUE(text.by_characters());
  EXPECT_DOUBLE_EQ(text.tokens_per_word(), 1);
  EXPECT_EQ(text.unspaced_characters, 4);
  Example words;
  words.words = {{"\u4E2D", "N"}, {"\u4E2D", "N"}};
  const LanguageText of_words = read(dir, {words}, 0, tasks::Input::tagged_words);
  EXPECT_FALSE(of_words.by_characters());  // the file has the words
  EXPECT_EQ(of_words.words, 2);
}

TEST(LanguageText, ATokenizerThatDoesNotHaveTheLanguageIsNamed) {
  TempDir dir;
  const LanguageText source = read(dir, {row("guten tag", "a")});
  EXPECT_EQ(tokenizer_complaint(source, source), "");
  EXPECT_THAT(tokenizer_complaint(read(dir, {row("xyz tag", "a")}), source),
              HasSubstr("50.0 % of the pieces are unknown"));
  EXPECT_THAT(tokenizer_complaint(read(dir, {row("abc defg", "a")}), source),
              HasSubstr("cuts a word into 3.50 tokens, one of the source language into 1.00"));
  EXPECT_EQ(tokenizer_complaint(read(dir, {row("\u4E2D\u4E2D", "a")}), source), "");
}

TEST(LanguageText, RowsInAnotherScriptAreSaid) {
  TempDir dir;
  std::vector<Example> rows = {row("\u043C\u043E\u0441\u043A\u0432\u0430 abc", "a", 2),
                               row("guten tag", "b", 3),
                               row("\u0434\u0430 \u0434\u0430 \u0434\u0430", "b", 4), row("42", "b", 5)};
  EXPECT_EQ(script_complaint(read(dir, rows)),
            "1 of 4 rows are mostly in Latin script, the others in Cyrillic (first: line 3)");
  rows.erase(rows.begin() + 1);
  EXPECT_EQ(script_complaint(read(dir, rows)), "");
}

TEST(LanguageText, AFileInTheScriptOfAnotherLanguageIsSaid) {
  TempDir dir;
  const LanguageText russian = read(dir, {row("\u0434\u0430 \u0434\u0430", "a")}),
                     none = read(dir, {row("42", "a")});
  EXPECT_EQ(language_complaint(russian, "de"),
            "the rows are in Cyrillic script, and German is written in Latin");
  EXPECT_THAT(language_complaint(russian, "sr-Latn"), HasSubstr("Serbian is written in Latin"));
  for (const char* fits : {"ru", "sr", "uk", "uz_Cyrl"})
    EXPECT_EQ(language_complaint(russian, fits), "") << fits;
  EXPECT_EQ(language_complaint(russian, "ace"), "");  // nothing is known
  EXPECT_EQ(language_complaint(none, "de"), "");
}

// The data of a run with the files of `tests`, and what check_labels says of it.
std::string label_error(const Dataset& train, const Dataset& test,
                        std::vector<std::vector<std::string>>* missing = nullptr) {
  XlingJob job;
  job.job.task = &tasks::find_task("sequence-classification");
  XlingData data;
  data.training.push_back({{"en", "en.csv"}, train});
  data.tests.push_back({{"de", "de.csv"}, test});
  std::vector<std::vector<std::string>> out;
  if (missing) {
    *missing = check_labels(data, job, {"a", "b"});
    return "";
  }
  return error_of([&] { check_labels(data, job, {"a", "b"}); });
}

TEST(XlingData, LabelsThatTrainingHasNotAreAnErrorAndMissingOnesAreNamed) {
  const Dataset train({row("x", "sports"), row("y", "travel"), row("z", "food")}, "en.csv");
  EXPECT_THAT(
      label_error(train, Dataset({row("u", "sports", 2), row("v", "sport", 3), row("w", "sport", 4)})),
      AllOf(HasSubstr("--test_files de=de.csv: line 3: 1 of its labels, which 2 rows have, occur in no row"),
            HasSubstr("(en.csv): \"sport\""), HasSubstr("did you mean \"sports\"?")));
  std::vector<std::vector<std::string>> missing;
  label_error(train, Dataset({row("u", "sports", 2)}), &missing);
  EXPECT_THAT(missing.front(), ElementsAre("food", "travel"));
}

TEST(XlingData, AMixtureIsDrawnByTheSeedAndCapped) {
  XlingJob job;
  job.job.task = &tasks::find_task("sequence-classification");
  XlingData data;
  data.training.push_back({{"en", "en.csv"}, rows_of_labels(59)});
  data.training.push_back({{"de", "de.csv"}, rows_of_labels(9)});
  std::vector<int64_t> counts;
  EXPECT_EQ(rows_of_run(data, job, 1, &counts).size(), 70u);
  EXPECT_THAT(counts, ElementsAre(60, 10));
  job.max_rows_per_language = 20;
  const Dataset first = rows_of_run(data, job, 1, &counts);
  EXPECT_THAT(counts, ElementsAre(20, 10));
  const auto texts = [](const Dataset& rows) {
    std::vector<std::string> out;
    for (const Example& e : rows.examples()) out.push_back(e.text);
    return out;
  };
  EXPECT_EQ(texts(rows_of_run(data, job, 1)), texts(first));
  EXPECT_NE(texts(rows_of_run(data, job, 2)), texts(first));
  job.sampling_temperature = 100;
  EXPECT_EQ(rows_of_run(data, job, 1, &counts).size(), 30u);
  EXPECT_NEAR(static_cast<double>(counts[1]), 15, 1);
  job.max_rows_per_language = 1;
  EXPECT_THAT(error_of([&] { rows_of_run(data, job, 1); }),
              HasSubstr("of the rows that seed 1 draws none has the label"));
}

TEST(XlingTable, HasGapsTheAverageTheWorstAndTheSpread) {
  XlingJob job;
  job.job.task = &tasks::find_task("sequence-classification");
  job.job.validation_file = {"en.dev.csv"};
  job.seeds = {1, 2};
  job.few_shot = {1, 5};
  job.few_shot_sets = 2;
  XlingResult r;
  r.task = "sequence-classification";
  r.metric = "accuracy";
  r.training = {{"en", "en.csv", 100, 100}};
  r.dev = {0.9, 0.7};
  r.dev_last = {0.8, 0.6};
  r.averaged = 10;
  LanguageScores de, ru;
  de.file = {"de", "de.csv"};
  de.scores = {0.6, 0.4};
  de.last = {0.5, 0.5};
  ru.file = {"ru", "ru.csv"};
  ru.scores = {0.2, 0.2};
  ru.last = {0.3, 0.3};
  r.targets = {de, ru};
  r.shots = {{"de", 3, "1 of \"b\"", {{1, {0.5, 0.5, 0.5, 0.5}}, {5, {0.6, 0.8, 0.6, 0.8}}}}};
  const std::string table = table_of(r, job);
  for (const char* line : {"| en (source, dev) |   0.8000 | 0.1414 |           |       0.7000 | +0.1000 |",
                           "| de               |   0.5000 | 0.1414 |   +0.3000 |       0.5000 | +0.0000 |",
                           "| ru               |   0.2000 | 0.0000 |   +0.6000 |       0.3000 | -0.1000 |",
                           "| average of 2     |   0.3500 | 0.0707 |   +0.4500 |       0.4000 | -0.0500 |",
                           "| worst: ru        |   0.2000 | 0.0000 |   +0.6000 |", "0.7000 ± 0.1155",
                           "gap: against the development rows of en, because --test_files has no en",
                           "de: 3 few-shot rows are in the test file too and were left out",
                           "de: fewer rows than --few_shot 5 of some labels: 1 of \"b\"",
                           "development: en.dev.csv, taken as text in English; no row of a target chose"})
    EXPECT_THAT(table, HasSubstr(line));
  const Json json = to_json(r, job);
  EXPECT_EQ(json["worst"], "ru");
  EXPECT_NEAR(json["average"]["gap"].get<double>(), 0.45, 1e-12);
  EXPECT_NEAR(json["targets"][1]["gain_of_averaging"].get<double>(), -0.1, 1e-12);
  EXPECT_NEAR(json["few_shot"]["languages"][0]["curve"]["5"]["mean"].get<double>(), 0.7, 1e-12);

  EXPECT_THAT(table, Not(HasSubstr("--average_checkpoints 0")));
  std::swap(r.dev, r.dev_last);
  EXPECT_THAT(table_of(r, job), HasSubstr("on the development rows of en the average is worse by 0.1000"));
  std::swap(r.dev, r.dev_last);

  // A language without a score, and development rows of a target.
  XlingResult undefined = r;
  undefined.targets[1].scores = {std::nan(""), std::nan("")};
  undefined.dev_overlaps = {"2 of its 40 rows are in the test file de=de.csv"};
  const std::string other = table_of(undefined, job);
  EXPECT_THAT(other,
              AllOf(HasSubstr("| average of 1     |   0.5000"), HasSubstr("| worst: de "),
                    HasSubstr("ru has no defined accuracy"),
                    HasSubstr("2 of its 40 rows are in the test file"), Not(HasSubstr("chose anything"))));
  job.job.arguments.ema_decay = 0.9;
  EXPECT_THAT(table_of(r, job), HasSubstr("the moving average of 10 steps (--ema_decay 0.9)"));
  job.job.arguments.ema_decay = 0;

  r.larger_is_better = false;  // a loss: the worst is the largest, and a gap is what is lost
  EXPECT_EQ(to_json(r, job)["worst"], "de");
  EXPECT_NEAR(to_json(r, job)["targets"][1]["gap"].get<double>(), -0.6, 1e-12);
  r.dev_last.clear();
  r.targets[0].last.clear();
  r.targets[1].last.clear();
  r.shots.clear();
  EXPECT_THAT(table_of(r, job), Not(HasSubstr("not averaged")));
}

}  // namespace
}  // namespace graft::transfer
