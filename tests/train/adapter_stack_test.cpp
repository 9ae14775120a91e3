// Task adapters stacked on a frozen language adapter (models/language_adapter.h): training, the folder,
// another language at test time, refusals. tests/interop/check_adapters.py compares with the library's Stack.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/folder.h"
#include "graft/adapter.h"
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

class AdapterStack : public AdapterBase {
 protected:
  AdapterStack() {
    for (const auto& [name, seed] : {std::pair{"en", 1U}, {"de", 2U}}) language(name, seed);
  }
  // A language adapter of `base` in the folder `name`.
  void language(const std::string& name, uint64_t seed, const std::string& peft_type = "seq_bn_inv",
                const std::string& on = "base") const {
    ModelOptions options;
    options.task = "masked-lm";
    TrainingArguments a = arguments_of(peft_type, name);
    a.reduction_factor = 4;
    a.max_steps = 4;
    a.seed = seed;
    TaskData data;
    data.train_files = {run_.text(name + ".txt", 60, seed)};
    data.tokenizer = run_.tokenizer();
    Trainer(Model::from_pretrained(run_ / on, options), a, std::move(data)).train();
  }
  Model over(const std::string& language, const std::string& folder = "base") const {
    ModelOptions options;
    if (folder == "base") options.labels = colours();
    if (!language.empty()) options.load_lang_adapter = run_ / language;
    return Model::from_pretrained(run_ / folder, options);
  }
  TrainingArguments arguments(const std::string& peft_type = "seq_bn", const std::string& out = "out") const {
    TrainingArguments a = arguments_of(peft_type, out);
    if (!peft_type.empty() && peft_type != "lora") a.reduction_factor = 4;
    return a;
  }
  // A task adapter above "en" in run_/out.
  Model trained(TrainingArguments a) const {
    a.max_steps = 4;
    const Model model = over("en");
    Trainer(model, a, data(40)).train();
    return model;
  }
  std::string refused(const TrainingArguments& a) const {
    return error_of([&] { Trainer(over("en"), a, data(10)); });
  }
  void edit_config(const std::string& folder, const std::function<void(Json&)>& edit) const {
    Json config = read_json(run_ / folder / "adapter_config.json");
    edit(config);
    write_json(run_ / folder / "adapter_config.json", config);
  }
};

TEST_F(AdapterStack, TrainsTheTaskAdapterAloneAndSavesItAlone) {
  for (const char* name : {"seq_bn", "double_seq_bn"}) {
    const Model before = over("en"), model = trained(arguments(name));
    int64_t frozen = 0;
    for (const Parameter& p : model.state().parameters.parameters()) {
      const Parameter* old = before.state().parameters.find(p.name);
      EXPECT_EQ(p.of_adapter, old == nullptr) << p.name;
      frozen += p.frozen_adapter ? 1 : 0;
      if (!old) continue;
      const engine::HostRead x = model.state().parameters.read_value(p),
                             y = before.state().parameters.read_value(*old);
      EXPECT_EQ(std::equal(x.begin(), x.end(), y.begin()), !p.name.starts_with("classifier.")) << p.name;
    }
    EXPECT_EQ(frozen, 8 + 2 * 4);
    EXPECT_EQ(models::count_bottlenecks(model.state()), name[0] == 's' ? 2 : 4);
    const hub::StateDict file = hub::read_safetensors(run_ / "out/adapter.safetensors");
    EXPECT_EQ(file.tensors().size(), name[0] == 's' ? 8U : 16U);
    EXPECT_EQ(file.find("bert.invertible_adapters.default.F.0.weight"), nullptr);
    EXPECT_EQ(read_json(run_ / "out/adapter_config.json").at("load_lang_adapter"),
              Json(fs::weakly_canonical(run_ / "en").string()));
    const Model again = over("", "out");
    EXPECT_TRUE(again.load_report().missing.empty());
    EXPECT_TRUE(same_bits(logits_of(again, batch(again)), logits_of(model, batch(model)))) << name;
    fs::remove_all(run_ / "out");
  }
}

TEST_F(AdapterStack, HasTheGradientOfItsLoss) {
  for (const char* name : {"seq_bn", "double_seq_bn"}) {
    TrainingArguments a = arguments(name);
    a.non_linearity = "gelu";
    const Model model = over("en");
    Trainer(model, a, data(10));
    expect_gradient(model, name);
  }
}

