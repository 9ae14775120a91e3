// The fixtures' five steps through Trainer::train: losses and trained weights of the reference.
#include <cmath>

#include "models/config_keys.h"
#include "models/model_case.h"
#include "models/weights.h"
#include "train/parameter_choice.h"
#include "train/parity.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;
using namespace graft::test;

// The whole batch of a fixture as one example of the Trainer's.
class FixtureFeatures : public tasks::Features {
 public:
  explicit FixtureFeatures(data::RaggedBatch batch) : batch_(std::move(batch)) {}
  int64_t size() const override { return 1; }
  int32_t length(int64_t) const override { return batch_.rows(); }

 protected:
  void append_sequences(data::RaggedBatch& to, int64_t, int64_t, int64_t) const override {
    const bool decodes = batch_.decoder.size() > 0;
    for (int32_t e = 0; e < batch_.num_examples(); ++e) {
      if (e > 0) to.begin_example(e);
      for (int32_t s = batch_.cu_examples[at(e)]; s < batch_.cu_examples[at(e) + 1]; ++s) {
        const int32_t first = batch_.cu_seqlens[at(s)], n = batch_.cu_seqlens[at(s) + 1] - first;
        to.append_sequence(batch_.input_ids.data() + first, batch_.token_type_ids.data() + first, n, s);
        if (!decodes) continue;
        const int32_t begin = batch_.decoder.cu_seqlens[at(s)];
        to.decoder.add(batch_.decoder.input_ids.data() + begin, nullptr,
                       batch_.decoder.cu_seqlens[at(s) + 1] - begin);
      }
    }
    to.labels = batch_.labels;
    to.label_rows = batch_.label_rows;
    to.float_labels = batch_.float_labels;
    to.start_positions = batch_.start_positions;
    to.end_positions = batch_.end_positions;
  }

 private:
  static size_t at(int32_t i) { return static_cast<size_t>(i); }
  data::RaggedBatch batch_;
};

// AdamW, lr 1e-3, weight decay 0.01, clipping at 1, warm-up 2 of 10 steps, linear (tests/golden/README.md).
TrainingArguments five_of_ten_steps(const TinyRun& run) {
  TrainingArguments a = run.arguments();
  a.learning_rate = 1e-3;
  a.weight_decay = 0.01;
  a.warmup_steps = 2;
  a.max_steps = 10;
  a.per_device_train_batch_size = 1;
  a.bf16 = false;
  return a;
}

// Without padding the reference's softmax over positions is that of the rows there are.
bool reads_padding(const Model& model, const data::RaggedBatch& batch) {
  if (!model.state().head->predicts_spans) return false;
  for (int32_t s = 0; s < batch.size(); ++s)
    if (batch.cu_seqlens[static_cast<size_t>(s) + 1] - batch.cu_seqlens[static_cast<size_t>(s)] !=
        batch.max_len)
      return true;
  return false;
}

class FiveSteps : public testing::TestWithParam<std::string> {};

TEST_P(FiveSteps, OfTheTrainerAreTheReferences) {
  const fs::path folder = fixture_folder(GetParam());
  if (!fs::exists(folder / "after5.safetensors")) return;  // an evaluation fixture
  const TempDir dir;
  copy_with_config(folder, dir.path(), [](Json& config) {
    for (const std::string& key : models::dropout_keys()) config[key] = 0.0;
    config["summary_last_dropout"] = 0.0;  // of ELECTRA's multiple choice
  });
  const Model model = test::load_model(dir.path());
  const data::RaggedBatch batch = fixture_batch(folder, model);
  if (reads_padding(model, batch)) return;
  const TinyRun run;
  const TrainingArguments a = five_of_ten_steps(run);
  // A Trainer of any task; then the fixture takes the place of its model and data.
  Trainer trainer(run.model("sequence-classification", {"blue", "green", "red"}), a,
                  {Dataset::from_file(run.single_csv("train.csv", 8, 1)), {}, run.tokenizer()});
  Trainer::Parts& parts = trainer.parts();
  parts.model = model;
  parts.features.task = test::make_task(model);
  parts.features.train = std::make_unique<FixtureFeatures>(batch);
  choose_parameters(parts.model, a);
  std::vector<double> losses;
  trainer.train({.on_step = [&](const TrainProgress& p) { losses.push_back(p.loss); },
                 .should_stop = [&] { return losses.size() == 5; }});

  const Json meta = read_json(folder / "meta.json");
  ASSERT_EQ(losses.size(), 5u);
  double rates = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double expected = meta.at("steps")[i].at("loss").get<double>();
    EXPECT_NEAR(losses[i], expected, 2e-5 * std::max(1.0, expected)) << "step " << i;
    rates += meta.at("steps")[i].at("lr").get<double>();
  }
  const hub::StateDict after = hub::read_safetensors(folder / "after5.safetensors");
  const models::State& state = model.state();
  for (const engine::Parameter& p : state.parameters.parameters()) {
    const hub::TensorView* t = after.find(p.name);
    if (!t) continue;
    std::vector<float> expected(static_cast<size_t>(p.size));
    models::load_values(*t, p, expected.data());
    const double limit = meta.at("after5_unstable").contains(p.name) ? 2 * rates + 5e-5 : 3e-5;
    const engine::HostRead got = state.parameters.read_value(p);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst =
          std::max(worst, std::fabs(static_cast<double>(got.data()[i]) - static_cast<double>(expected[i])));
    EXPECT_LE(worst, limit) << p.name;
  }
}

std::string five_steps_label(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '/' || c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FiveSteps, testing::ValuesIn(fixture_names()), five_steps_label);

}  // namespace
}  // namespace graft::train
