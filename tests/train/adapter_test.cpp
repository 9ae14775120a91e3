// Training with adapters (models/adapter.h): only they and the head change, the folder holds them alone and
// gives the model back, a resumed run has the bits of one run, and merged weights compute the same.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/folder.h"
#include "base/threads.h"
#include "graft/adapter.h"
#include "graft/pipeline.h"
#include "models/adapter_folder.h"
#include "models/registry.h"
#include "models/weights.h"
#include "train/adapter_base.h"
#include "train/checkpoint.h"
#include "train/resume_run.h"
#include "train/verify_resume.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using engine::Parameter;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::map<std::string, std::vector<float>> values_by_name(const Model& model) {
  std::map<std::string, std::vector<float>> out;
  for (const Parameter& p : model.state().parameters.parameters()) {
    const engine::HostRead values = model.state().parameters.read_value(p);
    out[p.name].assign(values.begin(), values.end());
  }
  return out;
}

class Adapters : public AdapterBase {
 protected:
  TrainingArguments arguments(const std::string& out = "out") const { return arguments_of("lora", out); }
  TaskData data(int rows = 300) const { return AdapterBase::data(rows); }
  data::RaggedBatch batch() const { return AdapterBase::batch(base()); }
};

TEST_F(Adapters, TrainThemselvesAndTheHeadOnly) {
  const Model before = base();
  for (const bool bf16 : {false, true}) {
    TrainingArguments a = arguments();
    a.bf16 = bf16;
    a.num_train_epochs = 5;
    a.lora_r = 4;
    a.target_modules = "query,value,intermediate.dense";
    const Model model = base();
    before.state().bf16 = bf16;
    std::string log;
    TrainResult result;
    log = log_of_run([&] {
      Trainer trainer(model, a, data());
      EXPECT_EQ(logits_of(model, batch()), logits_of(before, batch()));  // b is zero
      result = trainer.train();
    });
    EXPECT_THAT(log, HasSubstr("lora: 1792 parameters in 6 modules (dense, query, value) and 99 of "
                               "classifier are trained: "));
    EXPECT_GT(value_of(result.metrics, "eval_accuracy"), 0.9) << bf16;
    const auto old = values_by_name(before);
    for (const auto& [name, values] : values_by_name(model)) {
      const auto it = old.find(name);
      if (it == old.end()) {
        EXPECT_THAT(name, HasSubstr(".lora_"));
        EXPECT_FALSE(std::all_of(values.begin(), values.end(), [](float v) { return v == 0; })) << name;
      } else {
        EXPECT_EQ(!same_bits(values, it->second), name.starts_with("classifier.")) << name;
      }
    }
  }
}

TEST_F(Adapters, AreSavedAloneAndGiveTheModelBack) {
  for (const char* method : {"lora", "dora", "ia3"}) {
    TrainingArguments a = arguments();
    a.peft_type = method == std::string("ia3") ? "ia3" : "lora";
    a.use_dora = method == std::string("dora");
    a.save_strategy = "steps";
    a.save_steps = 2;
    a.eval_strategy = "epoch";
    a.metric_for_best_model = "loss";
    const Model model = trained(a);
    const std::vector<float> logits = logits_of(model, batch());
    for (const char* sub : {"", "checkpoint-4"}) {
      const fs::path folder = run_ / "out" / sub;
      EXPECT_FALSE(fs::exists(folder / "model.safetensors")) << method;
      for (const char* file :
           {"adapter_config.json", "adapter_model.safetensors", "config.json", "vocab.txt"})
        EXPECT_TRUE(fs::exists(folder / file)) << folder << file;
      const Model again = Model::from_pretrained(folder);
      EXPECT_TRUE(again.load_report().missing.empty());
      EXPECT_EQ(logits_of(again, batch()), logits) << method << sub;
    }
    EXPECT_FALSE(fs::exists(run_ / "out/best/model.safetensors"));
    EXPECT_TRUE(fs::exists(run_ / "out/best/adapter_model.safetensors"));
    const Pipeline pipeline(run_ / "out");
    EXPECT_FALSE(pipeline("a red word").label.empty());
    fs::remove_all(run_ / "out");
  }
}

