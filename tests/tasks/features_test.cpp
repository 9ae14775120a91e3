// From rows and text to examples in batches, and metrics that do not see how the data was cut.
#include "data/labels.h"
#include "models/model_case.h"
#include "tasks/masked_lm.h"
#include "tasks/sequence_classification.h"
#include "tasks/text_features.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

data::LabelMap label_map(const Dataset& data, std::vector<std::string> names,
                         const std::string& problem_type = "") {
  data::CheckpointLabels checkpoint;
  checkpoint.names = std::move(names);
  checkpoint.has_head = true;
  checkpoint.problem_type = problem_type;
  return data::LabelMap::for_training(data, checkpoint);
}

TEST(TextFeatures, EncodesTruncatesAndCounts) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(
      run.dir().write("a.csv", "text,label\nba be red,red\nbu bo bi be ba da green,green\nxyz red,red\n"));
  const data::LabelMap labels = label_map(data, {"green", "red"});
  const TextFeatures features(data, *run.tokenizer(), &labels, 6);
  ASSERT_EQ(features.size(), 3);
  EXPECT_EQ(features.length(0), 5);
  EXPECT_EQ(features.length(1), 6);
  EXPECT_EQ(features.counts().truncated_examples, 1);
  EXPECT_EQ(features.counts().truncated_tokens, 3);  // 7 words and 2 special tokens into 6
  EXPECT_EQ(features.counts().unknown_tokens, 1);
  EXPECT_EQ(features.counts().tokens, 5 + 6 + 4);

  data::RaggedBatch batch;
  features.append(batch, 2, 0, 0);
  features.append(batch, 0, 1, 0);
  EXPECT_THAT(batch.labels, ElementsAre(1, 1));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 4, 9));
  EXPECT_THAT(batch.sequence_keys, ElementsAre(0, 1));
  EXPECT_EQ(batch.input_ids[0], *run.tokenizer()->special_id("cls_token"));
  EXPECT_EQ(batch.input_ids[1], *run.tokenizer()->special_id("unk_token"));
  EXPECT_EQ(batch.input_ids[2], *run.tokenizer()->token_to_id("red"));
  EXPECT_EQ(batch.input_ids[3], *run.tokenizer()->special_id("sep_token"));
}

// Rows of a file, through the cache on disk, are those of memory; what decides them is part of their key.
TEST(TextFeatures, RowsOfTheCacheAreThoseOfMemory) {
  const TinyRun run;
  const std::filesystem::path files[] = {run.single_csv("one.csv", 5000, 1),
                                         run.multi_jsonl("many.jsonl", 50, 2),
                                         run.score_csv("score.csv", 50, 3)};
  for (const std::filesystem::path& path : files) {
    DatasetOptions options;
    options.require_label = true;
    const Dataset memory = Dataset::from_file(path, options);
    options.keep_in_file = true;
    const Dataset file = Dataset::from_file(path, options);
    const data::LabelMap labels = data::LabelMap::for_training(file);
    EXPECT_EQ(labels.names(), data::LabelMap::for_training(memory).names());
    labels.check(file);
    const data::TokenCache cache{run / "cache", false};
    const TextRows want = encode_text_rows(memory, *run.tokenizer(), &labels, 8);
    for (int again = 0; again < 2; ++again) {
      const TextRows got = cached_text_rows(file, *run.tokenizer(), labels, 8, cache);
      EXPECT_TRUE(got.ids == want.ids);
      EXPECT_TRUE(got.types == want.types);
      EXPECT_TRUE(got.offsets == want.offsets);
      EXPECT_TRUE(got.labels == want.labels);
      EXPECT_TRUE(got.float_labels == want.float_labels);
      EXPECT_EQ(got.counts.tokens, want.counts.tokens);
      EXPECT_EQ(got.counts.truncated_examples, want.counts.truncated_examples);
      EXPECT_EQ(got.counts.truncated_tokens, want.counts.truncated_tokens);
      const TextFeatures a(got), b(want);
      ASSERT_EQ(a.size(), b.size());
      data::RaggedBatch x, y;
      for (int64_t i = 0; i < a.size(); ++i)
        a.append(x, a.size() - 1 - i, i, 0), b.append(y, b.size() - 1 - i, i, 0);
      EXPECT_EQ(x.input_ids, y.input_ids);
      EXPECT_EQ(x.token_type_ids, y.token_type_ids);
      EXPECT_EQ(x.labels, y.labels);
      EXPECT_EQ(x.float_labels, y.float_labels);
    }
    EXPECT_TRUE(cached_text_rows(file, *run.tokenizer(), labels, 5, cache).ids ==
                encode_text_rows(memory, *run.tokenizer(), &labels, 5).ids);
  }
  DatasetOptions options;
  options.keep_in_file = true;
  const Dataset file = Dataset::from_file(files[0], options);
  const data::TokenCache cache{run / "cache", false};
  const data::LabelMap one = label_map(file, {"blue", "green", "red"}),
                       other = label_map(file, {"red", "green", "blue"});
  EXPECT_FALSE(cached_text_rows(file, *run.tokenizer(), one, 8, cache).labels ==
               cached_text_rows(file, *run.tokenizer(), other, 8, cache).labels);
}