// Below zeros the task adapter computes what it computes alone, and above them the language adapter does.
TEST_F(AdapterStack, WithZerosComputesWhatTheOtherDoes) {
  const Model stack = trained(arguments("double_seq_bn")), alone = base();
  Trainer(alone, arguments("double_seq_bn"), data(10));
  const auto each = [](const Model& model, const auto& use) {
    for (Parameter& p : model.state().parameters.parameters()) use(p);
    model.state().parameters.touch_values();
  };
  each(alone, [&](Parameter& p) {
    const engine::HostRead from = stack.state().parameters.read_value(*stack.state().parameters.find(p.name));
    const engine::HostWrite to = alone.state().parameters.write_value(p);
    std::copy(from.begin(), from.end(), to.data());
  });
  EXPECT_FALSE(same_bits(logits_of(stack, batch(stack)), logits_of(alone, batch(alone))));
  const auto clear = [&](bool language) {
    each(stack, [&](Parameter& p) {
      if (!(language ? p.frozen_adapter : p.of_adapter)) return;
      const engine::HostWrite values = stack.state().parameters.write_value(p);
      std::fill_n(values.data(), p.size, 0.0F);
    });
  };
  clear(true);
  EXPECT_TRUE(same_bits(logits_of(stack, batch(stack)), logits_of(alone, batch(alone))));
  const Model again = over("", "out"), language = over("en");
  const std::vector<float> before = logits_of(again, batch(again));
  for (Parameter& p : again.state().parameters.parameters()) {
    const Parameter* other = language.state().parameters.find(p.name);
    const engine::HostWrite to = again.state().parameters.write_value(p);
    if (!other)
      std::fill_n(to.data(), p.size, 0.0F);
    else
      std::copy_n(language.state().parameters.read_value(*other).data(), p.size, to.data());
  }
  again.state().parameters.touch_values();
  EXPECT_FALSE(same_bits(logits_of(again, batch(again)), before));
  EXPECT_LT(largest_difference(logits_of(again, batch(again)), logits_of(language, batch(language))), 1e-6);
}

TEST_F(AdapterStack, ReadsAnotherLanguageAtTestTime) {
  trained(arguments());
  const Model en = over("", "out"), same = over("en", "out"), de = over("de", "out");
  EXPECT_TRUE(same_bits(logits_of(en, batch(en)), logits_of(same, batch(en))));
  EXPECT_GT(largest_difference(logits_of(en, batch(en)), logits_of(de, batch(en))), 1e-4);
  PipelineOptions options;
  options.load_lang_adapter = run_ / "de";
  const double alone = Pipeline(run_ / "out")("a red word").score;
  const double with_de = Pipeline(run_ / "out", options)("a red word").score;
  EXPECT_NE(alone, with_de);
  // Over a base in memory.
  const Pipeline over_base(run_ / "base", {{"task", run_ / "out"}});
  EXPECT_EQ(over_base("a red word").score, alone);
  const Pipeline over_base_de(run_ / "base", {{"task", run_ / "out"}}, options);
  EXPECT_EQ(over_base_de("a red word").score, with_de);
}

TEST_F(AdapterStack, OfARunThatIsResumedHasTheBitsOfOneRun) {
  same_files_when_resumed(arguments(),
                          {"adapter.safetensors", "model_head.safetensors", "adapter_config.json"},
                          [&] { return over("en"); });
  // Another language below is another run.
  TrainingArguments a = arguments();
  a.max_steps = 6;
  a.save_strategy = "steps";
  a.save_steps = 1000;
  Trainer(over("en"), a, data(40)).train(stop_after(2));
  a.resume_from_checkpoint = "true";
  EXPECT_THAT(error_of([&] { Trainer(over("de"), a, data(40)).train(); }),
              HasSubstr("the run trained adapters above another language adapter"));
}

TEST_F(AdapterStack, IsTrainedFurtherAboveItsLanguage) {
  trained(arguments());
  TrainingArguments a = arguments("", "further");
  a.max_steps = 2;
  Trainer(over("", "out"), a, data(20)).train();
  const Json config = read_json(run_ / "further/adapter_config.json");
  EXPECT_EQ(config.at("load_lang_adapter"), Json(fs::weakly_canonical(run_ / "en").string()));
  EXPECT_EQ(config.at("model_name"), Json(fs::weakly_canonical(run_ / "base").string()));
}

