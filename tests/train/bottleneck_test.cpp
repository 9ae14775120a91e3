// Bottleneck adapters (models/bottleneck.h): gradients against differences of the loss, the folder of
// AdapterHub's library, resuming, families, the real adapter. tests/interop/check_adapters.py compares with
// the library.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/folder.h"
#include "graft/adapter.h"
#include "graft/pipeline.h"
#include "models/adapter_folder.h"
#include "models/bottleneck.h"
#include "train/adapter_base.h"
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

// A configuration and the changes of it, as options.
struct Case {
  const char* peft_type;
  std::vector<std::pair<const char*, const char*>> options;
};
const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"seq_bn", {}},
      {"double_seq_bn", {}},
      {"par_bn", {}},
      {"seq_bn", {{"residual_before_ln", "post_add"}, {"leave_out", "0"}}},
      {"seq_bn", {{"residual_before_ln", "false"}, {"mh_adapter", "true"}, {"adapter_scaling", "learned"}}},
      {"double_seq_bn", {{"ln_before", "true"}, {"ln_after", "true"}, {"adapter_scaling", "channel"}}},
      {"seq_bn", {{"ln_after", "true"}, {"adapter_residual_before_ln", "true"}, {"adapter_scaling", "0.5"}}},
      {"seq_bn", {{"original_ln_after", "false"}, {"residual_before_ln", "false"}}},
      {"par_bn",
       {{"ln_before", "true"}, {"ln_after", "true"}, {"mh_adapter", "true"}, {"non_linearity", "tanh"}}}};
  return table;
}

class Bottlenecks : public AdapterBase {
 protected:
  TrainingArguments arguments(const Case& c, const std::string& out = "out") const {
    TrainingArguments a = arguments_of(c.peft_type, out);
    a.reduction_factor = 4;
    for (const auto& [name, value] : c.options) set_argument(a, name, value);
    return a;
  }
  TaskData data(int rows = 40) const { return AdapterBase::data(rows); }
  std::string refused(const Case& c) const { return AdapterBase::refused(arguments(c)); }
  Json edited(const std::function<void(Json&)>& edit) const {
    Json config = read_json(run_ / "out/adapter_config.json");
    edit(config);
    write_json(run_ / "out/adapter_config.json", config);
    return config;
  }
};

// The gradient of every adapter is the slope of the loss, in random directions.
TEST_F(Bottlenecks, HaveTheGradientOfTheirLoss) {
  for (const Case& c : cases()) {
    const Model model = base();
    TrainingArguments smooth = arguments(c);
    if (smooth.non_linearity.empty()) smooth.non_linearity = "gelu";  // without the kink of relu
    Trainer(model, smooth, data(10));
    expect_gradient(model, std::string(c.peft_type) + (c.options.empty() ? "" : c.options.front().first));
  }
}

// With the projection up at zero the three configurations compute what the base does, to the bit.
TEST_F(Bottlenecks, ThatAreZeroChangeNothing) {
  for (const char* type : {"bert", "roberta", "distilbert", "xlm-roberta", "electra"}) {
    save_base(type, 42, type);
    const Model before = base(type);
    for (const char* name : {"seq_bn", "double_seq_bn", "par_bn", "pfeiffer", "houlsby", "parallel"}) {
      const Model model = base(type);
      TrainingArguments a = arguments({name, {{"init_weights", "mam_adapter"}}});
      const std::string log = log_of_run([&] { Trainer(model, a, data(10)); });
      EXPECT_EQ(log.find("is the older name of") == std::string::npos, std::string(name).ends_with("_bn"))
          << log;
      EXPECT_EQ(models::count_bottlenecks(model.state()), name[0] == 'd' || name[0] == 'h' ? 4 : 2);
      for (const bool bf16 : {false, true}) {
        before.state().bf16 = model.state().bf16 = bf16;
        EXPECT_TRUE(same_bits(logits_of(model, batch(model)), logits_of(before, batch(before))))
            << type << name;
      }
    }
  }
}

