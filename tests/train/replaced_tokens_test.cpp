// Replaced-token detection (tasks/replaced_tokens.h): the loss of both networks, the tokens that are read,
// resuming. tests/interop/check_adapt.py compares with the reference.
#include "tasks/replaced_tokens.h"

#include <cmath>

#include "base/file.h"
#include "base/log.h"
#include "engine/basic_ops.h"
#include "models/model_case.h"
#include "models/registry.h"
#include "tasks/drawn_tokens.h"
#include "train/every_task.h"
#include "train/parts.h"
#include "train/resume_run.h"
#include "train/verify_resume.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using engine::Parameter;
using engine::Tape;
using testing::AllOf;
using testing::HasSubstr;

class ReplacedTokens : public testing::Test {
 protected:
  const TaskCase case_{&tasks::replaced_tokens_task(), ""};
  Model model() const { return every_.model(case_); }
  TrainingArguments arguments() const {
    TrainingArguments a = every_.arguments(case_);
    a.mlm_probability = 0.4;
    return a;
  }
  TaskData data(int train = 20, int eval = 9) const { return every_.data(case_, train, eval); }
  EveryTask every_;
};

data::RaggedBatch first_of(const tasks::Features& features, int64_t n, int64_t epoch) {
  data::RaggedBatch batch;
  for (int64_t i = 0; i < n; ++i) features.append(batch, i, i, epoch);
  return batch;
}

// log(1 + exp(-x)), and of a replaced token that of -x.
double detection_loss(double logit, bool replaced) { return std::log1p(std::exp(replaced ? -logit : logit)); }

// Logits of a network, without dropout.
std::vector<double> rows_of(engine::Tensor x) {
  std::vector<double> out;
  for (int64_t r = 0; r < x.rows; ++r) out.insert(out.end(), x.row(r), x.row(r) + x.cols);
  return out;
}

// The formula of the paper on the logits of the two networks, each run by itself.
TEST_F(ReplacedTokens, TheLossIsThatOfTheGeneratorAndFiftyTimesTheDiscriminators) {
  const Model m = model();
  Trainer trainer(m, arguments(), data());
  models::State& state = m.state();
  const tasks::Task& task = *trainer.parts().features.task;
  const data::RaggedBatch batch = first_of(*trainer.parts().features.train, 8, 0);
  ASSERT_GT(batch.labels.size(), 5u);
  for (const int32_t row : batch.label_rows)
    EXPECT_EQ(batch.input_ids[static_cast<size_t>(row)], *every_.run().tokenizer()->special_id("mask_token"));

  engine::Arena arena;
  Tape tape(arena, state.parameters, {.step = 3});
  const engine::Tensor filled = state.generator->network.forward(tape, batch).logits->data;
  data::RaggedBatch read = batch;
  tasks::draw_tokens(filled, batch, arguments().seed, 3, read.input_ids.data());
  double mlm = 0;
  std::vector<bool> replaced(static_cast<size_t>(batch.rows()));
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    const float* x = filled.row(static_cast<int64_t>(i));
    double sum = 0;
    for (int64_t c = 0; c < filled.cols; ++c) sum += std::exp(static_cast<double>(x[c]));
    mlm += std::log(sum) - static_cast<double>(x[batch.labels[i]]);
    const auto row = static_cast<size_t>(batch.label_rows[i]);
    replaced[row] = read.input_ids[row] != batch.labels[i];
  }
  const std::vector<double> logits = rows_of(state.network.forward(tape, read).logits->data);
  double detection = 0;
  for (size_t r = 0; r < logits.size(); ++r) detection += detection_loss(logits[r], replaced[r]);
  const double terms = task.loss_terms(batch);
  EXPECT_EQ(terms, batch.rows());
  const auto loss_of = [&](const data::RaggedBatch& b, double denominator) {
    StepMemory memory;
    state.parameters.allocate_grads();
    state.parameters.clear_grads();
    return accumulate_gradients(state, task, b, denominator, 42, 3, false, memory);
  };
  const double expected = mlm / static_cast<double>(batch.labels.size()) + 50 * detection / terms;
  EXPECT_NEAR(loss_of(batch, terms), expected, 1e-4 * expected);
  // Of a larger step both are divided by what the whole step has.
  data::RaggedBatch part = batch;
  part.step_labels = 100;
  EXPECT_NEAR(loss_of(part, 4 * terms), mlm / 100 + 50 * detection / (4 * terms), 1e-4 * expected);
}

