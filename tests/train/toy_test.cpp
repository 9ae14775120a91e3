// The seams: a family and a task that graft does not have, each added as one value and one line in its table,
// train, save, load, evaluate and plan their memory through the same code as all others.
#include <gtest/gtest.h>

#include "base/json.h"
#include "engine/basic_ops.h"
#include "models/heads.h"
#include "models/registry.h"
#include "models/scope.h"
#include "models/state.h"
#include "support/shared.h"
#include "tasks/examples.h"
#include "tasks/task_table.h"
#include "train/tiny_run.h"
#include "train/trained_model.h"

namespace graft::train {
namespace {

using namespace graft::test;
using engine::Tape;
using engine::Var;

// --- a family: one pre-norm causal layer without positions; heads read the last token

class PeepEncoder : public models::Encoder {
 public:
  PeepEncoder(engine::ParameterStore& store, int64_t vocabulary, int64_t size) {
    const models::Scope root(store, "peep");
    embeddings_.word = root.embedding("wte", vocabulary, size, true);
    norm_ = root.norm("ln_1", size, 1e-5);
    qkv_ = root.linear("attn.qkv", 3 * size, size);
    out_ = root.linear("attn.out", size, size);
    attention_ = models::attention_options(size, 2, 0);
    attention_.causal = true;
    size_ = size;
  }
  Var encode(Tape& tape, const models::Inputs& inputs, const models::RowSelection& rows) const override {
    const Var x =
        engine::embed(tape, embeddings_, inputs.input_ids, nullptr, nullptr, 0, "peep.wte", inputs.rows);
    const Var p = engine::linear(tape, engine::layer_norm(tape, x, norm_), qkv_);
    const Var a = engine::attention(tape, {p, 0}, {p, size_}, {p, 2 * size_}, attention_, "peep.attn",
                                    inputs.rows, inputs.rows);
    const Var z = engine::residual_add(tape, engine::linear(tape, a, out_), x, 0, "peep.out", inputs.rows);
    return rows.rows ? engine::gather(tape, z, rows.rows, rows.n) : z;
  }
  int64_t max_positions() const override { return 0; }  // no limit
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }

 private:
  engine::Embeddings embeddings_;
  engine::Norm norm_;
  engine::Linear qkv_, out_;
  engine::AttentionOptions attention_;
  int64_t size_ = 0;
};

struct LastTokenHead : models::Head {
  engine::Linear score;
  models::RowSelection rows(Tape& tape, const data::RaggedBatch& batch) const override {
    return models::last_rows(tape, batch);
  }
  Var logits(Tape& tape, Var hidden, const engine::Rows& /*rows*/) const override {
    return engine::linear(tape, hidden, score);
  }
};

models::Network make_peep(engine::ParameterStore& store, const models::ModelConfig& config) {
  const int64_t size = config.integer("n_embd");
  models::Network n;
  n.encoder = std::make_unique<PeepEncoder>(store, config.integer("vocab_size"), size);
  LastTokenHead head;
  head.score =
      models::Scope(store, "").linear("score", static_cast<int64_t>(config.label_names().size()), size);
  n.head = std::make_unique<LastTokenHead>(head);
  return n;
}

// --- a task: whether a word is in the text, counted by recall

constexpr models::HeadKind kSpotting = {"spotting", "word-spotting", "ForSpotting", true, false};

class Recall : public tasks::Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r) {
      if (batch.labels[static_cast<size_t>(r)] != 1) continue;
      ++there_;
      found_ += logits.row(r)[1] > logits.row(r)[0];
    }
  }
  tasks::Partial partial() const override { return {found_, there_}; }
  void merge(const tasks::Partial& part) override { found_ += part.at(0), there_ += part.at(1); }
  tasks::MetricValues values() const override { return {{"recall", found_ / there_}}; }

 private:
  double found_ = 0, there_ = 0;
};

class Spotting : public tasks::Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  Var loss(Tape& tape, Var logits, const data::RaggedBatch& batch, double denominator,
           double* total) const override {
    return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total);
  }
  std::unique_ptr<tasks::Metrics> metrics() const override { return std::make_unique<Recall>(); }
};

void choose(ModelOptions& options, const data::CheckpointLabels& /*checkpoint*/, const TaskData& /*data*/) {
  options.labels = {"absent", "present"};
}

