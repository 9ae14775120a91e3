// Examples of several sequences, with a label per example and with spans: two tasks that graft does not have,
// trained and evaluated through the same code as all others.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "base/philox.h"
#include "engine/basic_ops.h"
#include "models/bert.h"
#include "models/heads.h"
#include "models/model_case.h"
#include "models/registry.h"
#include "models/scope.h"
#include "tasks/task_table.h"
#include "train/memory_needs.h"
#include "train/step_batches.h"
#include "train/tiny_run.h"
#include "train/trained_model.h"

namespace graft::train {
namespace {

using namespace graft::test;
using engine::Tape;
using engine::Var;
using testing::HasSubstr;

constexpr models::HeadKind kChoosing = {"choosing", "choice", "ForChoosing"};
constexpr models::HeadKind kFinding = {"finding", "find", "ForFinding"};

models::Network bert_with(engine::ParameterStore& store, const models::ModelConfig& config) {
  models::Network n;
  n.encoder =
      std::make_unique<models::BertEncoder>(store, "bert", models::BertConfig::read(config, false), false);
  return n;
}

// One score a sequence.
models::Network make_choosing(engine::ParameterStore& store, const models::ModelConfig& config) {
  models::Network n = bert_with(store, config);
  const models::Scope root(store, "");
  models::ClassificationHead head;
  head.dense = root.linear("dense", 32, 32);
  head.out = root.linear("classifier", 1, 32);
  head.dropout_after = static_cast<float>(config.number_or("hidden_dropout_prob", 0));
  n.head = std::make_unique<models::ClassificationHead>(head);
  return n;
}

// Each token may be the first one or the last one of the answer.
struct SpanHead : models::Head {
  engine::Linear out;
  models::RowSelection rows(Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return models::all_rows(batch);
  }
  Var logits(Tape& tape, Var hidden, const engine::Rows& /*rows*/) const override {
    return engine::linear(tape, hidden, out);
  }
};

models::Network make_finding(engine::ParameterStore& store, const models::ModelConfig& config) {
  models::Network n = bert_with(store, config);
  SpanHead head;
  head.out = models::Scope(store, "").linear("qa_outputs", 2, 32);
  n.head = std::make_unique<SpanHead>(head);
  return n;
}

// --- the share of the examples that are answered right, and which examples were seen

class Share : public tasks::Metrics {
 public:
  explicit Share(bool (*right)(const data::RaggedBatch&, engine::Tensor, size_t example)) : right_(right) {}
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (size_t e = 0; e < batch.examples.size(); ++e) {
      right_count_ += right_(batch, logits, e);
      seen_ += 1;
      index_sum_ += static_cast<double>(batch.examples[e]);
    }
  }
  tasks::Partial partial() const override { return {right_count_, seen_, index_sum_}; }
  void merge(const tasks::Partial& part) override {
    right_count_ += part.at(0), seen_ += part.at(1), index_sum_ += part.at(2);
  }
  tasks::MetricValues values() const override {
    return {{"exact", right_count_ / seen_}, {"index_sum", index_sum_}};
  }

 private:
  bool (*right_)(const data::RaggedBatch&, engine::Tensor, size_t);
  double right_count_ = 0, seen_ = 0, index_sum_ = 0;
};

class Choosing : public tasks::Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override { return batch.num_examples(); }
  Var loss(Tape& tape, Var logits, const data::RaggedBatch& batch, double denominator,
           double* total) const override {
    return engine::segment_cross_entropy(tape, logits, batch.cu_examples.data(), batch.labels.data(),
                                         batch.num_examples(), denominator, total);
  }
  std::unique_ptr<tasks::Metrics> metrics() const override {
    return std::make_unique<Share>([](const data::RaggedBatch& batch, engine::Tensor logits, size_t e) {
      const float* first = logits.row(batch.cu_examples[e]);
      const auto best = std::max_element(first, first + 2) - first;  // one column: rows are adjacent
      return best == batch.labels[e];
    });
  }
};

// The rows of the likeliest span of the sequences [begin, end), none of them crossing two.
std::pair<int64_t, int64_t> likeliest(const data::RaggedBatch& batch, engine::Tensor logits, size_t e) {
  std::pair<int64_t, int64_t> best;
  float best_score = -1e30f;
  for (auto b = static_cast<size_t>(batch.cu_examples[e]); b < static_cast<size_t>(batch.cu_examples[e + 1]);
       ++b)
    for (int32_t i = batch.cu_seqlens[b] + 1; i < batch.cu_seqlens[b + 1]; ++i)
      for (int32_t j = i; j < batch.cu_seqlens[b + 1]; ++j) {
        // Against that there is no answer in this sequence.
        const float* none = logits.row(batch.cu_seqlens[b]);
        const float score = logits.row(i)[0] + logits.row(j)[1] - none[0] - none[1];
        if (score > best_score) best_score = score, best = {i, j};
      }
  return best;
}