// In values of both networks and in those that they share, the slope of the loss. The draws are the same
// ones.
TEST_F(ReplacedTokens, HasTheGradientOfItsLoss) {
  const Model m = model();
  Trainer trainer(m, arguments(), data());
  models::State& state = m.state();
  const tasks::Task& task = *trainer.parts().features.task;
  const data::RaggedBatch batch = first_of(*trainer.parts().features.train, 8, 0);
  const auto loss = [&] { return run_pass(m, task, batch, false).loss; };
  loss();
  for (const char* name :
       {"electra.embeddings.word_embeddings.weight", "electra.encoder.layer.0.attention.self.value.weight",
        "discriminator_predictions.dense.weight", "discriminator_predictions.dense_prediction.bias",
        "generator.electra.encoder.layer.0.attention.self.value.weight",
        "generator.generator_predictions.dense.weight", "generator.generator_lm_head.bias"}) {
    const Parameter& p = *state.parameters.find(name);
    std::vector<float> gradient;
    {
      loss();
      const engine::HostRead g = state.parameters.read_grad(p);
      gradient.assign(g.begin(), g.end());
    }
    const auto moved = [&](int64_t i, float by) {
      state.parameters.write_value(p).data()[i] += by;
      state.parameters.touch_values();
      const double value = loss();
      state.parameters.write_value(p).data()[i] -= by;
      return value;
    };
    int compared = 0;
    // Not the row of padding, which gets no gradient where it is looked up.
    const int64_t stride = std::max<int64_t>(1, p.size / 40);
    for (int64_t i = p.size > 40 ? stride : 0; i < p.size && compared < 12; i += stride) {
      constexpr float kStep = 4e-3f;
      const double up = moved(i, kStep), down = moved(i, -kStep), slope = (up - down) / (2 * double{kStep}),
                   got = gradient[static_cast<size_t>(i)];
      // A draw at the border of two tokens is a step in the loss and none in its gradient.
      if (std::fabs(up - down) > 0.4) continue;
      ++compared;
      EXPECT_NEAR(got, slope, 2e-2 + 0.03 * std::fabs(slope)) << name << i;
    }
    EXPECT_GT(compared, 0) << name;
  }
}

TEST_F(ReplacedTokens, HeldOutTextIsFilledOnceByTheGeneratorOfTheStart) {
  const Model m = model();
  TrainingArguments a = arguments();
  a.num_train_epochs = 3;
  Trainer trainer(m, a, data());
  const tasks::Features& eval = *trainer.parts().features.eval;
  const data::RaggedBatch before = first_of(eval, eval.size(), -1);
  EXPECT_EQ(std::ssize(before.labels), before.rows());
  const auto share = static_cast<double>(std::count(before.labels.begin(), before.labels.end(), 1)) /
                     static_cast<double>(before.rows());
  EXPECT_GT(share, 0.1);
  EXPECT_LT(share, 0.45);
  for (size_t r = 0; r < before.labels.size(); ++r)
    EXPECT_LE(before.labels[r], before.position_in_example[r] == 0 ? 0 : 1);  // [CLS] is never masked
  const LogEntry metrics = trainer.train().metrics;
  EXPECT_EQ(first_of(eval, eval.size(), -1).input_ids, before.input_ids);
  for (const char* name : {"eval_accuracy", "eval_f1", "eval_loss"})
    EXPECT_TRUE(std::isfinite(value_of(metrics, name)));
  // Another generator fills it differently.
  Trainer other(m, a, data());
  EXPECT_NE(first_of(*other.parts().features.eval, eval.size(), -1).input_ids, before.input_ids);
}

TEST_F(ReplacedTokens, BothNetworksAndWhatTheyShareAreTrained) {
  const Model before = model(), m = model();
  Trainer(m, arguments(), data()).train();
  for (const Parameter& p : m.state().parameters.parameters()) {
    const engine::HostRead now = m.state().parameters.read_value(p),
                           then =
                               before.state().parameters.read_value(*before.state().parameters.find(p.name));
    EXPECT_FALSE(std::equal(now.begin(), now.end(), then.begin())) << p.name;
  }
  // A frozen generator stands still.
  const Model frozen = model();
  TrainingArguments a = arguments();
  a.freeze = "generator.*";
  Trainer(frozen, a, data()).train();
  for (const Parameter& p : frozen.state().parameters.parameters()) {
    const engine::HostRead now = frozen.state().parameters.read_value(p),
                           then =
                               before.state().parameters.read_value(*before.state().parameters.find(p.name));
    EXPECT_EQ(std::equal(now.begin(), now.end(), then.begin()), p.of_generator) << p.name;
  }
}

// Words follow one another, so that a strange one shows.
TEST_F(ReplacedTokens, LearnsToFindThem) {
  const Model m = model();
  TrainingArguments a = arguments();
  a.mlm_probability = 0.15;
  a.num_train_epochs = 60;
  a.learning_rate = 1e-3;
  const TinyRun& run = every_.run();
  const TaskData text =
      TaskData::text({run.text("train.txt", 300, 1)}, {run.text("eval.txt", 60, 2)}, run.tokenizer());
  Trainer trainer(m, a, text);
  const LogEntry before = trainer.evaluate(), after = trainer.train().metrics;
  EXPECT_GT(value_of(before, "eval_loss"), 0.5);
  EXPECT_LT(value_of(after, "eval_loss"), 0.31);  // 0.39 for the share of replaced tokens alone
  EXPECT_GT(value_of(after, "eval_f1"), 0.35);
}