TEST_F(Bottlenecks, TrainThemselvesAndTheHeadOnlyAndAreSavedAlone) {
  for (const Case& c : cases()) {
    const Model before = base();
    TrainingArguments a = arguments(c);
    a.save_strategy = "steps";
    a.save_steps = 2;
    const Model model = trained(a);
    for (const Parameter& p : model.state().parameters.parameters()) {
      const Parameter* old = before.state().parameters.find(p.name);
      if (!old) {
        EXPECT_THAT(p.name, HasSubstr(".adapters.default."));
        continue;
      }
      const engine::HostRead x = model.state().parameters.read_value(p),
                             y = before.state().parameters.read_value(*old);
      EXPECT_EQ(std::equal(x.begin(), x.end(), y.begin()), !p.name.starts_with("classifier.")) << p.name;
    }
    const std::vector<float> logits = logits_of(model, batch(model));
    for (const char* sub : {"", "checkpoint-4"}) {
      const fs::path folder = run_ / "out" / sub;
      for (const char* file : {"adapter_config.json", "adapter.safetensors", "head_config.json",
                               "model_head.safetensors", "config.json", "vocab.txt"})
        EXPECT_TRUE(fs::exists(folder / file)) << folder << file;
      for (const char* file : {"model.safetensors", "adapter_model.safetensors"})
        EXPECT_FALSE(fs::exists(folder / file)) << folder << file;
      const Model again = Model::from_pretrained(folder);
      EXPECT_TRUE(again.load_report().missing.empty());
      EXPECT_TRUE(same_bits(logits_of(again, batch(again)), logits)) << c.peft_type << sub;
    }
    EXPECT_FALSE(Pipeline(run_ / "out")("a red word").label.empty());
    fs::remove_all(run_ / "out");
  }
}

TEST_F(Bottlenecks, LearnTheTask) {
  TrainingArguments a = arguments({"double_seq_bn", {}});
  a.num_train_epochs = 10;
  a.learning_rate = 2e-2;
  const Model model = base();
  TrainResult result;
  const std::string log = log_of_run([&] { result = Trainer(model, a, data(300)).train(); });
  EXPECT_THAT(log, HasSubstr("bottleneck: 2208 parameters in 4 adapters and 99 of the head are trained: "));
  EXPECT_GT(value_of(result.metrics, "eval_accuracy"), 0.9);
}

TEST_F(Bottlenecks, OfARunThatIsResumedHaveTheBitsOfOneRun) {
  for (const Case& c : {cases()[0], cases()[5]}) {
    TrainingArguments a = arguments(c);
    a.adapter_dropout = 0.2;
    same_files_when_resumed(a, {"adapter.safetensors", "model_head.safetensors", "adapter_config.json"});
  }
}

// Their dropout depends on the example alone, and on the step.
TEST_F(Bottlenecks, HaveDropoutThatDependsOnTheExampleAlone) {
  TrainingArguments a = arguments({"double_seq_bn", {}});
  a.adapter_dropout = 0.3;
  const std::vector<float> with = same_in_all_ways(a);
  a.adapter_dropout = 0;
  EXPECT_GT(largest_difference(with, same_in_all_ways(a)), 1e-4);
}

TEST_F(Bottlenecks, OfEveryTaskAreSavedAndGiveTheModelBack) {
  const EveryTask every;
  int encoders = 0;
  for (const TaskCase& c : every_task()) {
    if (c.task->answer == tasks::Answer::none) continue;  // pretrained as a whole
    const fs::path base = run_ / "task-base", out = run_ / "task-out";
    every.model(c).save_pretrained(base);
    ModelOptions options;
    options.task = c.task->head->task;
    TrainingArguments a = every.arguments(c);
    a.output_dir = out.string();
    a.max_steps = 2;
    a.peft_type = "double_seq_bn";
    const Model model = Model::from_pretrained(base, options);
    const auto train = [&] { Trainer(model, a, every.data(c, 20, 6)).train(); };
    if (model.model_type() != "bert") {
      EXPECT_THAT(error_of(train), HasSubstr("are not implemented for model_type")) << c.name();
    } else {
      train();
      ++encoders;
      const Model again = Model::from_pretrained(out, options);
      EXPECT_TRUE(again.load_report().missing.empty()) << c.name();
      for (const Parameter& p : model.state().parameters.parameters()) {
        const Parameter* other = again.state().parameters.find(p.name);
        ASSERT_NE(other, nullptr) << p.name;
        const engine::HostRead x = model.state().parameters.read_value(p),
                               y = again.state().parameters.read_value(*other);
        EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin())) << c.name() << p.name;
      }
    }
    fs::remove_all(base);
    fs::remove_all(out);
  }
  EXPECT_GT(encoders, 3);
}