class Finding : public tasks::Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override { return 2 * batch.size(); }
  Var loss(Tape& tape, Var logits, const data::RaggedBatch& batch, double denominator,
           double* total) const override {
    const auto end = [&](int64_t column, const std::vector<int32_t>& positions) {
      return engine::segment_cross_entropy(tape, engine::slice_columns(tape, logits, column, 1),
                                           batch.cu_seqlens.data(), positions.data(), batch.size(),
                                           denominator, total);
    };
    const Var start = end(0, batch.start_positions);
    return engine::add(tape, start, end(1, batch.end_positions));
  }
  std::unique_ptr<tasks::Metrics> metrics() const override {
    return std::make_unique<Share>([](const data::RaggedBatch& batch, engine::Tensor logits, size_t e) {
      for (auto b = static_cast<size_t>(batch.cu_examples[e]);
           b < static_cast<size_t>(batch.cu_examples[e + 1]); ++b)
        if (batch.start_positions[b] > 0)
          return likeliest(batch, logits, e) ==
                 std::pair<int64_t, int64_t>{batch.cu_seqlens[b] + batch.start_positions[b],
                                             batch.cu_seqlens[b] + batch.end_positions[b]};
      return false;
    });
  }
};

// --- features: text and text_pair are two sequences of one example

// The first and the last colour; the first token ([CLS]) where there is none.
std::pair<int32_t, int32_t> span_of(const Encoding& e, const Tokenizer& tokenizer) {
  std::pair<int32_t, int32_t> span;
  for (size_t t = 0; t < e.input_ids.size(); ++t) {
    const std::string token = tokenizer.id_to_token(e.input_ids[t]);
    if (token != "red" && token != "green") continue;
    span.second = static_cast<int32_t>(t);
    if (span.first == 0) span.first = span.second;
  }
  return span;
}

class TwoSequences : public tasks::Features {
 public:
  TwoSequences(const Dataset& data, const Tokenizer& tokenizer, bool spans) : labels_are_spans_(spans) {
    for (const Example& e : data.examples()) {
      for (const std::string& text : {e.text, e.text_pair}) {
        sequences_.push_back(tokenizer.encode(text));
        spans_.push_back(span_of(sequences_.back(), tokenizer));
      }
      labels_.push_back(e.text.find("red") == std::string::npos);
    }
  }
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int32_t length(int64_t i) const override {
    return static_cast<int32_t>(of(i, 0).input_ids.size() + of(i, 1).input_ids.size());
  }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                        int64_t /*epoch*/) const override {
    if (!labels_are_spans_) batch.labels.push_back(labels_[static_cast<size_t>(i)]);
    for (int64_t s = 0; s < 2; ++s) {
      const Encoding& e = of(i, s);
      batch.append_sequence(e.input_ids.data(), nullptr, static_cast<int32_t>(e.input_ids.size()),
                            data::sequence_key(index, s));
      if (!labels_are_spans_) continue;
      batch.start_positions.push_back(spans_[static_cast<size_t>(2 * i + s)].first);
      batch.end_positions.push_back(spans_[static_cast<size_t>(2 * i + s)].second);
    }
  }

 private:
  const Encoding& of(int64_t i, int64_t s) const { return sequences_[static_cast<size_t>(2 * i + s)]; }
  bool labels_are_spans_;
  std::vector<std::pair<int32_t, int32_t>> spans_;
  std::vector<Encoding> sequences_;
  std::vector<int32_t> labels_;
};

template <class T>
std::unique_ptr<tasks::Task> make_one(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<T>();
}

template <class T, bool spans>
tasks::PreparedTask prepare_one(Model& /*model*/, const TaskData& data,
                                const tasks::FeatureSettings& /*settings*/) {
  tasks::PreparedTask out;
  out.task = std::make_unique<T>();
  if (data.train.size() > 0) out.train = std::make_unique<TwoSequences>(data.train, *data.tokenizer, spans);
  if (data.eval.size() > 0) out.eval = std::make_unique<TwoSequences>(data.eval, *data.tokenizer, spans);
  return out;
}

// --- the tests