TEST_F(AdapterStack, FindsALanguageThatWasMovedWithIt) {
  trained(arguments());
  fs::create_directory(run_ / "moved");
  for (const char* name : {"out", "en"}) fs::rename(run_ / name, run_ / "moved" / name);
  EXPECT_TRUE(over("", "moved/out").state().language);
  fs::remove_all(run_ / "moved/en");
  EXPECT_THAT(
      error_of([&] { over("", "moved/out"); }),
      AllOf(HasSubstr("was trained above the language adapter in"), HasSubstr("--load_lang_adapter")));
  EXPECT_TRUE(over("de", "moved/out").state().language);
}

TEST_F(AdapterStack, AboveALanguageThatHasChangedIsRefused) {
  trained(arguments());
  fs::remove_all(run_ / "en");
  fs::rename(run_ / "de", run_ / "en");
  EXPECT_THAT(error_of([&] { over("", "out"); }),
              HasSubstr("was trained above another language adapter than"));
  EXPECT_TRUE(over("en", "out").state().language);
}

TEST_F(AdapterStack, OnWhatIsNoLanguageAdapterOfTheBaseIsRefused) {
  const auto on = [&](const std::string& folder) { return error_of([&] { over(folder); }); };
  EXPECT_THAT(on("base"), AllOf(HasSubstr("is no folder of a language adapter: it holds a whole model"),
                                HasSubstr("--peft_type seq_bn_inv")));
  AdapterBase::trained(arguments("seq_bn", "task"));
  EXPECT_THAT(on("task"), HasSubstr("is a task adapter (it has a sequence-classification head)"));
  trained(arguments());
  EXPECT_THAT(on("out"), HasSubstr("is a task adapter"));
  AdapterBase::trained(arguments("lora", "lora"));
  EXPECT_THAT(on("lora"), HasSubstr("holds adapters of peft"));
  language("parallel", 3, "par_bn");
  EXPECT_THAT(on("parallel"), HasSubstr("is a parallel adapter, whose output no adapter above it reads"));
  save_base("other", 43);
  language("xx", 4, "seq_bn_inv", "other");
  EXPECT_THAT(on("xx"), HasSubstr("was trained on other weights than those of"));
  save_base("distil", 42, "distilbert");
  language("dd", 5, "seq_bn_inv", "distil");
  EXPECT_THAT(on("dd"),
              AllOf(HasSubstr("made for a model of model_type \"distilbert\""), HasSubstr("is \"bert\"")));
  edit_config("de", [](Json& config) { config["hidden_size"] = 48; });
  EXPECT_THAT(on("de"), AllOf(HasSubstr("made for a hidden size of 48"), HasSubstr("is 32")));
  edit_config("de", [](Json& config) { config["hidden_size"] = 32; });
  OwnedTensors file(run_ / "de/adapter.safetensors");
  std::erase_if(file.tensors, [](const auto& t) { return t.name.ends_with("G.2.bias"); });
  hub::write_safetensors(run_ / "de/adapter.safetensors", file.tensors);
  EXPECT_THAT(on("de"), HasSubstr("G.2.bias is missing"));
  EXPECT_THAT(error_of([&] { over("de", "lora"); }), HasSubstr("its adapters are no bottlenecks"));
  EXPECT_THAT(error_of([&] { over("en", "task"); }), HasSubstr("was trained without a language adapter"));
  EXPECT_THAT(error_of([&] { over("en", "xx"); }), HasSubstr("is a language adapter itself"));
}

TEST_F(AdapterStack, OfAnotherMethodIsRefused) {
  EXPECT_THAT(refused(arguments("")),
              AllOf(HasSubstr("--load_lang_adapter needs --peft_type"), HasSubstr("seq_bn")));
  EXPECT_THAT(refused(arguments("lora")),
              HasSubstr("a task adapter above a language adapter is a bottleneck"));
  EXPECT_THAT(refused(arguments("par_bn")), HasSubstr("does not read the language adapter's output"));
  EXPECT_THAT(refused(arguments("seq_bn_inv")),
              HasSubstr("the invertible adapter is that of the language adapter"));
  const Model model = over("en");
  EXPECT_THAT(error_of([&] { model.save_pretrained(run_ / "whole"); }),
              AllOf(HasSubstr("with a language adapter cannot be saved"), HasSubstr("--peft_type seq_bn")));
  EXPECT_THAT(error_of([&] { model.with_task({}); }), HasSubstr("with a language adapter cannot be"));
  ModelOptions options;
  options.load_lang_adapter = run_ / "en";
  EXPECT_THAT(error_of([&] { Model::from_config(run_ / "base/config.json", options); }),
              HasSubstr("belongs to a base model"));
}

}  // namespace
}  // namespace graft::train
