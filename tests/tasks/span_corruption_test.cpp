// Text with corrupted spans as the two streams of an encoder-decoder.
#include "tasks/span_corruption.h"

#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int32_t kSpanStart = 0, kSpanEnd = 1;

SpanFeatures features_of(int32_t length) {
  data::TokenStore tokens;
  for (int32_t i = 0; i < length; ++i) tokens.ids.push_back(10 + i);
  tokens.offsets = {0, length};
  return {std::move(tokens), data::SpanCorruptor({99, 98, 97, 96}, kSpanEnd, {}), kSpanStart};
}

TEST(SpanFeatures, BothStreamsOfATextAndOtherSpansInEveryEpoch) {
  const SpanFeatures features = features_of(40);  // 6 tokens in 2 spans
  ASSERT_EQ(features.size(), 1);
  std::vector<data::RaggedBatch> epochs(4);
  for (size_t e = 0; e < 4; ++e) features.append(epochs[e], 0, 7, e < 3 ? static_cast<int64_t>(e) : 0);
  const data::RaggedBatch& batch = epochs[0];
  EXPECT_EQ(batch.rows(), 40 - 6 + 2 + 1);
  EXPECT_EQ(batch.decoder.rows(), 6 + 2 + 1);
  EXPECT_EQ(features.length(0), batch.all_rows());
  EXPECT_EQ(std::count(batch.input_ids.begin(), batch.input_ids.end(), 99), 1);
  EXPECT_EQ(std::count(batch.input_ids.begin(), batch.input_ids.end(), 98), 1);
  EXPECT_EQ(batch.labels.front(), 99);
  EXPECT_EQ(batch.labels.back(), kSpanEnd);
  Ids shifted = {kSpanStart};
  shifted.insert(shifted.end(), batch.labels.begin(), batch.labels.end() - 1);
  EXPECT_EQ(batch.decoder.input_ids, shifted);
  EXPECT_THAT(batch.sequence_keys, ElementsAre(7));
  EXPECT_NE(epochs[1].input_ids, batch.input_ids);
  EXPECT_NE(epochs[2].input_ids, batch.input_ids);
  EXPECT_EQ(epochs[3].input_ids, batch.input_ids);
  data::RaggedBatch evaluated, again;
  features.append(evaluated, 0, 0, -1);
  features.append(again, 0, 5, -1);
  EXPECT_EQ(evaluated.input_ids, again.input_ids);
}

// A tiny T5 and text that counts.
struct SpanRun {
  TempDir dir;
  std::shared_ptr<Tokenizer> tokenizer =
      Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  std::filesystem::path text;
  TrainingArguments arguments;

  SpanRun() {
    std::string lines;
    for (int i = 0; i < 60; ++i) lines += "one two three four five six seven eight nine ten\n";
    text = dir.write("text.txt", lines);
    arguments.output_dir = (dir / "out").string();
    arguments.logging_strategy = arguments.save_strategy = "no";
    arguments.bf16 = false;
    arguments.span_corruption = true;
    arguments.max_seq_length = 32;
    arguments.learning_rate = 1e-2;
    arguments.max_steps = 120;
    arguments.do_eval = true;
  }
  Model model(int64_t vocabulary, const TaskData& data) const {
    write_json(dir / "config.json", {{"model_type", "t5"},
                                     {"vocab_size", vocabulary},
                                     {"d_model", 32},
                                     {"d_kv", 8},
                                     {"d_ff", 64},
                                     {"num_layers", 1},
                                     {"num_decoder_layers", 1},
                                     {"num_heads", 4},
                                     {"dropout_rate", 0.0},
                                     {"decoder_start_token_id", kSpanStart},
                                     {"eos_token_id", kSpanEnd},
                                     {"pad_token_id", 0}});
    return load_for_training(dir / "config.json", data, {.task = "seq2seq-lm"});
  }
};

TEST(SpanCorruption, PretrainsOnTextAndHoldsAShareOut) {
  SpanRun run;
  const TaskData data = TaskData::text({run.text}, {}, run.tokenizer);
  Trainer trainer(run.model(run.tokenizer->vocab_size(), data), run.arguments, data);
  const double before = value_of(trainer.evaluate(), "eval_loss");
  const TrainResult result = trainer.train();
  EXPECT_GT(before, 6);  // log of the vocabulary
  EXPECT_LT(value_of(result.metrics, "eval_loss"), 2.5);
  EXPECT_GT(value_of(result.metrics, "eval_samples"), 0);
  const Json saved = read_json(run.dir / "out/training_args.json");
  EXPECT_EQ(saved["span_corruption"], true);
  EXPECT_EQ(saved["mean_noise_span_length"], 3.0);
}

TEST(SpanCorruption, TokenizersWithoutSentinelsOrRowsAreRefused) {
  SpanRun run;
  const TaskData data = TaskData::text({run.text}, {run.text}, run.tokenizer);
  const auto error = [&](const TaskData& of, int64_t vocabulary, const TrainingArguments& a) {
    return error_of([&] { Trainer(run.model(vocabulary, of), a, of); });
  };
  TaskData other = data;
  other.tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-gpt2"));
  EXPECT_THAT(error(other, 2000, run.arguments),
              AllOf(HasSubstr("no sentinel tokens (<extra_id_0>"), HasSubstr("T5")));
  TrainingArguments longer = run.arguments;
  longer.max_seq_length = 500;
  EXPECT_THAT(error(data, run.tokenizer->vocab_size(), longer),
              AllOf(HasSubstr("sentinel tokens (<extra_id_0>, ...)"), HasSubstr("--max_seq_length")));
  EXPECT_THAT(error(data, *run.tokenizer->token_to_id("<extra_id_0>"), run.arguments),
              HasSubstr("span corruption: the token '<extra_id_0>' has id"));
}

}  // namespace
}  // namespace graft::tasks