TEST_F(Adapters, OfARunThatIsResumedHaveTheBitsOfOneRun) {
  for (const char* method : {"lora", "dora", "ia3"}) {
    TrainingArguments a = arguments();
    a.peft_type = method == std::string("ia3") ? "ia3" : "lora";
    a.use_dora = method == std::string("dora");
    if (a.peft_type == "lora") a.lora_dropout = 0.2;
    same_files_when_resumed(a, {"adapter_model.safetensors", "adapter_config.json"});
  }
}

// Dropout of the adapters' inputs depends on the example alone: not on micro-batches, threads or
// checkpointing.
TEST_F(Adapters, HaveDropoutThatDependsOnTheExampleAlone) {
  TrainingArguments a = arguments();
  a.lora_dropout = 0.3;
  a.target_modules = "all-linear";
  const std::vector<float> with = same_in_all_ways(a);
  const int threads = num_threads();
  set_num_threads(1);
  EXPECT_TRUE(same_bits(same_in_all_ways(a), with));
  set_num_threads(threads);
  a.lora_dropout = 0;
  EXPECT_GT(largest_difference(with, same_in_all_ways(a)), 1e-4);
}

TEST_F(Adapters, MergedIntoTheWeightsComputeTheSame) {
  for (const char* method : {"lora", "rslora", "dora", "ia3"}) {
    TrainingArguments a = arguments();
    a.peft_type = method == std::string("ia3") ? "ia3" : "lora";
    a.use_dora = method == std::string("dora");
    a.use_rslora = method == std::string("rslora");
    const Model model = trained(a);
    const std::vector<float> applied = logits_of(model, batch());
    EXPECT_GT(largest_difference(applied, logits_of(base(), batch())), 1e-3) << method;
    Model merged = Model::from_pretrained(run_ / "out");
    const auto before = values_by_name(merged);
    merge_adapter(merged);
    EXPECT_LE(largest_difference(logits_of(merged, batch()), applied), 1e-5) << method;
    merged.save_pretrained(run_ / "merged");
    EXPECT_FALSE(fs::exists(run_ / "merged/adapter_config.json"));
    EXPECT_EQ(logits_of(Model::from_pretrained(run_ / "merged"), batch()), logits_of(merged, batch()));
    EXPECT_THAT(error_of([&] { merge_adapter(merged); }), HasSubstr("merged already"));
    unmerge_adapter(merged);
    for (const auto& [name, values] : values_by_name(merged))
      EXPECT_LE(largest_difference(values, before.at(name)), 1e-6) << method << name;
    EXPECT_LE(largest_difference(logits_of(merged, batch()), applied), 1e-5) << method;
    ModelOptions options;
    options.labels = {"a", "b", "c"};
    EXPECT_LE(largest_difference(logits_of(model.with_task(options), batch()), applied), 1e-5) << method;
    fs::remove_all(run_ / "out");
    fs::remove_all(run_ / "merged");
  }
}

// The base model of the folder is the original one: its adapter has twice the rank.
TEST_F(Adapters, OfSingularValuesStartAsTheModelAndAreSavedForItsBase) {
  TrainingArguments a = arguments();
  a.init_lora_weights = "pissa";
  a.lora_r = 4;
  const Model model = base();
  {
    const Trainer trainer(model, a, data(10));
    EXPECT_LE(largest_difference(logits_of(model, batch()), logits_of(base(), batch())), 1e-5);
    const Parameter& matrix = *model.state().adapter->matrices.front();
    EXPECT_GT(l2_norm(values_by_name(base()).at(matrix.name)),
              1.05 * l2_norm(values_by_name(model).at(matrix.name)));
  }
  a.max_steps = 6;
  a.save_strategy = "steps";
  a.save_steps = 1000;
  const Model trained = base();
  Trainer(trained, a, data(40)).train();
  const Json config = read_json(run_ / "out/adapter_config.json");
  EXPECT_EQ(config.at("r"), Json(8));
  EXPECT_EQ(config.at("lora_alpha"), Json(16));
  EXPECT_LE(largest_difference(logits_of(Model::from_pretrained(run_ / "out"), batch()),
                               logits_of(trained, batch())),
            1e-5);
  a.output_dir = (run_ / "parts").string();
  Trainer(base(), a, data(40)).train(stop_after(3));
  a.resume_from_checkpoint = "true";
  Trainer(base(), a, data(40)).train();
  EXPECT_EQ(read_file(run_ / "out/adapter_model.safetensors"),
            read_file(run_ / "parts/adapter_model.safetensors"));
}

