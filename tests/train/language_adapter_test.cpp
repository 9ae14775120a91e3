// Language adapters (seq_bn_inv, double_seq_bn_inv): gradients through the invertible adapter and its
// inverse, the folder of AdapterHub's library, resuming, families. tests/interop/check_adapters.py compares
// with the library.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/folder.h"
#include "graft/pipeline.h"
#include "models/bottleneck.h"
#include "train/adapter_base.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using engine::Parameter;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class LanguageAdapters : public AdapterBase {
 protected:
  LanguageAdapters() { save_masked_lm("bert"); }
  void save_masked_lm(const std::string& type) const {
    run_.model("masked-lm", {}, 0.1, type, 42).save_pretrained(run_ / type);
    run_.tokenizer()->save(run_ / type);
  }
  Model masked_lm(const std::string& folder = "bert") const {
    ModelOptions options;
    options.task = "masked-lm";
    return Model::from_pretrained(run_ / folder, options);
  }
  TrainingArguments arguments(const std::string& peft_type = "seq_bn_inv",
                              const std::string& out = "out") const {
    TrainingArguments a = arguments_of(peft_type, out);
    a.reduction_factor = 4;
    return a;
  }
  TaskData text() const {
    TaskData data;
    data.train_files = {run_.text("text.txt", 60, 3)};
    data.tokenizer = run_.tokenizer();
    return data;
  }
  Model trained(TrainingArguments a) const {
    a.max_steps = 4;
    const Model model = masked_lm();
    Trainer(model, a, text()).train();
    return model;
  }
  std::string refused(const TrainingArguments& a) const {
    return error_of([&] { Trainer(masked_lm(), a, text()); });
  }
  // The error of loading run_/out with a changed adapter_config.json.
  std::string edited(const std::function<void(Json&)>& edit) const {
    const Json whole = read_json(run_ / "out/adapter_config.json");
    Json config = whole;
    edit(config);
    write_json(run_ / "out/adapter_config.json", config);
    const std::string error = error_of([&] { masked_lm("out"); });
    write_json(run_ / "out/adapter_config.json", whole);
    return error;
  }
};

TEST_F(LanguageAdapters, HaveTheGradientOfTheirLoss) {
  for (const char* name : {"seq_bn_inv", "double_seq_bn_inv"}) {
    TrainingArguments a = arguments(name);
    a.non_linearity = "gelu";  // without the kink of relu
    const Model model = masked_lm(), classifier = base();
    Trainer(model, a, text());
    ASSERT_NE(model.state().network.invertible, nullptr);
    expect_gradient(model, name);
    Trainer(classifier, a, data(10));  // a head without an inverse
    expect_gradient(classifier, std::string(name) + " of a classifier");
  }
}

// With the last layers at zero they compute what the base does, to the bit.
TEST_F(LanguageAdapters, ThatAreZeroChangeNothing) {
  for (const char* type : {"bert", "roberta", "distilbert", "xlm-roberta", "electra"}) {
    save_masked_lm(type);
    const Model before = masked_lm(type), model = masked_lm(type);
    Trainer(model, arguments("pfeiffer+inv"), text());
    const data::RaggedBatch rows = batch(model);
    EXPECT_FALSE(same_bits(logits_of(model, rows), logits_of(before, rows))) << type;
    engine::ParameterStore& store = model.state().parameters;
    for (const Parameter& p : store.parameters()) {
      const bool up = p.name.find("adapter_up") != std::string::npos ||
                      p.name.find(".F.2.") != std::string::npos || p.name.find(".G.2.") != std::string::npos;
      if (!p.of_adapter || !up) continue;
      const engine::HostWrite values = store.write_value(p);
      std::fill_n(values.data(), p.size, 0.0F);
    }
    store.touch_values();
    for (const bool bf16 : {false, true}) {
      before.state().bf16 = model.state().bf16 = bf16;
      EXPECT_TRUE(same_bits(logits_of(model, rows), logits_of(before, rows))) << type;
    }
  }
}