TEST_F(Bottlenecks, CannotBeMerged) {
  const Model model = trained(arguments({"seq_bn", {}}));
  Model loaded = Model::from_pretrained(run_ / "out");
  EXPECT_THAT(error_of([&] { merge_adapter(loaded); }),
              AllOf(HasSubstr("cannot be merged into the weights"), HasSubstr("an activation between")));
  EXPECT_THAT(error_of([&] { loaded.with_task({}); }), HasSubstr("bottleneck adapters cannot be"));
}

TEST_F(Bottlenecks, AreTrainedFurtherAsTheyAre) {
  trained(arguments({"par_bn", {}}));
  const Model model = Model::from_pretrained(run_ / "out");
  TrainingArguments a = arguments({"par_bn", {}}, "further");
  a.max_steps = 2;
  Trainer(model, a, data(20)).train();
  EXPECT_EQ(read_json(run_ / "further/adapter_config.json").at("model_name"),
            Json(fs::weakly_canonical(run_ / "base").string()));
  a = arguments({"par_bn", {{"non_linearity", "gelu"}}}, "other");
  EXPECT_THAT(
      error_of([&] { Trainer(model, a, data(20)); }),
      AllOf(HasSubstr("has other adapters already (bottlenecks"), HasSubstr("leave --peft_type out")));
}

// The folder as the library writes it: no config.json, a head of numbered modules, a pickle in place of
// safetensors is in the interop check.
TEST_F(Bottlenecks, OfAFolderOfTheLibraryAreLoadedOverTheirBase) {
  save_base("base", 42, "roberta");
  const Model model = trained(arguments({"seq_bn", {}}));
  const std::vector<float> logits = logits_of(model, batch(model));
  for (const char* file : {"config.json", "base_model.json", "vocab.txt", "tokenizer_config.json",
                           "tokenizer.json", "special_tokens_map.json", "training_args.json"})
    fs::remove(run_ / "out" / file);
  EXPECT_TRUE(same_bits(logits_of(Model::from_pretrained(run_ / "out"), batch(model)), logits));
  EXPECT_EQ(Model::from_pretrained(run_ / "out").labels(), colours());
  // Older names of the modules, and a flexible head.
  OwnedTensors adapter(run_ / "out/adapter.safetensors"), head(run_ / "out/model_head.safetensors");
  for (hub::TensorToWrite& t : adapter.tensors)
    t.name.replace(t.name.find(".adapters."), 10, ".layer_text_task_adapters.");
  for (hub::TensorToWrite& t : head.tensors) {
    const bool out = t.name.find("out_proj") != std::string::npos;
    t.name = std::string("heads.default.") + (out ? "4" : "1") + t.name.substr(t.name.rfind('.'));
  }
  hub::write_safetensors(run_ / "out/adapter.safetensors", adapter.tensors);
  hub::write_safetensors(run_ / "out/model_head.safetensors", head.tensors);
  Json config = {{"head_type", "classification"},
                 {"layers", 2},
                 {"activation_function", "tanh"},
                 {"label2id", {{"blue", 0}, {"green", 1}, {"red", 2}}}};
  write_json(run_ / "out/head_config.json", {{"config", config}, {"name", "default"}});
  const Model old = Model::from_pretrained(run_ / "out");
  EXPECT_TRUE(same_bits(logits_of(old, batch(model)), logits));
  EXPECT_EQ(old.labels(), colours());
  // A head that no class of the reference has is left out, with a warning.
  config["layers"] = 3;
  write_json(run_ / "out/head_config.json", {{"config", config}, {"name", "default"}});
  EXPECT_THAT(log_of_run([&] { Model::from_pretrained(run_ / "out"); }),
              HasSubstr("the adapter is used without it"));
}