// A tokenizer without special tokens: an empty text is no sequence, and its row must not read its
// neighbour's.
TEST(TextFeatures, ATextWithoutTokensIsAnError) {
  const TinyRun run;
  run.dir().write("bare/tokenizer.json",
                  R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "ba": 1}, "unk_token": "[UNK]"}})");
  const auto bare = Tokenizer::from_pretrained(run.dir() / "bare");
  for (const char* empty : {"", " ", "\"\n\""}) {
    const Dataset data = Dataset::from_file(
        run.dir().write("a.csv", std::string("text,label\nba,x\n") + empty + ",y\nba,x\n"));
    EXPECT_THAT(error_of([&] { TextFeatures(data, *bare, nullptr, 32); }),
                AllOf(HasSubstr("a.csv: line 3: the text"), HasSubstr("gives no tokens"),
                      HasSubstr("remove the row")));
    EXPECT_EQ(TextFeatures(data, *run.tokenizer(), nullptr, 32).size(), 3);  // [CLS] [SEP]
  }
}

TEST(TextFeatures, PairsHaveTwoTokenTypes) {
  const TinyRun run;
  const Dataset data =
      Dataset::from_file(run.dir().write("a.csv", "sentence1,sentence2,label\nba be,bi,0\nbo,bu ba,1\n"));
  const data::LabelMap labels = label_map(data, data::default_label_names(2));
  const TextFeatures features(data, *run.tokenizer(), &labels, 32);
  data::RaggedBatch batch;
  features.append(batch, 0, 0, 0);
  EXPECT_THAT(batch.token_type_ids, ElementsAre(0, 0, 0, 0, 1, 1));  // [CLS] ba be [SEP] bi [SEP]
  EXPECT_THAT(batch.labels, ElementsAre(0));
}

TEST(TextFeatures, LabelsOfEveryKind) {
  const TinyRun run;
  const Dataset many = Dataset::from_file(run.dir().write(
      "m.jsonl",
      "{\"text\": \"ba\", \"label\": [\"a\", \"c\"]}\n{\"text\": \"be\", \"label\": []}\n{\"text\": \"bi\", "
      "\"label\": [\"b\"]}\n"));
  const data::LabelMap names = label_map(many, {"a", "b", "c"});
  EXPECT_EQ(names.problem_type(), "multi_label_classification");
  data::RaggedBatch batch;
  const TextFeatures hot(many, *run.tokenizer(), &names, 32);
  for (int64_t i = 0; i < 3; ++i) hot.append(batch, i, i, 0);
  EXPECT_THAT(batch.float_labels, ElementsAre(1, 0, 1, 0, 0, 0, 0, 1, 0));
  EXPECT_THAT(batch.labels, IsEmpty());

  const Dataset numbers = Dataset::from_file(run.dir().write("r.csv", "text,label\nba,0.5\nbe,-2.25\n"));
  const data::LabelMap score = label_map(numbers, {"LABEL_0"});
  EXPECT_EQ(score.problem_type(), "regression");
  batch.clear();
  const TextFeatures scores(numbers, *run.tokenizer(), &score, 32);
  for (int64_t i = 0; i < 2; ++i) scores.append(batch, i, i, 0);
  EXPECT_THAT(batch.float_labels, ElementsAre(0.5f, -2.25f));

  const TextFeatures unlabelled(numbers, *run.tokenizer(), nullptr, 32);
  batch.clear();
  unlabelled.append(batch, 0, 0, 0);
  EXPECT_THAT(batch.float_labels, IsEmpty());
}