std::unique_ptr<tasks::Task> make_task(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<Spotting>();
}

// Text without labels; the word "red" decides.
class SpottingFeatures : public tasks::TextFeatures {
 public:
  SpottingFeatures(const Dataset& data, const Tokenizer& tokenizer, int32_t length)
      : TextFeatures(data, tokenizer, nullptr, length), data_(data) {}

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override {
    TextFeatures::append_sequences(batch, i, index, epoch);
    batch.labels.push_back(data_[static_cast<size_t>(i)].text.find("red") != std::string::npos);
  }

 private:
  Dataset data_;
};

tasks::PreparedTask prepare(Model& /*model*/, const TaskData& data, const tasks::FeatureSettings& settings) {
  tasks::PreparedTask out;
  out.task = std::make_unique<Spotting>();
  const auto length = static_cast<int32_t>(settings.max_seq_length);
  if (data.train.size() > 0)
    out.train = std::make_unique<SpottingFeatures>(data.train, *data.tokenizer, length);
  if (data.eval.size() > 0) out.eval = std::make_unique<SpottingFeatures>(data.eval, *data.tokenizer, length);
  return out;
}

void add_labels(data::RaggedBatch& batch, const Model& /*model*/) {
  batch.labels.assign(static_cast<size_t>(batch.size()), 0);
}

// --- the tables' lines

class Toy : public testing::Test {
 protected:
  Toy() {
    static const models::Family family = {"peep",
                                          "Peep",
                                          "peep",
                                          "peep.wte",
                                          "peep.h",
                                          {"n_embd", "n_embd", "n_layer"},
                                          {{&kSpotting, make_peep}},
                                          {{"n_embd"}, {}, {}},
                                          {}};
    static const tasks::TaskEntry entry = {
        &kSpotting, tasks::Input::labelled_rows, tasks::Answer::labels, 32, {}, choose, make_task, prepare,
        add_labels};
    models::families().push_back(&family);
    models::head_kinds().push_back(&kSpotting);
    tasks::task_table().push_back(&entry);
    run_.dir().write("config.json", Json{{"model_type", "peep"},
                                         {"vocab_size", run_.tokenizer()->vocab_size()},
                                         {"n_embd", 32},
                                         {"initializer_range", 0.2}}
                                        .dump());
  }
  ~Toy() override {
    models::families().pop_back();
    models::head_kinds().pop_back();
    tasks::task_table().pop_back();
  }
  TaskData data() const {
    return {Dataset::from_file(run_.single_csv("train.csv", 300, 1)),
            Dataset::from_file(run_.single_csv("eval.csv", 60, 2)), run_.tokenizer()};
  }
  TinyRun run_;
};

TEST_F(Toy, AFamilyAndATaskTrainThroughTheTables) {
  ModelOptions options;
  options.task = "word-spotting";
  const Model model = load_for_training(run_ / "config.json", data(), options);
  EXPECT_EQ(model.task(), "spotting");
  EXPECT_EQ(model.labels(), (std::vector<std::string>{"absent", "present"}));
  EXPECT_EQ(model.max_positions(), 0);
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 6;
  a.learning_rate = 1e-2;
  a.do_eval = true;
  const TrainResult result = Trainer(model, a, data()).train();
  EXPECT_GT(value_of(result.metrics, "eval_recall"), 0.9);
  EXPECT_LT(value_of(result.metrics, "eval_loss"), 0.3);

  // The saved folder: its class is the family's and the kind's, and it evaluates to the same numbers.
  const Json config = read_json(run_ / "out/config.json");
  EXPECT_EQ(config["architectures"][0], Json("PeepForSpotting"));
  Trainer again(load_trained(run_ / "out", trained_task(run_ / "out")), a,
                {{}, data().eval, run_.tokenizer()});
  EXPECT_EQ(value_of(again.evaluate(), "eval_loss"), value_of(result.metrics, "eval_loss"));
}

TEST_F(Toy, ATaskThatIsNotThereIsNamedWithThoseThatAre) {
  EXPECT_THAT(error_of([] { tasks::find_task("spoting"); }), testing::HasSubstr("spotting"));
  EXPECT_THAT(tasks::task_names(), testing::HasSubstr("spotting (word-spotting)"));
}

}  // namespace
}  // namespace graft::train