TEST_F(Bottlenecks, OfAnotherBaseAreRefused) {
  trained(arguments({"seq_bn", {}}));
  const auto with_base = [&](const Json& name) {
    edited([&](Json& config) { config["model_name"] = name; });
    return error_of([&] { Model::from_pretrained(run_ / "out"); });
  };
  save_base("other", 43);
  save_base("distil", 42, "distilbert");
  EXPECT_THAT(with_base((run_ / "other").string()),
              AllOf(HasSubstr("was trained on other weights than those of"), HasSubstr("\"model_name\"")));
  EXPECT_THAT(with_base((run_ / "distil").string()),
              AllOf(HasSubstr("made for a model of model_type \"bert\""), HasSubstr("is \"distilbert\"")));
  EXPECT_THAT(with_base((run_ / "gone").string()), HasSubstr("there is no such folder"));
  EXPECT_THAT(with_base(nullptr), AllOf(HasSubstr("\"model_name\""), HasSubstr("is null"),
                                        HasSubstr("write the folder or the name of the base model there")));
  edited([&](Json& config) {
    config["model_name"] = (run_ / "base").string();
    config["hidden_size"] = 48;
  });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out"); }),
              AllOf(HasSubstr("made for a hidden size of 48"), HasSubstr("is 32")));
  edited([](Json& config) { config["hidden_size"] = 32; });
  // A layer that the base does not have.
  OwnedTensors tensors(run_ / "out/adapter.safetensors");
  hub::TensorToWrite extra = tensors.tensors.front();
  extra.name.replace(extra.name.find("layer."), 7, "layer.7");
  tensors.tensors.push_back(extra);
  hub::write_safetensors(run_ / "out/adapter.safetensors", tensors.tensors);
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out"); }),
              AllOf(HasSubstr("layer.7"), HasSubstr("has no place in bert in")));
}

TEST_F(Bottlenecks, ThatAreDamagedAreRefused) {
  trained(arguments({"seq_bn", {}}));
  const Json whole = read_json(run_ / "out/adapter_config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json config = whole;
    config["config"][key] = value;
    write_json(run_ / "out/adapter_config.json", config);
    return error_of([&] { Model::from_pretrained(run_ / "out"); });
  };
  EXPECT_THAT(with("use_gating", true), HasSubstr("\"use_gating\" is true, which graft does not implement"));
  EXPECT_THAT(with("phm_layer", true), HasSubstr("\"phm_layer\" is true"));
  EXPECT_THAT(with("architecture", "lora"), HasSubstr("\"architecture\" is \"lora\""));
  EXPECT_THAT(with("non_linearity", "rleu"), HasSubstr("\"rleu\" is not known"));
  EXPECT_THAT(with("reduction_factor", -1),
              HasSubstr("\"reduction_factor\" is -1; it must be a number above 0"));
  EXPECT_THAT(with("reduction_factor", nullptr), HasSubstr("\"config\" has no \"reduction_factor\""));
  EXPECT_THAT(with("residual_before_ln", "pre"), HasSubstr("true, false or \"post_add\""));
  EXPECT_THAT(with("scaling", "loud"), HasSubstr("a number, \"learned\" or \"channel\""));
  EXPECT_THAT(with("leave_out", "0"), HasSubstr("a list of numbers of layers"));
  EXPECT_THAT(with("leave_out", Json::array({0})), HasSubstr("has no place in bert in"));
  EXPECT_THAT(with("leave_out", Json::array({9})), HasSubstr("leave_out names layer 9"));
  EXPECT_THAT(
      with("mh_adapter", true),
      AllOf(HasSubstr("tensor bert.encoder.layer.0.attention.output.adapters."), HasSubstr("is missing")));
  EXPECT_THAT(with("dropout", 1.5), HasSubstr("\"dropout\" is 1.5"));
  EXPECT_THAT(with("init_weights", "kind"), HasSubstr("\"init_weights\" is \"kind\""));
  write_json(run_ / "out/adapter_config.json", whole);
  edited([](Json& config) { config["name"] = "other"; });
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out"); }),
              HasSubstr("does not belong to the adapter \"other\""));
  write_json(run_ / "out/adapter_config.json", whole);
  fs::remove(run_ / "out/adapter.safetensors");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out"); }),
              HasSubstr("none of adapter.safetensors, pytorch_adapter.safetensors, pytorch_adapter.bin"));
  // A pickle that does more than hold tensors.
  write_file(run_ / "out/pytorch_adapter.bin", "cos\nsystem\n(S'true'\ntR.");
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "out"); }), HasSubstr("pytorch_adapter.bin"));
}

