// Sources and targets as two streams, the loss over the targets, and a tiny T5 that learns.
#include "tasks/seq2seq_lm.h"

#include <cmath>

#include "base/log.h"
#include "models/model_case.h"
#include "tasks/source_target.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

Dataset rows(const std::vector<std::pair<std::string, std::string>>& texts) {
  std::vector<Example> examples;
  for (const auto& [source, target] : texts) {
    Example e;
    e.text = source;
    e.target = target;
    e.has_target = true;
    e.line = static_cast<int64_t>(examples.size()) + 2;
    examples.push_back(e);
  }
  return Dataset(examples, "rows.csv");
}

Ids ids_of(const Tokenizer& tokenizer, const std::string& text) { return tokenizer.encode(text).input_ids; }

Ids joined_ids(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

constexpr int32_t kStart = 0, kEnd = 1;  // of T5

TEST(SourceTargetFeatures, TheDecoderReadsTheTargetShiftedByOne) {
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  const SourceTargetFeatures features(rows({{"a house", "ein Haus"}, {"the", ""}}), *tokenizer,
                                      {.source_prefix = "translate: ", .decoder_start_token_id = kStart});
  data::RaggedBatch batch;
  for (int64_t i = 0; i < 2; ++i) features.append(batch, i, 7 + i, 0);
  const Ids target = ids_of(*tokenizer, "ein Haus");
  ASSERT_EQ(target.back(), kEnd);
  EXPECT_EQ(batch.input_ids,
            joined_ids(ids_of(*tokenizer, "translate: a house"), ids_of(*tokenizer, "translate: the")));
  Ids shifted = {kStart};
  shifted.insert(shifted.end(), target.begin(), target.end() - 1);
  EXPECT_EQ(batch.decoder.input_ids, joined_ids(shifted, {kStart}));  // an empty target is its end
  EXPECT_EQ(batch.labels, joined_ids(target, {kEnd}));
  Ids every_row(batch.labels.size());
  for (size_t i = 0; i < every_row.size(); ++i) every_row[i] = static_cast<int32_t>(i);
  EXPECT_EQ(batch.label_rows, every_row);
  EXPECT_THAT(batch.sequence_keys, ElementsAre(7, 8));
  EXPECT_EQ(features.length(0),
            static_cast<int32_t>(ids_of(*tokenizer, "translate: a house").size() + target.size()));
  EXPECT_EQ(features.target_text(0), "ein Haus");
  EXPECT_EQ(features.source(1), ids_of(*tokenizer, "translate: the"));
}

TEST(SourceTargetFeatures, PairsAreOneSource) {
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  Example e;
  e.text = "a";
  e.text_pair = "b";
  e.has_pair = e.has_target = true;
  e.target = "no";
  const SourceTargetFeatures features(Dataset({e}), *tokenizer, {});
  EXPECT_EQ(features.source(0), tokenizer->encode_pair("a", "b").input_ids);
}

// Truncated streams keep their end and are counted.
TEST(SourceTargetFeatures, LimitsAreCounted) {
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  const std::string text = "one house and one more house and one more";
  const auto full = static_cast<int64_t>(ids_of(*tokenizer, text).size());
  ASSERT_GT(full, 8);
  const SourceTargetFeatures features(rows({{text, text}, {"a", "a"}}), *tokenizer,
                                      {.max_source_length = 6, .max_target_length = 4});
  data::RaggedBatch batch;
  features.append(batch, 0, 0, 0);
  EXPECT_EQ(batch.rows(), 6);
  EXPECT_EQ(batch.input_ids.back(), kEnd);
  EXPECT_EQ(batch.labels.size(), 4u);
  EXPECT_EQ(batch.labels.back(), kEnd);
  EXPECT_EQ(features.source_counts().truncated, 1);
  EXPECT_EQ(features.source_counts().truncated_tokens, full - 6);
  EXPECT_EQ(features.target_counts().truncated, 1);
  EXPECT_EQ(features.target_counts().truncated_tokens, full - 4);
}

// A tokenizer that adds no token at the end: the target gets eos_token, within the limit.
TEST(SourceTargetFeatures, ATargetAlwaysHasAnEnd) {
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-gpt2"));
  const int32_t eos = *tokenizer->special_id("eos_token");
  const SourceTargetFeatures features(rows({{"a house", "a house and more"}}), *tokenizer,
                                      {.max_target_length = 3});
  data::RaggedBatch batch;
  features.append(batch, 0, 0, 0);
  Ids expected = ids_of(*tokenizer, "a house and more");
  expected.resize(2);
  expected.push_back(eos);
  EXPECT_EQ(batch.labels, expected);
  EXPECT_THAT(error_of([&] {
                SourceTargetFeatures(rows({{"a", "b"}, {"", "c"}}), *tokenizer, {});
              }),
              HasSubstr("rows.csv: line 3: the source '' gives no tokens"));
}

// Smoothing is for training: a tape that records nothing gives the cross entropy itself.
TEST(Seq2SeqLm, SmoothsTheLossOfTrainingOnly) {
  GRAFT_SHARED_PATH(golden, "golden/t5/seq2seq");
  const Model model = load_model(golden);
  data::RaggedBatch batch;
  batch.append(Ids{5, 6, 7}.data(), nullptr, 3, 0);
  append_target(batch, Ids{8, 9, 1}.data(), 3, kStart);
  const auto loss = [&](const Task& task, bool record) {
    train::StepMemory memory(model.state().parameters.device());
    memory.prepare(model.state(), &task, batch, true);
    engine::Tape tape(memory.arena(), model.state().parameters, {.record = record});
    return tape.scalar(forward_loss(tape, model.state().network, task, batch, 3).loss);
  };
  Seq2SeqLm smoothed;
  smoothed.set_loss_options({.label_smoothing = 0.1});
  const float plain = loss(Seq2SeqLm(), true);
  EXPECT_EQ(loss(Seq2SeqLm(), false), plain);
  EXPECT_EQ(loss(smoothed, false), plain);
  // 0.9 of the cross entropy and 0.1 of its mean over all tokens, from the logits.
  train::StepMemory memory(model.state().parameters.device());
  memory.prepare(model.state(), nullptr, batch, false);
  const engine::Tensor logits = train::predict_batch(model.state(), batch, memory);
  double expected = 0;
  for (int64_t r = 0; r < logits.rows; ++r) {
    double sum = 0, mean = 0;
    for (int64_t c = 0; c < logits.cols; ++c) {
      sum += std::exp(logits.row(r)[c]);
      mean += logits.row(r)[c] / static_cast<double>(logits.cols);
    }
    const double label = logits.row(r)[batch.labels[static_cast<size_t>(r)]];
    expected += (std::log(sum) - 0.9 * label - 0.1 * mean) / 3;
  }
  EXPECT_NEAR(loss(smoothed, true), expected, 1e-5);
  EXPECT_GT(std::fabs(expected - plain), 1e-4);
}

// Without stored logits the metrics are those of stored ones.
TEST(Seq2SeqLm, CountsAndLogitsGiveTheSameAccuracy) {
  GRAFT_SHARED_PATH(golden, "golden/t5/seq2seq");
  const Model model = load_model(golden);
  data::RaggedBatch batch;
  for (int32_t i = 0; i < 30; ++i) {
    batch.append(Ids{5 + i, 6, 7 + 2 * i}.data(), nullptr, 3, i);
    append_target(batch, Ids{8 + i, 9 + 3 * i, 1}.data(), 3, kStart);
  }
  const Seq2SeqLm task;
  train::StepMemory memory(model.state().parameters.device());
  memory.prepare(model.state(), nullptr, batch, false);
  const auto stored = task.metrics(), counted = task.metrics();
  stored->add(batch, train::predict_batch(model.state(), batch, memory));
  double total = 0;
  memory.prepare(model.state(), &task, batch, false);
  train::evaluate_batch(model.state(), task, batch, counted.get(), total, memory);
  EXPECT_EQ(stored->values(), counted->values());
  EXPECT_EQ(stored->values().front().first, "token_accuracy");
  EXPECT_NEAR(task.metrics_of_loss(2).front().second, std::exp(2.0), 1e-12);
}

// A tiny T5 with the tokenizer of T5, and rows of two or three words with a colour, which is the label.
struct Seq2SeqRun {
  TempDir dir;
  std::shared_ptr<Tokenizer> tokenizer =
      Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));

  std::filesystem::path config() const {
    const Json json = {{"model_type", "t5"},
                       {"vocab_size", tokenizer->vocab_size()},
                       {"d_model", 32},
                       {"d_kv", 8},
                       {"d_ff", 64},
                       {"num_layers", 1},
                       {"num_decoder_layers", 1},
                       {"num_heads", 4},
                       {"dropout_rate", 0.0},
                       {"decoder_start_token_id", kStart},
                       {"eos_token_id", kEnd},
                       {"pad_token_id", 0}};
    write_json(dir / "config.json", json);
    return dir / "config.json";
  }
  std::filesystem::path colours(const std::string& name, int n) const {
    const char* const kColours[] = {"red", "green", "blue"};
    std::string csv = "text,label\n";
    for (int i = 0; i < n; ++i) {
      csv += i % 2 ? "the house " : "one ";
      csv += std::string(kColours[i * 7 % 3]) + (i % 4 < 2 ? " door," : ",") + kColours[i * 7 % 3] + "\n";
    }
    return dir.write(name, csv);
  }
  TrainingArguments arguments() const {
    TrainingArguments a;
    a.output_dir = (dir / "out").string();
    a.learning_rate = 1e-2;
    a.logging_strategy = a.save_strategy = "no";
    a.bf16 = false;
    a.do_eval = true;
    return a;
  }
};

