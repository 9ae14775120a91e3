// Prefix tuning (models/virtual_tokens.h): what is trained, the folder of peft, resuming, generation,
// options. tests/interop/check_peft.py compares with peft.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "graft/adapter.h"
#include "graft/text_generation.h"
#include "models/registry.h"
#include "models/virtual_tokens.h"
#include "tasks/causal_lm.h"
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

// A GPT-2 with dropout, in a folder.
class PrefixTuning : public testing::Test {
 protected:
  PrefixTuning() {
    every_.model(case_).save_pretrained(base_);
    every_.run().tokenizer()->save(base_);
  }
  Model base() const { return load(base_); }
  static Model load(const fs::path& folder) {
    ModelOptions options;
    options.task = models::kCausalLm.task;
    return Model::from_pretrained(folder, options);
  }
  TrainingArguments arguments(const std::string& out = "out") const {
    TrainingArguments a = every_.arguments(case_);
    a.output_dir = (every_.run() / out).string();
    a.peft_type = "prefix_tuning";
    a.num_virtual_tokens = 5;
    a.learning_rate = 1e-2;
    a.max_steps = 4;
    return a;
  }
  TaskData data(int rows = 40) const { return every_.data(case_, rows, 8); }
  Model trained(const TrainingArguments& a) const {
    const Model model = base();
    Trainer(model, a, data()).train();
    return model;
  }
  std::string refused(const TrainingArguments& a) const {
    return error_of([&] { Trainer(base(), a, data()); });
  }
  fs::path operator/(const std::string& name) const { return every_.run() / name; }

  const TaskCase case_{&tasks::causal_lm_task(), ""};
  EveryTask every_{TaskSizes{}};
  fs::path base_ = every_.run() / "base";
};

data::RaggedBatch batch_for(const Model& model) { return RandomFeatures(model, 12, 20).batch(12); }

TEST_F(PrefixTuning, TrainsKeysAndValuesOnly) {
  const Model before = base(), model = base();
  std::vector<float> first;
  const std::string log = log_of_run([&] {
    Trainer trainer(model, arguments(), data());
    first = all_values(model);
    trainer.train();
  });
  EXPECT_THAT(log, HasSubstr("prefix_tuning: 640 parameters of 5 virtual tokens are trained: "));
  for (const Parameter& p : model.state().parameters.parameters()) {
    const engine::HostRead now = model.state().parameters.read_value(p);
    if (p.of_adapter) {
      EXPECT_EQ(p.name, models::kPromptEmbeddings);
      EXPECT_EQ(p.shape, (std::vector<int64_t>{5, 2 * 2 * 32}));
      double sum = 0;
      for (const float x : now) sum += static_cast<double>(x) * static_cast<double>(x);
      EXPECT_NEAR(std::sqrt(sum), std::sqrt(640.0), 3);  // N(0, 1), as torch.nn.Embedding
      continue;
    }
    const engine::HostRead then =
        before.state().parameters.read_value(*before.state().parameters.find(p.name));
    EXPECT_TRUE(std::equal(now.begin(), now.end(), then.begin())) << p.name;
  }
  EXPECT_GT(largest_difference(all_values(model), first), 1e-3);
}

// In values of every layer, keys and values, the slope of the loss.
TEST_F(PrefixTuning, HasTheGradientOfItsLoss) {
  const Model model = base();
  Trainer(model, arguments(), data());
  const std::vector<float> gradient =
      expect_slopes(model, models::kPromptEmbeddings, batch_for(model), 13, 4e-2F, 0.03);
  EXPECT_GT(l2_norm(gradient), 1e-3);
}