TEST_F(Adapters, HaveTheScaleOfPeft) {
  TrainingArguments a = arguments();
  a.lora_r = 4;
  a.lora_alpha = 16;
  const auto scale = [&] {
    const Model model = base();
    const Trainer trainer(model, a, data(10));
    return model.state().adapter->matrices.front()->adapter.scale;
  };
  EXPECT_EQ(scale(), 4);
  a.use_rslora = true;
  EXPECT_EQ(scale(), 8);
}

TEST_F(Adapters, NeedNoGradientsAndMomentsOfTheFrozenWeights) {
  const Model model = base();
  const Trainer trainer(model, arguments(), data(10));
  // 4 modules of rank 8, and the head.
  EXPECT_EQ(model.state().parameters.grad_size(), 4 * 8 * 64 + 99);
}

TEST_F(Adapters, AreTrainedFurther) {
  trained(arguments());
  const Model model = Model::from_pretrained(run_ / "out");
  TrainingArguments a = arguments("further");
  a.peft_type = "";
  a.max_steps = 2;
  EXPECT_THAT(log_of_run([&] { Trainer(model, a, data(20)).train(); }),
              HasSubstr("its adapters are trained further"));
  const Json config = read_json(run_ / "further/adapter_config.json");
  EXPECT_EQ(config.at("base_model_name_or_path"), Json(fs::weakly_canonical(run_ / "base").string()));
  a.peft_type = "lora";
  a.lora_r = 2;
  EXPECT_THAT(error_of([&] { Trainer(model, a, data(20)); }),
              AllOf(HasSubstr("has other adapters already (lora, r 8"), HasSubstr("leave --peft_type out")));
}

TEST_F(Adapters, WithAHeadOfOtherLabelsGetANewOneOnRequest) {
  trained(arguments());
  ModelOptions options;
  options.labels = {"up", "down"};
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out", options); }),
              AllOf(HasSubstr("but the model needs [2"), HasSubstr("--ignore_mismatched_sizes true")));
  options.ignore_mismatched_sizes = true;
  const Model model = Model::from_pretrained(run_ / "out", options);
  EXPECT_EQ(model.load_report().missing, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
  EXPECT_TRUE(model.state().parameters.find("classifier.weight")->with_adapter);
}

TEST_F(Adapters, WithOptionsThatDoNotFitAreRefused) {
  TrainingArguments a = arguments();
  a.target_modules = "query,valeu";
  EXPECT_THAT(refused(a), AllOf(HasSubstr("no linear layer of this model is named \"valeu\""),
                                HasSubstr("did you mean value?"), HasSubstr("dense, key, query, value")));
  a = arguments();
  a.lora_r = 33;
  EXPECT_THAT(refused(a),
              AllOf(HasSubstr("--lora_r 33: bert.encoder.layer.0.attention.self.query is [32, 32]"),
                    HasSubstr("give a smaller --lora_r")));
  a = arguments();
  a.modules_to_save = "poolr";
  EXPECT_THAT(refused(a), HasSubstr("this model has no module \"poolr\""));
  a = arguments();
  a.layers_to_transform = "7";
  EXPECT_THAT(refused(a), HasSubstr("--layers_to_transform 7: no such layer"));
  a = arguments();
  a.reinit_layers = 1;
  EXPECT_THAT(refused(a), HasSubstr("--reinit_layers is refused"));
  a = arguments();
  a.peft_type = "lroa";
  EXPECT_THAT(refused(a),
              AllOf(HasSubstr("--peft_type lroa is not implemented"), HasSubstr("did you mean lora?")));
  a.peft_type = "";
  a.lora_r = 4;
  EXPECT_THAT(refused(a), HasSubstr("--lora_r is for --peft_type lora, which is not given"));
  a = arguments();
  a.peft_type = "ia3";
  a.use_dora = true;
  EXPECT_THAT(refused(a), HasSubstr("--use_dora is for --peft_type lora, not for ia3"));
  a = arguments();
  EXPECT_THAT(error_of([&] { Trainer(run_.model("sequence-classification", colours()), a, data(10)); }),
              HasSubstr("this one has random weights"));
}

