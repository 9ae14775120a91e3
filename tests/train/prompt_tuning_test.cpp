// Prompt tuning (models/virtual_tokens.h): what is trained, the folder of peft, resuming, the first values of
// a text, options. tests/interop/check_peft.py compares with peft.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/folder.h"
#include "graft/adapter.h"
#include "graft/pipeline.h"
#include "models/virtual_tokens.h"
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

class PromptTuning : public AdapterBase {
 protected:
  TrainingArguments arguments(const std::string& out = "out") const {
    TrainingArguments a = arguments_of("prompt_tuning", out);
    a.num_virtual_tokens = 5;
    return a;
  }
  TaskData data(int rows = 40) const { return AdapterBase::data(rows); }
};

std::vector<float> values_of_prompt(const Model& model) {
  const models::State& state = model.state();
  const engine::HostRead x = state.parameters.read_value(*state.parameters.find(models::kPromptEmbeddings));
  return {x.begin(), x.end()};
}

TEST_F(PromptTuning, TrainsVirtualTokensAndTheHeadOnly) {
  const Model before = base(), model = base();
  TrainingArguments a = arguments();
  a.max_steps = 4;
  std::vector<float> first;
  const std::string log = log_of_run([&] {
    Trainer trainer(model, a, data());
    first = values_of_prompt(model);
    trainer.train();
  });
  EXPECT_THAT(log, HasSubstr("prompt_tuning: 160 parameters of 5 virtual tokens and 99 of classifier are "
                             "trained: "));
  EXPECT_NEAR(l2_norm(first), std::sqrt(160.0), 2);  // N(0, 1), as torch.nn.Embedding
  EXPECT_GT(largest_difference(values_of_prompt(model), first), 1e-3);
  for (const Parameter& p : model.state().parameters.parameters()) {
    if (p.of_adapter) continue;
    const engine::HostRead now = model.state().parameters.read_value(p),
                           then =
                               before.state().parameters.read_value(*before.state().parameters.find(p.name));
    EXPECT_EQ(std::equal(now.begin(), now.end(), then.begin()), !p.name.starts_with("classifier.")) << p.name;
  }
}

// In each value, the slope of the loss.
TEST_F(PromptTuning, HasTheGradientOfItsLoss) {
  for (const char* type : {"bert", "roberta", "distilbert", "modernbert"}) {
    save_base("of", 42, type);
    const Model model = base("of");
    Trainer(model, arguments(), data(10));
    expect_slopes(model, models::kPromptEmbeddings, batch(model), 17, 2e-2F, 0.02, type);
  }
}

TEST_F(PromptTuning, IsSavedAloneAndGivesTheModelBack) {
  TrainingArguments a = arguments();
  a.save_strategy = "steps";
  a.save_steps = 2;
  const Model model = trained(a);
  const std::vector<float> logits = logits_of(model, batch(model));
  for (const char* sub : {"", "checkpoint-4"}) {
    const fs::path folder = run_ / "out" / sub;
    EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
    const Model again = Model::from_pretrained(folder);
    EXPECT_TRUE(again.load_report().missing.empty());
    EXPECT_EQ(logits_of(again, batch(model)), logits);
    EXPECT_EQ(again.max_positions(), base().max_positions() - 5);
  }
  EXPECT_EQ(read_json(run_ / "out/adapter_config.json").dump(),
            R"({"auto_mapping":null,"base_model_name_or_path":")" +
                fs::weakly_canonical(run_ / "base").string() +
                R"(","inference_mode":true,"modules_to_save":["classifier"],"num_attention_heads":4,)"
                R"("num_layers":2,"num_transformer_submodules":1,"num_virtual_tokens":5,)"
                R"("peft_type":"PROMPT_TUNING","prompt_tuning_init":"RANDOM","prompt_tuning_init_text":null,)"
                R"("revision":null,"task_type":"SEQ_CLS","token_dim":32,"tokenizer_kwargs":null,)"
                R"("tokenizer_name_or_path":null})");
  const hub::StateDict file = hub::read_safetensors(run_ / "out/adapter_model.safetensors");
  std::vector<std::string> names;
  for (const hub::TensorView& t : file.tensors()) names.push_back(t.name);
  EXPECT_THAT(names, testing::UnorderedElementsAre("base_model.classifier.weight",
                                                   "base_model.classifier.bias", "prompt_embeddings"));
  const Pipeline pipeline(run_ / "out");
  EXPECT_FALSE(pipeline("a red word").label.empty());
  Model merged = Model::from_pretrained(run_ / "out");
  EXPECT_THAT(
      error_of([&] { merge_adapter(merged); }),
      AllOf(HasSubstr("virtual tokens cannot be merged into the weights"), HasSubstr("before each text")));
  EXPECT_THAT(error_of([&] { merged.with_task({}); }), HasSubstr("cannot be made part of a whole model"));
}

TEST_F(PromptTuning, OfARunThatIsResumedHasTheBitsOfOneRun) {
  same_files_when_resumed(arguments(), {"adapter_model.safetensors", "adapter_config.json"});
}

TEST_F(PromptTuning, DependsOnNoBatchAndNoCheckpointing) { same_in_all_ways(arguments(), 5e-5F); }