TEST(MaskedFeatures, MasksAreAFunctionOfEpochAndExample) {
  const TinyRun run;
  data::TextBlockOptions options;
  options.line_by_line = true;
  const data::TextBlocks blocks =
      data::read_text_blocks({run.text("t.txt", 40, 1)}, *run.tokenizer(), options);
  const MaskedFeatures features(blocks.train, data::MlmMasker(*run.tokenizer(), {}));
  ASSERT_EQ(features.size(), 40);
  const auto append = [&](const std::vector<int64_t>& examples, int64_t epoch) {
    data::RaggedBatch batch;
    for (const int64_t i : examples) features.append(batch, i, 0, epoch);
    return batch;
  };
  const data::RaggedBatch alone = append({7}, 2), after = append({3, 7}, 2);
  const int32_t first = after.cu_seqlens[1];
  EXPECT_EQ(alone.input_ids, std::vector<int32_t>(after.input_ids.begin() + first, after.input_ids.end()));
  size_t shared = 0;
  for (const int32_t row : after.label_rows) shared += row >= first;
  EXPECT_EQ(alone.label_rows.size(), shared);
  std::vector<int64_t> all(40);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const data::RaggedBatch one = append(all, 0), other = append(all, 1);
  EXPECT_NE(one.input_ids, other.input_ids);
  EXPECT_EQ(one.input_ids, append(all, 0).input_ids);
  // About 15 % of some 400 words, and each label is the id that stood there.
  EXPECT_GT(one.label_rows.size(), 35u);
  EXPECT_LT(one.label_rows.size(), 95u);
  for (size_t k = 0; k < one.labels.size(); ++k) {
    EXPECT_EQ(one.labels[k], blocks.train.ids[static_cast<size_t>(one.label_rows[k])]);
  }
}

// The metrics of a task added example by example, in pieces and as one batch.
TEST(Metrics, StreamingEqualsOneBatch) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"bert/seqcls_single", "bert/seqcls_multi", "bert/seqcls_regression", "bert/mlm"}) {
    const Model model = load_model(golden / name);
    const auto task = make_task(model);
    const RandomFeatures features(model, 37, 20);
    std::vector<MetricValues> results;
    for (const int64_t size : {37, 1, 5}) {
      const auto metrics = task->metrics();
      for (int64_t begin = 0; begin < 37; begin += size) {
        data::RaggedBatch batch;
        for (int64_t i = begin; i < std::min<int64_t>(37, begin + size); ++i) features.append(batch, i, i, 0);
        std::vector<float> logits = logits_of(model, batch);
        const int64_t rows =
            model.task() == "masked-lm" ? static_cast<int64_t>(batch.labels.size()) : batch.size();
        const int64_t columns = rows ? static_cast<int64_t>(logits.size()) / rows : 1;
        metrics->add(batch, engine::make_tensor(logits.data(), rows, columns));
      }
      results.push_back(metrics->values());
    }
    EXPECT_EQ(results[0], results[1]) << name;
    EXPECT_EQ(results[0], results[2]) << name;
    EXPECT_FALSE(results[0].empty());
  }
}

TEST(SequenceClassification, AnUnknownProblemTypeIsAnError) {
  EXPECT_THAT(error_of([] { SequenceClassification(2, "multi_label"); }),
              AllOf(HasSubstr("\"multi_label\""), HasSubstr("multi_label_classification")));
}

}  // namespace
}  // namespace graft::tasks