TEST_F(Adapters, OfSomeLayersAndOfPatternsHaveTheirModulesByName) {
  TrainingArguments a = arguments();
  a.layers_to_transform = "1";
  trained(a);
  EXPECT_EQ(read_json(run_ / "out/adapter_config.json").at("target_modules").dump(),
            R"(["bert.encoder.layer.1.attention.self.query","bert.encoder.layer.1.attention.self.value"])");
  a = arguments("pattern");
  a.target_modules = "*layer.0.*dense";
  trained(a);
  EXPECT_EQ(read_json(run_ / "pattern/adapter_config.json").at("target_modules").size(), 3u);
}

// The hash reads a large parameter in blocks.
TEST_F(Adapters, OneChangedValueIsAnotherBase) {
  Json config = read_json(run_ / "base/config.json");
  config["vocab_size"] = 40000;  // times 32: more than a block of 2^20
  write_json(run_ / "large.json", config);
  const Model model = Model::from_config(run_ / "large.json");
  models::State& state = model.state();
  const Parameter& words = *state.parameters.find("bert.embeddings.word_embeddings.weight");
  ASSERT_GT(words.size, int64_t{1} << 20);
  const std::string whole = models::base_sha256(state);
  for (const int64_t i :
       {int64_t{0}, int64_t{5000}, (int64_t{1} << 20) - 1, int64_t{1} << 20, words.size - 1}) {
    float& value = state.parameters.write_value(words).data()[i];
    const float before = std::exchange(value, value + 1);
    EXPECT_NE(models::base_sha256(state), whole) << i;
    value = before;
  }
  EXPECT_EQ(models::base_sha256(state), whole);
}

TEST_F(Adapters, OfAnotherBaseAreRefused) {
  trained(arguments());
  const auto with_base = [&](const std::string& name) {
    Json config = read_json(run_ / "out/adapter_config.json");
    config["base_model_name_or_path"] = name;
    write_json(run_ / "out/adapter_config.json", config);
    return error_of([&] { Model::from_pretrained(run_ / "out"); });
  };
  save_base("other", 43);
  save_base("distil", 42, "distilbert");
  EXPECT_THAT(with_base((run_ / "other").string()), HasSubstr("was trained on other weights than those of"));
  EXPECT_THAT(with_base((run_ / "distil").string()), HasSubstr("model_type"));
  EXPECT_THAT(with_base((run_ / "gone").string()),
              AllOf(HasSubstr("there is no such folder"), HasSubstr("write its present place as")));
  EXPECT_THAT(with_base(""), HasSubstr("is empty"));
  EXPECT_THAT(with_base((run_ / "out").string()), HasSubstr("there is no such folder"));
  // Beside the adapter's folder, and relative to it.
  for (const char* name : {"../base", "base", "/nowhere/base"}) {
    Json config = read_json(run_ / "out/adapter_config.json");
    config["base_model_name_or_path"] = name;
    write_json(run_ / "out/adapter_config.json", config);
    EXPECT_EQ(Model::from_pretrained(run_ / "out").labels(), colours()) << name;
  }
}