class Sequences : public testing::TestWithParam<const models::HeadKind*> {
 protected:
  Sequences() {
    static const models::Family family = [] {
      models::Family f = models::bert_family();
      f.model_type = "two-bert", f.class_prefix = "TwoBert";
      f.heads = {{&kChoosing, make_choosing}, {&kFinding, make_finding}};
      return f;
    }();
    static const tasks::TaskEntry choosing = {
        &kChoosing, tasks::Input::labelled_rows, tasks::Answer::labels,        32,     {},
        nullptr,    make_one<Choosing>,          prepare_one<Choosing, false>, nullptr};
    static const tasks::TaskEntry finding = {
        &kFinding, tasks::Input::labelled_rows, tasks::Answer::labels,      32,     {},
        nullptr,   make_one<Finding>,           prepare_one<Finding, true>, nullptr};
    models::families().push_back(&family);
    for (const tasks::TaskEntry* entry : {&choosing, &finding}) {
      models::head_kinds().push_back(entry->head);
      tasks::task_table().push_back(entry);
    }
  }
  ~Sequences() override {
    models::families().pop_back();
    for (int i = 0; i < 2; ++i) models::head_kinds().pop_back(), tasks::task_table().pop_back();
  }

  // Pairs of texts of different lengths; "red" is in one of them, often followed by "green".
  Dataset dataset(int n, uint64_t seed) const {
    PhiloxStream draws(philox_key(seed, 0, "pairs"));
    const auto text = [&](bool red) {
      std::string out;
      const uint64_t words = 2 + draws.below(5), at = draws.below(words);
      for (uint64_t i = 0; i < words; ++i) {
        if (i == at && red) out += draws.below(2) ? "red green " : "red ";
        const char word[] = {"bdfgklmn"[draws.below(8)], "aeiou"[draws.below(5)], ' ', 0};
        out += word;
      }
      return out;
    };
    std::vector<Example> examples(static_cast<size_t>(n));
    for (Example& e : examples) {
      const bool first = draws.below(2) == 0;
      e.text = text(first), e.text_pair = text(!first), e.has_pair = true;
    }
    return Dataset(std::move(examples));
  }
  TaskData data() const { return {dataset(240, 1), dataset(61, 2), run_.tokenizer()}; }
  Model model(double dropout) const {
    ModelOptions options;
    options.task = GetParam()->task;
    run_.dir().write("config.json", Json{{"model_type", "two-bert"},
                                         {"vocab_size", run_.tokenizer()->vocab_size()},
                                         {"max_position_embeddings", 40},
                                         {"initializer_range", 0.1},
                                         {"pad_token_id", 0},
                                         {"hidden_size", 32},
                                         {"num_hidden_layers", 2},
                                         {"num_attention_heads", 4},
                                         {"intermediate_size", 64},
                                         {"hidden_dropout_prob", dropout},
                                         {"attention_probs_dropout_prob", dropout}}
                                        .dump());
    return Model::from_config(run_ / "config.json", options);
  }
  tasks::PreparedTask prepared(Model& model) const {
    return tasks::task_of(model).prepare(model, data(), {});
  }
  TinyRun run_;
};

INSTANTIATE_TEST_SUITE_P(Labels, Sequences, testing::Values(&kChoosing, &kFinding),
                         [](const auto& info) { return std::string(info.param->task); });

TEST_P(Sequences, OfOneExampleTrainAndEvaluateTogether) {
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 6;
  a.do_eval = true;
  const TrainResult result = Trainer(model(0.05), a, data()).train();
  EXPECT_GT(value_of(result.metrics, "eval_exact"), 0.9);
  EXPECT_EQ(value_of(result.metrics, "eval_samples"), 61);
  EXPECT_EQ(value_of(result.metrics, "eval_index_sum"), 60 * 61 / 2);  // each example once, by its index
  Trainer again(load_trained(run_ / "out", GetParam()->task), a, {{}, data().eval, run_.tokenizer()});
  EXPECT_EQ(value_of(again.evaluate(), "eval_loss"), value_of(result.metrics, "eval_loss"));
}

TEST_P(Sequences, EvaluationDoesNotDependOnTheBatchSize) {
  TrainingArguments a = run_.arguments();
  std::vector<double> losses, exact;
  for (const int64_t size : {1, 7, 64}) {
    a.per_device_eval_batch_size = size;
    const LogEntry entry = Trainer(model(0), a, data()).evaluate();
    losses.push_back(value_of(entry, "eval_loss"));
    exact.push_back(value_of(entry, "eval_exact"));
  }
  EXPECT_EQ(losses, std::vector<double>(3, losses[0]));
  EXPECT_EQ(exact, std::vector<double>(3, exact[0]));
}

