// Several adapters over one base in memory (Pipeline::load_adapter): each has the results of its folder
// alone, to the bit, and the weights of the base are there once.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "base/file.h"
#include "base/folder.h"
#include "graft/adapter.h"
#include "graft/pipeline.h"
#include "models/adapter_folder.h"
#include "train/adapter_base.h"
#include "train/trained_model.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

class AdaptersPipeline : public AdapterBase {
 protected:
  // Adapters of a folder of a base, with labels of their own.
  fs::path adapter(const std::string& out, const std::string& peft_type,
                   const std::vector<std::string>& labels, const std::string& base_folder = "base",
                   bool dora = false) const {
    std::string rows = "text,label\n";
    for (int i = 0; i < 24; ++i)
      rows += (i % 2 == 0 ? "a red word," : "ba be blue bi,") +
              labels[static_cast<size_t>(i) % labels.size()] + "\n";
    ModelOptions options;
    options.labels = labels;
    options.ignore_mismatched_sizes = true;
    TrainingArguments a = arguments_of(peft_type, out);
    a.use_dora = dora;
    a.max_steps = 4;
    Trainer(Model::from_pretrained(run_ / base_folder, options), a,
            TaskData{Dataset::from_file(run_.dir().write(out + ".csv", rows)), {}, run_.tokenizer()})
        .train();
    return run_ / out;
  }
  // Every score, with its label before it.
  static std::vector<std::string> scores(const std::vector<Prediction>& predictions) {
    std::vector<std::string> out;
    for (const Prediction& p : predictions) {
      out.push_back(p.label);
      for (const LabelScore& s : p.scores) out.push_back(fmt::format("{} {:a}", s.label, s.score));
    }
    return out;
  }
  const std::vector<std::string> texts_ = {"a red word", "ba be blue bi", "bo green", "be bi bo bu red ba"};
};

TEST_F(AdaptersPipeline, HaveTheResultsOfEachFolderAloneToTheBit) {
  const std::vector<NamedAdapter> adapters = {
      {"lora", adapter("lora", "lora", {"no", "yes"})},
      {"dora", adapter("dora", "lora", {"a", "b", "c", "d"}, "base", true)},
      {"ia3", adapter("ia3", "ia3", colours())},
      {"bottleneck", adapter("bottleneck", "double_seq_bn", {"x", "y"})}};
  for (const char* mode : {"fp32", "packed", "bf16"}) {
    PipelineOptions options;
    options.bf16 = mode == std::string("bf16");
    const auto pack = [&](const Pipeline& pipeline) {
      pipeline.model().state().packed_fp32 = mode == std::string("packed");
    };
    Pipeline together(run_ / "base", adapters, options);
    EXPECT_EQ(together.labels(), (std::vector<std::string>{"no", "yes"}));  // the first is active
    for (const NamedAdapter& a : adapters) {
      const Pipeline alone(a.folder, options);
      pack(alone);
      const std::vector<std::string> expected = scores(alone.predict(texts_));
      together.set_adapter(a.name);
      pack(together);
      EXPECT_EQ(together.labels(), alone.labels()) << a.name << mode;
      EXPECT_EQ(scores(together.predict(texts_)), expected) << a.name << mode;
      EXPECT_EQ(scores(together.predict(texts_, texts_, a.name)), scores(alone.predict(texts_, texts_)));
      together.set_adapter("ia3");
      EXPECT_EQ(scores(together.predict(texts_, {}, a.name)), expected) << a.name << mode;
    }
    const Pipeline base(run_ / "base", options);
    together.disable_adapters();
    EXPECT_EQ(scores(together.predict(texts_)), scores(base.predict(texts_))) << mode;
  }
}

TEST_F(AdaptersPipeline, AreLoadedOverAModelThatIsInUse) {
  Pipeline pipeline(run_ / "base");
  const std::vector<std::string> own = scores(pipeline.predict(texts_));
  pipeline.load_adapter(adapter("lora", "lora", {"no", "yes"}), "lora");
  EXPECT_EQ(scores(pipeline.predict(texts_)), own);
  pipeline.set_adapter("lora");
  EXPECT_EQ(scores(pipeline.predict(texts_)), scores(Pipeline(run_ / "lora").predict(texts_)));
}