TEST_F(Adapters, WhoseConfigStatesOthersAreRefused) {
  trained(arguments());
  const Json config = read_json(run_ / "out/adapter_config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json changed = config;
    changed[key] = value;
    write_json(run_ / "out/adapter_config.json", changed);
    return error_of([&] { Model::from_pretrained(run_ / "out"); });
  };
  EXPECT_THAT(with("r", 16), AllOf(HasSubstr("has rank 8, and adapter_config.json states 16"),
                                   HasSubstr("do not belong together")));
  EXPECT_THAT(with("rank_pattern", {{"value", 4}}), HasSubstr("states 4"));
  EXPECT_THAT(with("target_modules", {"key", "query"}),
              AllOf(HasSubstr("value.lora_A"), HasSubstr("does not name (key, query)")));
  EXPECT_THAT(with("target_modules", Json::array()), HasSubstr("\"target_modules\" is an empty list"));
  EXPECT_THAT(with("peft_type", "IA3"),
              AllOf(HasSubstr("lora_A"), HasSubstr("not of the method"), HasSubstr("states (IA3)")));
  EXPECT_THAT(with("layers_to_transform", {0}), HasSubstr("adapts layer 1, which \"layers_to_transform\""));
  EXPECT_THAT(with("layers_to_transform", 0), HasSubstr("does not name (0)"));
  Json both = config;
  both["layers_to_transform"] = {0, 1};
  write_json(run_ / "out/adapter_config.json", both);
  EXPECT_EQ(Model::from_pretrained(run_ / "out").labels(), colours());
}

// As peft writes it: without config.json, tokenizer and the fingerprint of the base.
TEST_F(Adapters, OfAFolderWithoutConfigAreLoadedOverTheirBase) {
  const Model model = trained(arguments());
  for (const char* file : {"config.json", "base_model.json", "vocab.txt", "tokenizer_config.json",
                           "tokenizer.json", "special_tokens_map.json", "training_args.json"})
    fs::remove(run_ / "out" / file);
  EXPECT_EQ(logits_of(Model::from_pretrained(run_ / "out"), batch()), logits_of(model, batch()));
  EXPECT_FALSE(Pipeline(run_ / "out")("a red word").label.empty());
}

TEST_F(Adapters, AreNotNeededForBitFit) {
  TrainingArguments a = arguments();
  a.peft_type = "bitfit";
  const Model model = base();
  const auto before = values_by_name(model);
  a.max_steps = 4;
  Trainer(model, a, data(40)).train();
  for (const auto& [name, values] : values_by_name(model))
    EXPECT_EQ(!same_bits(values, before.at(name)), name.ends_with(".bias") || name.starts_with("classifier."))
        << name;
  EXPECT_TRUE(fs::exists(run_ / "out/model.safetensors"));
  EXPECT_FALSE(fs::exists(run_ / "out/adapter_config.json"));
}

// The cached hidden states give what the frozen encoder without dropout gives.
TEST_F(Adapters, AreNotNeededForLinearProbing) {
  save_base("plain", 42);
  Json config = read_json(run_ / "plain/config.json");
  for (const char* key : {"hidden_dropout_prob", "attention_probs_dropout_prob"}) config[key] = 0.0;
  write_json(run_ / "plain/config.json", config);
  TrainingArguments a = arguments();
  a.peft_type = "linear_probing";
  a.num_train_epochs = 3;
  a.eval_strategy = "epoch";
  const Model probed = base("plain"), frozen = base("plain");
  LogEntry metrics;
  const std::string log = log_of_run([&] { metrics = Trainer(probed, a, data(40)).train().metrics; });
  EXPECT_THAT(log, AllOf(HasSubstr("linear_probing: 99 parameters are trained"),
                         HasSubstr("the hidden states of all examples (12.8 kB) were computed")));
  EXPECT_EQ(probed.state().network.cached, nullptr);
  a.peft_type = "";
  a.freeze = "bert.*";
  const LogEntry whole = Trainer(frozen, a, data(40)).train().metrics;
  EXPECT_LE(largest_difference(all_values(probed), all_values(frozen)), 1e-6);
  EXPECT_NEAR(value_of(metrics, "eval_loss"), value_of(whole, "eval_loss"), 1e-6);
  EXPECT_EQ(value_of(metrics, "eval_accuracy"), value_of(whole, "eval_accuracy"));
}