TEST_F(PrefixTuning, IsSavedAsPeftDoesAndGivesTheModelBack) {
  TrainingArguments a = arguments();
  a.save_strategy = "steps";
  a.save_steps = 2;
  const Model model = trained(a);
  const std::vector<float> logits = logits_of(model, batch_for(model));
  for (const char* sub : {"", "checkpoint-4"}) {
    const Model again = load(*this / "out" / sub);
    EXPECT_TRUE(again.load_report().missing.empty());
    EXPECT_EQ(logits_of(again, batch_for(model)), logits);
    EXPECT_EQ(again.max_positions(), base().max_positions() - 5);
  }
  EXPECT_EQ(
      read_json(*this / "out/adapter_config.json").dump(),
      R"({"auto_mapping":null,"base_model_name_or_path":")" + fs::weakly_canonical(base_).string() +
          R"(","encoder_hidden_size":32,"inference_mode":true,"init_weights":null,"modules_to_save":null,)"
          R"("num_attention_heads":4,"num_layers":2,"num_transformer_submodules":1,)"
          R"("num_virtual_tokens":5,"peft_type":"PREFIX_TUNING","prefix_projection":false,)"
          R"("revision":null,"task_type":"CAUSAL_LM","token_dim":32})");
  const hub::StateDict file = hub::read_safetensors(*this / "out/adapter_model.safetensors");
  ASSERT_EQ(file.tensors().size(), 1u);
  EXPECT_EQ(file.tensors().front().name, "prompt_embeddings");
  Model merged = load(*this / "out");
  EXPECT_THAT(error_of([&] { merge_adapter(merged); }), HasSubstr("virtual tokens cannot be merged"));
}

TEST_F(PrefixTuning, OfARunThatIsResumedHasTheBitsOfOneRun) {
  TrainingArguments a = arguments();
  a.max_steps = 6;
  a.per_device_train_batch_size = 4;
  const ResumeReport report = verify_resume(
      [&](const TrainingArguments& given) { return std::make_unique<Trainer>(base(), given, data()); }, a, 6);
  EXPECT_EQ(report.difference, "");
  EXPECT_EQ(report.tensors, 3);  // the prefix and its two moments
}

TEST_F(PrefixTuning, DependsOnNoBatchThreadsAndCheckpointing) {
  std::vector<std::vector<float>> results;
  const auto train = [&](TrainingArguments a) {
    a.max_steps = 2;
    a.adam_epsilon = 1e-3;  // a step is smooth in the gradient: rounding stays rounding
    const Model model = base();
    Trainer(model, a, data(16)).train();
    return all_values(model);
  };
  TrainingArguments a = arguments();
  a.per_device_train_batch_size = 8;
  const std::vector<float> whole = train(a);
  a.gradient_checkpointing = true;
  EXPECT_TRUE(same_bits(train(a), whole));
  a.gradient_checkpointing = false;
  expect_thread_free("prefix tuning", [&] { return train(a); });
  a.per_device_train_batch_size = 4;
  a.gradient_accumulation_steps = 2;
  EXPECT_LE(largest_difference(train(a), whole), 2e-5);
}