TEST_F(AdaptersPipeline, AnswerManyThreadsByName) {
  const Pipeline pipeline(
      run_ / "base", {{"a", adapter("a", "lora", {"no", "yes"})}, {"b", adapter("b", "ia3", colours())}});
  const auto a = scores(pipeline.predict(texts_, {}, "a")), b = scores(pipeline.predict(texts_, {}, "b"));
  std::vector<std::thread> threads;
  std::atomic<int> same = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 8; ++k)
        same += scores(pipeline.predict(texts_, {}, i % 2 ? "a" : "b")) == (i % 2 ? a : b);
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(same, 32);
}

// Each needs another amount of it.
TEST_F(AdaptersPipeline, TakeTurnsInOneMemory) {
  const std::vector<NamedAdapter> adapters = {
      {"ia3", adapter("ia3", "ia3", colours())},
      {"bottleneck", adapter("bottleneck", "double_seq_bn", {"x", "y"})},
      {"lora", adapter("lora", "lora", {"no", "yes"})}};
  const Pipeline together(run_ / "base", adapters);
  for (const size_t n : {1, 4, 32, 2}) {
    std::vector<std::string> texts;
    for (size_t i = 0; i < n; ++i) texts.push_back(texts_[i % texts_.size()] + (i % 3 ? " be bi" : ""));
    for (const NamedAdapter& a : adapters)
      EXPECT_EQ(scores(together.predict(texts, {}, a.name)), scores(Pipeline(a.folder).predict(texts)))
          << a.name << n;
  }
}

TEST_F(AdaptersPipeline, ShareTheWeightsOfTheBase) {
  Pipeline pipeline(run_ / "base", {{"lora", adapter("lora", "lora", {"no", "yes"})},
                                    {"bottleneck", adapter("bottleneck", "seq_bn", colours())}});
  const auto values = [&](const std::string& name) {
    const models::State& state = pipeline.model().state();
    return state.parameters.value(*state.parameters.find(name));
  };
  const std::vector<std::string> shared = {"bert.embeddings.word_embeddings.weight",
                                           "bert.encoder.layer.1.attention.self.key.weight",
                                           "bert.encoder.layer.0.output.LayerNorm.bias"};
  std::vector<const float*> of_base, of_head;
  pipeline.disable_adapters();
  for (const std::string& name : shared) of_base.push_back(values(name));
  of_head.push_back(values("classifier.weight"));
  for (const char* name : {"lora", "bottleneck"}) {
    pipeline.set_adapter(name);
    for (size_t i = 0; i < shared.size(); ++i) EXPECT_EQ(values(shared[i]), of_base[i]) << name;
    of_head.push_back(values("classifier.weight"));
    const engine::ParameterStore& store = pipeline.model().state().parameters;
    EXPECT_LT(store.value_size(), store.num_parameters() / 4) << name;
    Model model = pipeline.model();
    if (name == std::string("lora")) {
      EXPECT_THAT(error_of([&] { merge_adapter(model); }), HasSubstr("several models share these weights"));
    }
    EXPECT_THAT(error_of([&] { model.state().parameters.allocate_grads(); }), HasSubstr("cannot be trained"));
  }
  EXPECT_NE(of_head[1], of_head[0]);
  EXPECT_NE(of_head[2], of_head[1]);
}

// The pooler and the head are then those of each adapter.
TEST_F(AdaptersPipeline, GiveABaseWithoutAHeadTheirs) {
  run_.model("masked-lm", {}, 0.1).save_pretrained(run_ / "bare");
  run_.tokenizer()->save(run_ / "bare");
  Pipeline pipeline(run_ / "bare", {{"a", adapter("a", "lora", {"no", "yes"}, "bare")},
                                    {"b", adapter("b", "seq_bn", colours(), "bare")}});
  for (const char* name : {"a", "b"})
    EXPECT_EQ(scores(pipeline.predict(texts_, {}, name)), scores(Pipeline(run_ / name).predict(texts_)));
  EXPECT_THAT(error_of([&] { pipeline.disable_adapters(); }), HasSubstr("no trained head of its own"));
}