TEST(Seq2SeqLm, LearnsLabelsAsTexts) {
  const Seq2SeqRun run;
  const Dataset data = Dataset::from_file(run.colours("train.csv", 24), {.text_to_text = true});
  TaskData task_data{data, data, run.tokenizer};
  Model model = load_for_training(run.config(), task_data, {.task = "text2text-generation"});
  EXPECT_EQ(model.task(), "seq2seq-lm");
  TrainingArguments a = run.arguments();
  a.max_steps = 150;
  a.source_prefix = "colour: ";
  a.predict_with_generate = true;
  Trainer trainer(std::move(model), a, task_data);
  const TrainResult result = trainer.train();
  EXPECT_EQ(value_of(result.metrics, "eval_exact_match"), 1);
  EXPECT_EQ(value_of(result.metrics, "eval_rouge1"), 100);
  EXPECT_NEAR(value_of(result.metrics, "eval_chrf"), 100, 1e-9);
  EXPECT_LT(value_of(result.metrics, "eval_loss"), 0.1);
  EXPECT_EQ(value_of(result.metrics, "eval_token_accuracy"), 1);
  EXPECT_NEAR(value_of(result.metrics, "eval_perplexity"), std::exp(value_of(result.metrics, "eval_loss")),
              1e-12);
  EXPECT_EQ(read_json(run.dir / "out/config.json")["architectures"][0], "T5ForConditionalGeneration");
  EXPECT_EQ(read_json(run.dir / "out/training_args.json")["source_prefix"], "colour: ");
}