TEST_F(LanguageAdapters, AreTrainedAloneAndSavedUnderTheNamesOfTheLibrary) {
  const Model before = masked_lm(), model = trained(arguments());
  for (const Parameter& p : model.state().parameters.parameters()) {
    const Parameter* old = before.state().parameters.find(p.name);
    EXPECT_EQ(p.of_adapter, old == nullptr) << p.name;
    EXPECT_EQ(p.trainable, p.of_adapter) << p.name;
    if (!old) continue;
    const engine::HostRead x = model.state().parameters.read_value(p),
                           y = before.state().parameters.read_value(*old);
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin())) << p.name;
  }
  EXPECT_FALSE(fs::exists(run_ / "out/model.safetensors"));
  EXPECT_FALSE(fs::exists(run_ / "out/head_config.json"));
  const Json config = read_json(run_ / "out/adapter_config.json").at("config");
  EXPECT_EQ(config.at("inv_adapter"), Json("nice"));
  EXPECT_EQ(config.at("inv_adapter_reduction_factor"), Json(2));
  const hub::StateDict file = hub::read_safetensors(run_ / "out/adapter.safetensors");
  EXPECT_EQ(file.tensors().size(), 8U + 2 * 4);
  const auto shape = [&](const std::string& part) {
    const hub::TensorView* t = file.find("bert.invertible_adapters.default." + part);
    return t ? t->shape : std::vector<int64_t>();
  };
  EXPECT_EQ(shape("F.0.weight"), (std::vector<int64_t>{8, 16}));
  EXPECT_EQ(shape("F.2.bias"), (std::vector<int64_t>{16}));
  EXPECT_EQ(shape("G.2.weight"), (std::vector<int64_t>{16, 8}));
  const Model again = masked_lm("out");
  EXPECT_TRUE(again.load_report().missing.empty());
  EXPECT_TRUE(same_bits(logits_of(again, batch(again)), logits_of(model, batch(model))));
  EXPECT_EQ(FillMaskPipeline(run_ / "out").predict({"a red [MASK]"}, 3)[0][0].size(), 3U);
}

TEST_F(LanguageAdapters, LearnTheText) {
  TrainingArguments a = arguments("double_seq_bn_inv");
  a.num_train_epochs = 40;
  a.learning_rate = 1e-2;
  TaskData data = text();
  data.eval_files = {run_.text("eval.txt", 30, 4)};
  const Model model = masked_lm();
  Trainer trainer(model, a, data);
  const double before = value_of(trainer.evaluate(), "eval_loss");
  EXPECT_LT(value_of(trainer.train().metrics, "eval_loss"), before - 0.05);
}

TEST_F(LanguageAdapters, OfARunThatIsResumedHaveTheBitsOfOneRun) {
  TrainingArguments a = arguments();
  a.save_strategy = "steps";
  a.save_steps = 1000;
  a.max_steps = 6;
  a.output_dir = (run_ / "whole").string();
  Trainer(masked_lm(), a, text()).train();
  a.output_dir = (run_ / "parts").string();
  Trainer(masked_lm(), a, text()).train(stop_after(2));
  a.resume_from_checkpoint = "true";
  Trainer(masked_lm(), a, text()).train();
  for (const char* file : {"adapter.safetensors", "adapter_config.json"})
    EXPECT_EQ(read_file(run_ / "whole" / file), read_file(run_ / "parts" / file)) << file;
}

TEST_F(LanguageAdapters, DependOnNoBatchAndNoCheckpointing) {
  std::vector<std::vector<float>> results;
  for (const bool checkpoints : {false, true}) {
    TrainingArguments a = arguments();
    a.gradient_checkpointing = checkpoints;
    results.push_back(all_values(trained(a)));
    fs::remove_all(run_ / "out");
  }
  EXPECT_TRUE(same_bits(results[0], results[1]));
  same_in_all_ways(arguments("double_seq_bn_inv"));
}