TEST_F(PromptTuning, StartsFromTheWordsOfAText) {
  TrainingArguments a = arguments();
  a.prompt_tuning_init = "TEXT";
  a.prompt_tuning_init_text = "red";
  a.num_virtual_tokens = 7;
  a.max_steps = 1;
  const Model model = base();
  Trainer trainer(model, a, data(10));
  const std::vector<int32_t> ids = run_.tokenizer()->encode("red").input_ids;
  const std::vector<float> prompt = values_of_prompt(model);
  const Parameter& words = *model.state().network.encoder->word_embeddings();
  const engine::HostRead table = model.state().parameters.read_value(words);
  const auto width = static_cast<size_t>(words.cols());
  for (size_t i = 0; i < 7; ++i) {
    const float* row = table.data() + static_cast<size_t>(ids[i % ids.size()]) * width;
    EXPECT_TRUE(std::equal(row, row + width, prompt.data() + i * width)) << i;
  }
  trainer.train();
  const Json config = read_json(run_ / "out/adapter_config.json");
  EXPECT_EQ(config.at("prompt_tuning_init"), Json("TEXT"));
  EXPECT_EQ(config.at("prompt_tuning_init_text"), Json("red"));
  EXPECT_EQ(config.at("tokenizer_name_or_path"), config.at("base_model_name_or_path"));
}

TEST_F(PromptTuning, IsTrainedFurther) {
  trained(arguments());
  const Model model = Model::from_pretrained(run_ / "out");
  TrainingArguments a = arguments("further");
  a.max_steps = 2;
  const std::vector<float> before = values_of_prompt(model);
  Trainer(model, a, data(20)).train();
  EXPECT_NE(values_of_prompt(model), before);
  EXPECT_EQ(values_of_prompt(model).size(), before.size());
  a.num_virtual_tokens = 6;
  EXPECT_THAT(
      error_of([&] { Trainer(model, a, data(20)); }),
      AllOf(HasSubstr("has other adapters already (5 virtual tokens)"), HasSubstr("leave --peft_type out")));
  a.peft_type = "bitfit";
  a.num_virtual_tokens = 20;
  EXPECT_THAT(error_of([&] { Trainer(model, a, data(20)); }), HasSubstr("start from their base model"));
  a.peft_type = "";
  a.neftune_noise_alpha = 5;
  EXPECT_THAT(error_of([&] { Trainer(model, a, data(20)); }), HasSubstr("--neftune_noise_alpha is refused"));
}

TEST_F(PromptTuning, WithOptionsThatDoNotFitIsRefused) {
  const auto refused_with = [&](const std::function<void(TrainingArguments&)>& edit) {
    TrainingArguments a = arguments();
    edit(a);
    return refused(a);
  };
  const int64_t positions = base().max_positions();
  EXPECT_THAT(refused_with([](auto& a) { a.lora_r = 4; }),
              HasSubstr("--lora_r is for --peft_type lora, not for prompt_tuning"));
  EXPECT_THAT(refused_with([](auto& a) { a.num_virtual_tokens = 0; }), HasSubstr("num_virtual_tokens"));
  EXPECT_THAT(refused_with([](auto& a) { a.prompt_tuning_init = "TEXT"; }),
              HasSubstr("TEXT needs --prompt_tuning_init_text"));
  EXPECT_THAT(refused_with([](auto& a) { a.prompt_tuning_init_text = "red"; }),
              HasSubstr("is for --prompt_tuning_init TEXT"));
  EXPECT_THAT(refused_with([](auto& a) { a.prompt_tuning_init = "TXT"; }),
              HasSubstr("there are: RANDOM, TEXT"));
  EXPECT_THAT(refused_with([](auto& a) { a.peft_type = "lora"; }),
              HasSubstr("--num_virtual_tokens is for --peft_type prompt_tuning, not for lora"));
  EXPECT_THAT(refused_with([&](auto& a) { a.num_virtual_tokens = positions; }),
              HasSubstr("leave no position for a text"));
  EXPECT_THAT(
      refused_with([&](auto& a) { a.max_seq_length = positions; }),
      AllOf(HasSubstr(fmt::format("and 5 virtual tokens are more than the model's {} positions", positions)),
            HasSubstr(fmt::format("use --max_seq_length {} or less", positions - 5))));
  EXPECT_THAT(refused_with([](auto& a) { a.neftune_noise_alpha = 5; }),
              HasSubstr("--neftune_noise_alpha is refused with virtual tokens"));
}

TEST_F(PromptTuning, FilesThatAreDamagedAreTold) {
  trained(arguments());
  const Json good = read_json(run_ / "out/adapter_config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json config = good;
    config[key] = value;
    write_json(run_ / "out/adapter_config.json", config);
    return error_of([&] { Model::from_pretrained(run_ / "out"); });
  };
  EXPECT_THAT(with("num_virtual_tokens", 6), HasSubstr("tensor prompt_embeddings is [5, 32]"));
  EXPECT_THAT(with("num_virtual_tokens", 0), HasSubstr("must be 1 or more"));
  EXPECT_THAT(with("num_virtual_tokens", "five"), HasSubstr("it must be a count"));
  EXPECT_THAT(with("num_virtual_tokens", 1000000), HasSubstr("leave no position for a text"));
  EXPECT_THAT(with("num_transformer_submodules", 2), HasSubstr("virtual tokens of an encoder-decoder"));
  EXPECT_THAT(with("peft_type", "P_TUNING"),
              HasSubstr("graft has LORA, IA3, PROMPT_TUNING and PREFIX_TUNING"));
}

}  // namespace
}  // namespace graft::train