TEST(Seq2SeqLm, TruncatedAndUnknownTokensAreLogged) {
  const Seq2SeqRun run;
  const Dataset data = rows({{"the house and the door", "the house and the door"}, {"a", "\xE2\x98\x83"}});
  TaskData task_data{data, {}, run.tokenizer};
  Model model = load_for_training(run.config(), task_data, {.task = "seq2seq-lm"});
  TrainingArguments a = run.arguments();
  a.do_eval = false;
  a.max_seq_length = 4;
  a.max_target_length = 3;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  Trainer trainer(std::move(model), a, task_data);
  set_log_sink(before);
  EXPECT_THAT(said, AllOf(HasSubstr("train: 1 of 2 sources (50.0 %) were truncated at 4 tokens"),
                          HasSubstr("--max_seq_length keeps more"),
                          HasSubstr("train: 1 of 2 targets (50.0 %) were truncated at 3 tokens"),
                          HasSubstr("--max_target_length keeps more"), HasSubstr("tokens of the targets")));
}

TEST(Seq2SeqLm, ErrorsOfDataAndModels) {
  const Seq2SeqRun run;
  const Dataset labelled = Dataset::from_file(run.colours("train.csv", 4));
  TaskData task_data{labelled, {}, run.tokenizer};
  Model model = load_for_training(run.config(), task_data, {.task = "seq2seq-lm"});
  EXPECT_THAT(error_of([&] { Trainer(model, run.arguments(), task_data); }),
              AllOf(HasSubstr("train.csv: the rows have no targets"), HasSubstr("text_to_text")));
  // A model that is no encoder-decoder: the message lists what it has.
  const TinyRun bert;
  EXPECT_THAT(error_of([&] { bert.model("seq2seq-lm", {}); }),
              AllOf(HasSubstr("seq2seq-lm"), HasSubstr("masked-lm"), HasSubstr("sequence-classification")));
}