TEST_F(ReplacedTokens, AResumedRunHasTheBitsOfTheWholeOne) {
  TrainingArguments a = arguments();
  a.max_steps = 6;
  a.per_device_train_batch_size = 4;
  a.gradient_accumulation_steps = 2;
  const auto make = [&](const TrainingArguments& given) {
    return std::make_unique<Trainer>(model(), given, data());
  };
  const ResumeReport report = verify_resume(make, a, 6);
  EXPECT_EQ(report.difference, "");
  // Weights, two moments each, and the generator's folder with the embeddings that it shares.
  size_t tensors = 0, shared = 0;
  const Model m = model();
  for (const auto& t : m.state().generator->tensors) shared += t.parameter->of_generator ? 0 : 1;
  tensors = m.state().parameters.parameters().size();
  EXPECT_EQ(report.tensors, static_cast<int64_t>(3 * tensors + shared));
}

TEST_F(ReplacedTokens, CheckpointsAndTheOutputHoldBothFolders) {
  TrainingArguments a = arguments();
  a.max_steps = 2;
  a.save_strategy = "steps";
  a.save_steps = 2;
  const Model m = model();
  Trainer(m, a, data()).train();
  for (const char* sub : {"", "checkpoint-2"}) {
    const fs::path folder = fs::path(a.output_dir) / sub / models::kGeneratorFolder;
    EXPECT_EQ(read_json(folder / "config.json")["architectures"], Json::array({"ElectraForMaskedLM"}));
    EXPECT_EQ(Tokenizer::from_pretrained(folder)->vocab_size(), every_.run().tokenizer()->vocab_size());
  }
  // The model is a start for other tasks.
  ModelOptions options;
  options.task = "sequence-classification";
  options.labels = {"a", "b"};
  const Model tuned = Model::from_pretrained(a.output_dir, options);
  EXPECT_EQ(tuned.state().generator, nullptr);
}

TEST_F(ReplacedTokens, WithoutAGeneratorOrWithOptionsOfOtherLossesItIsRefused) {
  model().save_pretrained(every_.run() / "saved");
  ModelOptions options;
  options.task = models::kReplacedTokenDetection.task;
  const auto refusal = [&](const Model& m, const TrainingArguments& a) {
    return error_of([&] { Trainer(m, a, data()); });
  };
  EXPECT_THAT(refusal(Model::from_pretrained(every_.run() / "saved", options), arguments()),
              AllOf(HasSubstr("needs a generator"), HasSubstr("graft adapt")));
  TrainingArguments a = arguments();
  a.label_smoothing_factor = 0.1;
  EXPECT_THAT(refusal(model(), a), HasSubstr("--label_smoothing_factor is refused"));
  a = arguments();
  a.gradient_cache = true;
  EXPECT_THAT(refusal(model(), a), HasSubstr("--gradient_cache is refused"));
  a = arguments();
  a.peft_type = "lora";
  EXPECT_THAT(refusal(model(), a), HasSubstr("--peft_type is refused while a generator trains"));
  // A batch of an evaluation has a label for each token.
  const Model m = model();
  Trainer trainer(m, arguments(), data());
  const data::RaggedBatch masked = first_of(*trainer.parts().features.train, 4, 0);
  StepMemory memory;
  double total = 0;
  EXPECT_THAT(error_of([&] {
                evaluate_batch(m.state(), *trainer.parts().features.task, masked, nullptr, total, memory);
              }),
              HasSubstr("each token has one"));
}

TEST_F(ReplacedTokens, AShorterGeneratorLimitsTheLength) {
  const Model m = model();
  Json config = read_json(every_.run() / "generator.json");
  config["max_position_embeddings"] = 20;
  write_json(every_.run() / "generator.json", config);
  ModelOptions options;
  options.task = models::kMaskedLm.task;
  Model::from_config(every_.run() / "generator.json", options).save_pretrained(every_.run() / "generator");
  options.task = models::kReplacedTokenDetection.task;
  const Model longer = Model::from_config(
      every_.run() / (std::string(models::kReplacedTokenDetection.task) + ".json"), options);
  models::add_generator(longer.state(), every_.run() / "generator");
  TrainingArguments a = arguments();
  a.max_seq_length = 30;
  EXPECT_THAT(error_of([&] { Trainer(longer, a, data()); }),
              AllOf(HasSubstr("the generator reads 20 tokens at most"), HasSubstr("--max_seq_length 20")));
}

}  // namespace
}  // namespace graft::train