TEST_F(Bottlenecks, WithOptionsThatDoNotFitAreRefused) {
  EXPECT_THAT(refused({"seq_bm", {}}),
              AllOf(HasSubstr("--peft_type seq_bm is not implemented"), HasSubstr("did you mean seq_bn?")));
  EXPECT_THAT(refused({"lora", {}}), HasSubstr("--reduction_factor is for --peft_type seq_bn, not for lora"));
  EXPECT_THAT(refused({"seq_bn", {{"leave_out", "7"}}}), HasSubstr("leave_out names layer 7"));
  EXPECT_THAT(refused({"seq_bn", {{"leave_out", "0,1"}}}), HasSubstr("leave_out names every layer"));
  EXPECT_THAT(refused({"seq_bn", {{"output_adapter", "false"}}}), HasSubstr("no layer has an adapter"));
  EXPECT_THAT(refused({"seq_bn", {{"non_linearity", "geluu"}}}),
              AllOf(HasSubstr("\"geluu\" is not known"), HasSubstr("did you mean")));
  EXPECT_THAT(refused({"double_seq_bn", {{"residual_before_ln", "post_add"}}}),
              HasSubstr("there is no sum before the adapter"));
  EXPECT_THAT(refused({"seq_bn", {{"adapter_scaling", "loud"}}}), HasSubstr("adapter_scaling"));
  EXPECT_THAT(refused({"seq_bn", {{"lora_r", "4"}}}),
              HasSubstr("--lora_r is for --peft_type lora, not for seq_bn"));
  save_base("mpnet", 42, "mpnet");
  EXPECT_THAT(error_of([&] {
                Trainer(base("mpnet"), arguments({"seq_bn", {}}), data(10));
              }),
              AllOf(HasSubstr("not implemented for model_type \"mpnet\""),
                    HasSubstr("bert, roberta, xlm-roberta, electra, distilbert")));
}

// The real adapter over a base of its shape with random weights: its own base is not there.
TEST_F(Bottlenecks, OfTheRealAdapterAreLoaded) {
  GRAFT_SHARED_PATH(real, "data/checkpoints/adapter-xlm-t-sentiment");
  Json config = read_json(run_ / "base/config.json");
  config["model_type"] = "xlm-roberta";
  config["architectures"] = Json::array({"XLMRobertaForSequenceClassification"});
  config["pad_token_id"] = 1;
  config["hidden_size"] = 768;
  config["num_hidden_layers"] = 12;
  config["num_attention_heads"] = 12;
  config["intermediate_size"] = 64;
  config.erase("id2label");
  config.erase("label2id");
  write_json(run_ / "xlm.json", config);
  const Model whole = Model::from_config(run_ / "xlm.json", {.num_labels = 3});
  whole.save_pretrained(run_ / "xlm");
  const auto adapter = [&](const std::string& name, const char* ending) {
    fs::create_directory(run_ / name);
    for (const auto& file : fs::directory_iterator(real))
      if (file.path().extension() == ending || file.path().extension() == ".json")
        write_file(run_ / name / file.path().filename().string(), read_file(file.path()));
    Json stated = read_json(run_ / name / "adapter_config.json");
    EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / name); }),
                AllOf(HasSubstr("\"model_name\""), HasSubstr("is null")));
    stated["model_name"] = (run_ / "xlm").string();
    write_json(run_ / name / "adapter_config.json", stated);
    return Model::from_pretrained(run_ / name);
  };
  const Model safe = adapter("safe", ".safetensors"), pickled = adapter("pickled", ".bin");
  EXPECT_EQ(safe.labels(), (std::vector<std::string>{"Neg", "Neu", "Pos"}));
  EXPECT_TRUE(safe.load_report().missing.empty());
  EXPECT_EQ(models::count_bottlenecks(safe.state()), 12);
  const Parameter* down = safe.state().parameters.find(
      "roberta.encoder.layer.11.output.adapters.xlm-t-sentiment.adapter_down.0.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (std::vector<int64_t>{48, 768}));
  const data::RaggedBatch rows = RandomFeatures(whole, 4, 9).batch(4);
  EXPECT_TRUE(same_bits(logits_of(safe, rows), logits_of(pickled, rows)));
  EXPECT_GT(largest_difference(logits_of(safe, rows), logits_of(whole, rows)), 1e-3);
}

}  // namespace
}  // namespace graft::train