// Logits of a step with dropout, example by example, however the step is cut into batches.
TEST_P(Sequences, DropoutKeepsItsBitsOverBatchSizesAndAccumulation) {
  Model m = model(0.1);
  const tasks::PreparedTask task = prepared(m);
  const auto logits = [&](const std::vector<std::vector<int64_t>>& cut) {
    StepBatches batches;
    batches.fill(*task.train, cut, 0, engine::single_process());
    std::vector<float> out;
    for (const data::RaggedBatch& batch : batches) {
      engine::Arena arena;
      Tape tape(arena, m.state().parameters, {.training = true, .seed = 1, .step = 2});
      const engine::Tensor t = m.state().network.forward(tape, batch).logits->data;
      for (int64_t r = 0; r < t.rows; ++r) out.insert(out.end(), t.row(r), t.row(r) + t.cols);
    }
    return out;
  };
  const std::vector<float> whole = logits({{5, 9, 2, 2, 7}});
  EXPECT_EQ(whole, logits({{5, 9}, {2, 2}, {7}}));
  EXPECT_EQ(whole, logits({{5}, {9, 2, 2, 7}}));
  EXPECT_NE(whole, logits({{9, 5}, {2, 2, 7}}));  // keys are places in the step
}

TEST_P(Sequences, AccumulationEqualsTheBigBatch) {
  std::vector<std::vector<double>> losses;
  std::vector<std::vector<float>> weights;
  for (const auto& [size, accumulation] : {std::pair<int, int>{12, 1}, {4, 3}, {1, 12}}) {
    TrainingArguments a = run_.arguments();
    a.num_train_epochs = 0.5;
    a.per_device_train_batch_size = size;
    a.gradient_accumulation_steps = accumulation;
    a.logging_strategy = "steps";
    a.logging_steps = 1;
    a.adam_epsilon = 1e-3;  // a step is smooth in the gradient: rounding stays rounding
    const Model m = model(0.1);
    losses.emplace_back();
    Trainer(m, a, data()).train({.on_log = [&](const LogEntry& e) {
      if (e.front().first == "loss") losses.back().push_back(e.front().second);
    }});
    weights.push_back(all_values(m));
  }
  ASSERT_EQ(losses[0].size(), 10u);
  for (size_t i = 1; i < 3; ++i) {
    ASSERT_EQ(losses[i].size(), 10u);
    for (size_t s = 0; s < 10; ++s) EXPECT_NEAR(losses[i][s], losses[0][s], 1e-5) << s;
    EXPECT_LE(largest_difference(weights[i], weights[0]), 1e-5);
  }
}

// The two sequences of an example have randomness of their own.
TEST_P(Sequences, OfOneTextDropDifferentElements) {
  Model m = model(0.3);
  Example e;
  e.text = e.text_pair = "ba be bi red bo";
  e.has_pair = true;
  const TwoSequences features(Dataset({e}), *run_.tokenizer(), false);
  data::RaggedBatch batch;
  features.append(batch, 0, 3, 0);
  engine::Arena arena;
  Tape tape(arena, m.state().parameters, {.training = true, .seed = 1});
  const engine::Tensor t = m.state().network.forward(tape, batch).logits->data;
  EXPECT_NE(t.row(0)[0], t.row(t.rows / 2)[0]);
}

// A batch is cut between examples: the hint counts what --per_device_train_batch_size counts.
TEST_P(Sequences, TheMemoryHintCountsExamples) {
  Model m = model(0);
  const tasks::PreparedTask task = prepared(m);
  const auto batch_of = [&](int64_t n) {
    data::RaggedBatch batch;
    for (int64_t i = 0; i < n; ++i) task.train->append(batch, i, i, 0);
    return batch;
  };
  const auto needs = [&](int64_t n) { return plan_pass(m.state(), task.task.get(), batch_of(n), true); };
  const auto refused = [&](uint64_t limit) {
    const MemoryBudget budget(std::vector<MemoryLimit>{{"a test's limit", limit, 0}});
    return error_of([&] { budget.check(m.state(), task.task.get(), batch_of(40), true, needs(40), {}); });
  };
  const uint64_t five = needs(5).total();
  ASSERT_LT(five, needs(6).total());
  EXPECT_THAT(refused(five),
              AllOf(HasSubstr("a batch of 40 examples (80 sequences)"),
                    HasSubstr("--per_device_train_batch_size 5; with --gradient_accumulation_steps 8 ")));
  // Not even one: its sequences are cut, labels and spans with them.
  EXPECT_THAT(refused(needs(1).total() - 1),
              HasSubstr("--per_device_train_batch_size 1 and --max_seq_length "));
}

}  // namespace
}  // namespace graft::train