// The forms of earlier releases: a nested object, other names of modules.
TEST_F(LanguageAdapters, OfOlderReleasesAreLoaded) {
  const Model model = trained(arguments());
  const std::vector<float> logits = logits_of(model, batch(model));
  Json config = read_json(run_ / "out/adapter_config.json");
  config["config"].erase("inv_adapter");
  config["config"].erase("inv_adapter_reduction_factor");
  config["config"]["invertible_adapter"] = {
      {"block_type", "nice"}, {"non_linearity", "relu"}, {"reduction_factor", 2}};
  config.erase("version");
  config["type"] = "text_lang";
  write_json(run_ / "out/adapter_config.json", config);
  OwnedTensors file(run_ / "out/adapter.safetensors");
  for (hub::TensorToWrite& t : file.tensors)
    if (const size_t at = t.name.find("invertible_adapters"); at != std::string::npos)
      t.name.replace(at, 19, "invertible_lang_adapters");
  hub::write_safetensors(run_ / "out/adapter.safetensors", file.tensors);
  EXPECT_TRUE(same_bits(logits_of(masked_lm("out"), batch(model)), logits));
  // A task adapter of such a release states one and has none.
  std::erase_if(file.tensors, [](const auto& t) { return t.name.find("invertible") != std::string::npos; });
  hub::write_safetensors(run_ / "out/adapter.safetensors", file.tensors);
  EXPECT_EQ(masked_lm("out").state().network.invertible, nullptr);
}

TEST_F(LanguageAdapters, ThatAreDamagedAreRefused) {
  trained(arguments());
  const auto with = [&](const char* key, const Json& value) {
    return edited([&](Json& config) { config["config"][key] = value; });
  };
  EXPECT_THAT(with("inv_adapter", "glow"),
              HasSubstr("\"inv_adapter\" is \"glow\", which graft does not implement"));
  EXPECT_THAT(with("inv_adapter", true), HasSubstr("\"inv_adapter\" is true; it must be a text"));
  EXPECT_THAT(with("inv_adapter", nullptr),
              AllOf(HasSubstr("invertible_adapters"), HasSubstr("has no place in bert")));
  EXPECT_THAT(with("inv_adapter_reduction_factor", 4), AllOf(HasSubstr("F.0."), HasSubstr("must be [4")));
  EXPECT_THAT(with("inv_adapter_reduction_factor", -1), HasSubstr("it must be above 0"));
  EXPECT_THAT(with("invertible_adapter", "nice"),
              HasSubstr("\"invertible_adapter\" is \"nice\"; it must be an object"));
  OwnedTensors file(run_ / "out/adapter.safetensors");
  std::erase_if(file.tensors, [](const auto& t) { return t.name.ends_with("G.2.bias"); });
  hub::write_safetensors(run_ / "out/adapter.safetensors", file.tensors);
  EXPECT_THAT(error_of([&] { masked_lm("out"); }),
              AllOf(HasSubstr("bert.invertible_adapters.default.G.2.bias is missing")));
}

TEST_F(LanguageAdapters, WithOptionsThatDoNotFitAreRefused) {
  TrainingArguments a = arguments("seq_bn");
  a.inv_adapter_reduction_factor = 4;
  EXPECT_THAT(refused(a),
              HasSubstr("--inv_adapter_reduction_factor is for --peft_type seq_bn_inv, not for seq_bn"));
  a = arguments();
  a.inv_adapter_reduction_factor = 17;
  EXPECT_THAT(refused(a), AllOf(HasSubstr("leaves no column of a half of 16"), HasSubstr("at most 16")));
  a = arguments("par_bn_inv");
  EXPECT_THAT(refused(a), HasSubstr("--peft_type par_bn_inv is not implemented"));
}

}  // namespace
}  // namespace graft::train