TEST_F(Adapters, OfEveryTaskAreSavedAndGiveTheModelBack) {
  const EveryTask every;
  for (const TaskCase& c : every_task()) {
    if (c.task->answer == tasks::Answer::none) continue;  // pretrained as a whole
    const fs::path base = run_ / "task-base", out = run_ / "task-out";
    every.model(c).save_pretrained(base);
    ModelOptions options;
    options.task = c.task->head->task;
    TrainingArguments a = every.arguments(c);
    a.output_dir = out.string();
    a.max_steps = 2;
    a.peft_type = "lora";
    a.lora_dropout = 0.1;
    const Model model = Model::from_pretrained(base, options);
    Trainer(model, a, every.data(c, 20, 6)).train();
    EXPECT_TRUE(fs::exists(out / "adapter_model.safetensors")) << c.name();
    const Model again = Model::from_pretrained(out, options);
    EXPECT_TRUE(again.load_report().missing.empty()) << c.name();
    const auto values = values_by_name(again);
    for (const auto& [name, value] : values_by_name(model))
      EXPECT_TRUE(same_bits(value, values.at(name))) << name;
    a.peft_type = "linear_probing";
    a.lora_dropout = 0;
    const auto probe = [&] {
      Trainer(Model::from_pretrained(base, options), a, every.data(c, 20, 6)).train();
    };
    if (c.task->head->predicts_tokens || c.task->head->is_bare)
      EXPECT_THAT(error_of(probe), HasSubstr("the model has no head of its own to train")) << c.name();
    else
      EXPECT_NO_THROW(probe()) << c.name();
    fs::remove_all(base);
    fs::remove_all(out);
  }
}

TEST_F(Adapters, OfEachFamilyHaveDefaultTargets) {
  for (const models::Family* family : models::families())
    EXPECT_NE(models::find_peft_defaults(family->model_type), nullptr) << family->model_type;
  for (const std::string& name : fixture_names()) {
    for (const models::PeftType type : {models::PeftType::lora, models::PeftType::ia3}) {
      const Model model = load_model(fixture_folder(name));
      const std::vector<float> before = logits_of(model, RandomFeatures(model, 3, 9).batch(3));
      models::PeftConfig config;
      config.peft_type = type;
      config.r = 2;
      models::add_adapter(model.state(), config, 1);
      EXPECT_FALSE(model.state().adapter->matrices.empty()) << name;
      const std::vector<float> after = logits_of(model, RandomFeatures(model, 3, 9).batch(3));
      if (type == models::PeftType::lora)
        EXPECT_TRUE(same_bits(before, after)) << name;
      else
        EXPECT_LE(largest_difference(before, after), 1e-5) << name;
    }
  }
}

// The values of `base`, with an adapter of the word embeddings, which the decoder of a language model reads.
Model with_adapted_words(const Model& base) {
  auto state = std::make_shared<models::State>();
  const models::State& from = base.state();
  state->config = from.config;
  state->task = from.task;
  state->family = from.family;
  state->head = from.head;
  state->network =
      models::find_head(*from.family, from.task, from.config).make(state->parameters, from.config);
  state->parameters.adapt(*state->network.encoder->word_embeddings(), {4, 2});
  state->parameters.allocate();
  models::copy_weights(*state, from, {});
  return Model(std::move(state));
}

// A loss that never stores all logits does not know adapters: such a head takes the other way.
TEST(AdapterTraining, OfTheLastLayerOfALanguageModel) {
  GRAFT_SHARED_PATH(folder, "golden/gpt2/causal_lm");
  const Model base = load_model(folder), model = with_adapted_words(base);
  const data::RaggedBatch batch = RandomFeatures(base, 4, 20).batch(4);
  const auto task = make_task(base);
  const auto loss = [&](const Model& m, bool stores_logits) {
    engine::Arena arena;
    engine::Tape tape(arena, m.state().parameters, {});
    const tasks::LossPass pass =
        tasks::forward_loss(tape, m.state().network, *task, batch, task->loss_terms(batch));
    EXPECT_EQ(pass.logits != nullptr, stores_logits);
    return tape.scalar(pass.loss);
  };
  const float plain = loss(base, false);
  EXPECT_NEAR(loss(model, true), plain, 1e-5);
  const Parameter& b = *model.state().network.encoder->word_embeddings()->adapter.b;
  const engine::HostWrite values = model.state().parameters.write_value(b);
  std::fill_n(values.data(), b.size / 2, 1.0f);
  EXPECT_GT(std::fabs(loss(model, true) - plain), 1e-3f);
}

}  // namespace
}  // namespace graft::train