// The cache holds the prefix before a text.
TEST_F(PrefixTuning, GeneratesTheSameWithACacheAndWithWholePasses) {
  TrainingArguments a = arguments();
  a.max_steps = 20;
  trained(a);
  const TextGenerationPipeline pipeline(*this / "out"), plain(base_);
  const std::vector<std::string> prompts = {"ba be bi", "red", "du fo ga ka la ma"};
  GenerationOptions options = pipeline.generation_options();
  options.max_new_tokens = 12;
  const auto texts = [&](const TextGenerationPipeline& p, const std::vector<std::string>& of) {
    std::vector<std::string> out;
    for (const auto& found : p.generate(of, options))
      for (const GeneratedText& one : found) out.push_back(one.continuation);
    return out;
  };
  const std::vector<std::string> cached = texts(pipeline, prompts);
  EXPECT_NE(cached, texts(plain, prompts));
  for (size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(texts(pipeline, {prompts[i]}), std::vector<std::string>{cached[i]});
  options.use_cache = false;
  EXPECT_EQ(texts(pipeline, prompts), cached);
  options.num_beams = options.num_return_sequences = 3;
  const std::vector<std::string> beams = texts(pipeline, prompts);
  options.use_cache = true;
  EXPECT_EQ(texts(pipeline, prompts), beams);
}

TEST_F(PrefixTuning, IsTrainedFurther) {
  trained(arguments());
  const Model model = load(*this / "out");
  const std::vector<float> before = all_values(model);
  Trainer(model, arguments("further"), data(20)).train();
  EXPECT_NE(all_values(model), before);
  TrainingArguments a = arguments("further");
  a.peft_type = "prompt_tuning";
  EXPECT_THAT(error_of([&] { Trainer(model, a, data(20)); }), HasSubstr("has other adapters already"));
}

TEST_F(PrefixTuning, WithModelsAndOptionsThatDoNotFitIsRefused) {
  const auto refused_with = [&](const std::function<void(TrainingArguments&)>& edit) {
    TrainingArguments a = arguments();
    edit(a);
    return refused(a);
  };
  EXPECT_THAT(refused_with([](auto& a) { a.lora_r = 4; }),
              HasSubstr("--lora_r is for --peft_type lora, not for prefix_tuning"));
  EXPECT_THAT(refused_with([](auto& a) {
                a.prompt_tuning_init = "TEXT";
                a.prompt_tuning_init_text = "red";
              }),
              HasSubstr("is for --peft_type prompt_tuning, not for prefix_tuning"));
  EXPECT_THAT(refused_with([&](auto& a) { a.num_virtual_tokens = base().max_positions(); }),
              HasSubstr("leave no position for a text"));
  EXPECT_THAT(refused_with([](auto& a) { a.neftune_noise_alpha = 5; }),
              HasSubstr("--neftune_noise_alpha is refused with virtual tokens"));
  for (const TaskCase& c : every_task()) {
    if (c.task == case_.task || c.task->answer == tasks::Answer::none) continue;
    every_.model(c).save_pretrained(*this / "other");
    ModelOptions options;
    options.task = c.task->head->task;
    TrainingArguments a = every_.arguments(c);
    a.peft_type = "prefix_tuning";
    const std::string text = error_of(
        [&] { Trainer(Model::from_pretrained(*this / "other", options), a, every_.data(c, 20, 6)); });
    EXPECT_THAT(text, HasSubstr("prefix tuning is implemented for causal-lm of model_type \"gpt2\""))
        << c.name();
    const bool has_prompt =
        c.task->head == &models::kSequenceClassification || c.task->head == &models::kTokenClassification;
    EXPECT_THAT(text, HasSubstr(has_prompt ? "prompt_tuning trains virtual tokens of this model"
                                           : "LoRA adapters are implemented"))
        << c.name();
  }
}

TEST_F(PrefixTuning, FilesOfAProjectionAreReadAndDamagedOnesTold) {
  const Model model = trained(arguments());
  const std::vector<float> logits = logits_of(model, batch_for(model));
  const Json good = read_json(*this / "out/adapter_config.json");
  const auto write = [&](const char* key, const Json& value) {
    Json config = good;
    config[key] = value;
    write_json(*this / "out/adapter_config.json", config);
  };
  const auto with = [&](const char* key, const Json& value) {
    write(key, value);
    return error_of([&] { load(*this / "out"); });
  };
  // peft saves what the projection gives.
  write("prefix_projection", true);
  EXPECT_EQ(logits_of(load(*this / "out"), batch_for(model)), logits);
  EXPECT_THAT(with("num_virtual_tokens", 6), HasSubstr("tensor prompt_embeddings is [5, 128]"));
  EXPECT_THAT(with("num_transformer_submodules", 2), HasSubstr("virtual tokens of an encoder-decoder"));
  EXPECT_THAT(with("peft_type", "PROMPT_TUNING"), HasSubstr("it must be [5, 32]"));
}

}  // namespace
}  // namespace graft::train