TEST_F(AdaptersPipeline, AreRecognisedByTheWeightsOfTheirBase) {
  const fs::path lora = adapter("lora", "lora", {"no", "yes"});
  const std::vector<std::string> expected = scores(Pipeline(lora).predict(texts_));
  fs::copy(run_ / "base", run_ / "moved");
  Json config = read_json(lora / "adapter_config.json");
  config["base_model_name_or_path"] = "/nowhere/first";
  write_json(lora / "adapter_config.json", config);
  EXPECT_EQ(scores(Pipeline(run_ / "moved", {{"lora", lora}}).predict(texts_)), expected);
  save_base("other", 43);
  EXPECT_THAT(error_of([&] {
                Pipeline(run_ / "other", {{"lora", lora}});
              }),
              AllOf(HasSubstr("was trained on other weights than those of " + (run_ / "other").string()),
                    HasSubstr("give the base model that it was trained on: /nowhere/first")));
  save_base("roberta", 42, "roberta");
  EXPECT_THAT(error_of([&] {
                Pipeline(run_ / "roberta", {{"lora", lora}});
              }),
              AllOf(HasSubstr("model_type \"bert\""), HasSubstr("is \"roberta\"")));
  // As peft writes it, the name is all there is.
  for (const char* file : {"config.json", "base_model.json", "vocab.txt", "tokenizer_config.json",
                           "tokenizer.json", "special_tokens_map.json", "training_args.json"})
    fs::remove(lora / file);
  const auto named = [&](const std::string& name) {
    config["base_model_name_or_path"] = name;
    write_json(lora / "adapter_config.json", config);
  };
  EXPECT_THAT(error_of([&] {
                Pipeline(run_ / "moved", {{"lora", lora}});
              }),
              HasSubstr("was made for the base model /nowhere/first, and not for"));
  for (const std::string& name : {(run_ / "moved").string(), std::string("/nowhere/moved"), std::string()}) {
    named(name);
    const Pipeline pipeline(run_ / "moved", {{"lora", lora}});
    EXPECT_EQ(pipeline.labels().size(), 2u) << name;
    EXPECT_EQ(pipeline.predict(texts_)[0].scores[0].score,
              Pipeline(run_ / "moved", {{"x", lora}}).predict(texts_)[0].scores[0].score);
  }
}

TEST_F(AdaptersPipeline, SayWhatDoesNotFit) {
  const fs::path lora = adapter("lora", "lora", {"no", "yes"}), base = run_ / "base";
  Pipeline pipeline(base, {{"lora", lora}});
  EXPECT_THAT(error_of([&] { pipeline.load_adapter(lora, "lora"); }),
              HasSubstr("an adapter named \"lora\" is loaded already"));
  EXPECT_THAT(error_of([&] { pipeline.load_adapter(lora, ""); }), HasSubstr("needs a name"));
  EXPECT_THAT(error_of([&] { pipeline.load_adapter(base, "base"); }), HasSubstr("is no folder of adapters"));
  EXPECT_THAT(error_of([&] { pipeline.load_adapter(run_ / "gone", "gone"); }),
              HasSubstr("is no folder of adapters"));
  for (const auto& ask : {std::function<void()>([&] { pipeline.set_adapter("ner"); }),
                          std::function<void()>([&] { pipeline.predict(texts_, {}, "ner"); })})
    EXPECT_THAT(error_of(ask),
                AllOf(HasSubstr("no adapter named \"ner\" is loaded"), HasSubstr("loaded: lora")));
  EXPECT_EQ(pipeline.labels().size(), 2u);  // a failed call changes nothing
  EXPECT_THAT(error_of([&] { Pipeline(base, std::vector<NamedAdapter>{}); }),
              HasSubstr("no adapter is named"));
  EXPECT_THAT(error_of([&] { Pipeline(lora, {{"a", lora}}); }), HasSubstr("and no base model"));
  EXPECT_THAT(error_of([&] { Pipeline(lora).load_adapter(lora, "a"); }),
              HasSubstr("adapters cannot be loaded over the adapters of"));
}

}  // namespace
}  // namespace graft::train