// Generation with random weights: the metrics of the texts, which do not depend on the batch.
TEST(Seq2SeqLm, GeneratedTextsDoNotDependOnTheBatch) {
  const Seq2SeqRun run;
  const Dataset data = Dataset::from_file(run.colours("dev.csv", 11), {.text_to_text = true});
  TaskData task_data{{}, data, run.tokenizer};
  const Model model = load_for_training(run.config(), task_data, {.task = "seq2seq-lm"});
  std::vector<LogEntry> found;
  for (const int64_t batch : {1, 4, 11}) {
    TrainingArguments a = run.arguments();
    a.per_device_eval_batch_size = batch;
    a.predict_with_generate = true;
    a.generation_max_length = 9;
    a.generation_num_beams = 3;
    LogEntry entry = Trainer(model, a, task_data).evaluate();
    entry.erase(std::remove_if(entry.begin(), entry.end(),
                               [](const auto& e) {
                                 return e.first.find("runtime") != std::string::npos ||
                                        e.first.find("per_second") != std::string::npos;
                               }),
                entry.end());
    found.push_back(entry);
  }
  EXPECT_EQ(found[1], found[0]);
  EXPECT_EQ(found[2], found[0]);
  EXPECT_LE(value_of(found[0], "eval_gen_len"), 8);  // the token with which the decoder begins is counted
  EXPECT_GT(value_of(found[0], "eval_gen_len"), 0);
}

TEST(TargetGeneration, SettingsOfTheModelAndOfTheArguments) {
  GRAFT_SHARED_PATH(golden, "golden/t5/seq2seq");
  const Model model = load_model(golden);
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  models::State& state = model.state();
  state.generation_config = {{"num_beams", 4}, {"length_penalty", 2.0}, {"num_return_sequences", 3}};
  const TargetGeneration of_model = target_generation(state, tokenizer, 0, 0, 128);
  EXPECT_EQ(of_model.options.num_beams, 4);
  EXPECT_EQ(of_model.options.length_penalty, 2);
  EXPECT_EQ(of_model.options.num_return_sequences, 1);
  EXPECT_EQ(of_model.max_new_tokens, 127);
  EXPECT_THAT(of_model.options.eos_token_id, ElementsAre(kEnd));
  const TargetGeneration asked = target_generation(state, tokenizer, 20, 1, 128);
  EXPECT_EQ(asked.options.num_beams, 1);
  EXPECT_EQ(asked.max_new_tokens, 19);
  // A config without eos_token_id: a target ends with the tokenizer's.
  state.config.json()["eos_token_id"] = nullptr;
  EXPECT_THAT(target_generation(state, tokenizer, 0, 0, 8).options.eos_token_id, ElementsAre(kEnd));
  state.generation_config = {{"do_sample", true}};
  EXPECT_THAT(error_of([&] { target_generation(state, tokenizer, 0, 2, 8); }), HasSubstr("num_beams 2"));
}

TEST(TargetGeneration, EndsWithAStopString) {
  const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/small-t5"));
  Ids ids = ids_of(*tokenizer, "one house");
  ids.pop_back();
  EXPECT_TRUE(completes_a_text(*tokenizer, ids, {"x", "use"}));
  EXPECT_FALSE(completes_a_text(*tokenizer, ids, {"one"}));  // an earlier token completed it
  EXPECT_FALSE(completes_a_text(*tokenizer, ids, {}));
}

// Two processes with a part each give the bits of one.
TEST(TargetMetrics, PartsMergeExactly) {
  TargetMetrics whole(true), first(true), second(true), merged(true);
  const std::vector<std::pair<std::string, std::string>> texts = {{"a b", "a c"}, {"d", "d"}, {"", "e f g"}};
  for (size_t i = 0; i < texts.size(); ++i) {
    for (TargetMetrics* m : {&whole, i < 1 ? &first : &second}) {
      m->add_text(texts[i].first, texts[i].second, 3 + i);
      m->add_counts(static_cast<int64_t>(i), 4);
    }
  }
  merged.merge(first.partial());
  merged.merge(second.partial());
  EXPECT_EQ(merged.values(), whole.values());
  EXPECT_EQ(whole.values().back(), (std::pair<std::string, double>{"gen_len", 4}));
  EXPECT_EQ(TargetMetrics(false).values().size(), 1u);
}

}  // namespace
}  // namespace graft::tasks
