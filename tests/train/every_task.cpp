#include "train/every_task.h"

#include "base/philox.h"
#include "models/generator.h"
#include "models/registry.h"
#include "models/state.h"

namespace graft::test {

std::vector<TaskCase> every_task() {
  std::vector<TaskCase> cases;
  for (const tasks::TaskEntry* task : tasks::task_table()) {
    const std::string name = task->head->task;
    if (name == "sequence-classification") {
      for (const char* kind : {"single", "multi", "regression"}) cases.push_back({task, kind});
    } else if (name == "sentence-embedding") {
      for (const char* kind : {"CosineSimilarityLoss", "MultipleNegativesRankingLoss"})
        cases.push_back({task, kind});
    } else {
      cases.push_back({task, ""});
    }
  }
  return cases;
}

namespace {

// A small masked language model whose embeddings are those of the discriminator.
void give_generator(const Model& model, const Json& config, const TinyRun& run) {
  Json smaller = config;
  smaller.update(
      {{"hidden_size", 16}, {"num_attention_heads", 2}, {"num_hidden_layers", 1}, {"intermediate_size", 32}});
  write_json(run / "generator.json", smaller);
  ModelOptions options;
  options.task = models::kMaskedLm.task;
  Model::from_config(run / "generator.json", options).save_pretrained(run / "generator");
  models::add_generator(model.state(), run / "generator");
}

}  // namespace

Model EveryTask::model(const TaskCase& c) const {
  const std::string task = c.task->head->task;
  const int64_t vocabulary = sizes_.vocab_size > 0 ? sizes_.vocab_size : run_.tokenizer()->vocab_size();
  Json config = {{"vocab_size", vocabulary}, {"initializer_range", 0.1}, {"pad_token_id", 0}};
  if (task == "causal-lm") {
    config.update({{"model_type", "gpt2"},
                   {"n_embd", sizes_.hidden_size},
                   {"n_layer", sizes_.layers},
                   {"n_head", sizes_.heads},
                   {"n_inner", sizes_.intermediate_size},
                   {"n_positions", sizes_.max_positions},
                   {"resid_pdrop", 0.1},
                   {"embd_pdrop", 0.1},
                   {"attn_pdrop", 0.1}});
  } else if (task == "seq2seq-lm") {
    config.update({{"model_type", "t5"},
                   {"d_model", sizes_.hidden_size},
                   {"d_kv", sizes_.hidden_size / sizes_.heads},
                   {"d_ff", sizes_.intermediate_size},
                   {"num_layers", sizes_.layers},
                   {"num_heads", sizes_.heads},
                   {"dropout_rate", 0.1},
                   {"decoder_start_token_id", 0},
                   {"eos_token_id", 3}});  // [SEP]
  } else {
    config.update({{"model_type", "bert"},
                   {"hidden_size", sizes_.hidden_size},
                   {"num_hidden_layers", sizes_.layers},
                   {"num_attention_heads", sizes_.heads},
                   {"intermediate_size", sizes_.intermediate_size},
                   {"max_position_embeddings", sizes_.max_positions},
                   {"hidden_dropout_prob", 0.1},
                   {"attention_probs_dropout_prob", 0.1}});
  }
  const bool has_generator = c.task->head == &models::kReplacedTokenDetection;
  if (has_generator) config.update({{"model_type", "electra"}, {"embedding_size", 16}});
  const std::filesystem::path file = run_ / (task + ".json");
  write_json(file, config);
  ModelOptions options;
  options.task = task;
  if (c.kind == "single" || c.kind == "multi") options.labels = {"blue", "green", "red"};
  if (c.kind == "regression") options.labels = {"LABEL_0"};
  if (task == "token-classification") options.labels = {"O", "B-COLOUR", "I-COLOUR"};
  const Model model = Model::from_config(file, options);
  if (has_generator) give_generator(model, config, run_);
  return model;
}

namespace {

const char* const kColours[] = {"blue", "green", "red"};

// Words without meaning, with a colour among them.
std::string text_with(PhiloxStream& draws, const TaskSizes& sizes, const std::string& colour) {
  const auto spread = static_cast<uint64_t>(sizes.longest - sizes.shortest + 1);
  const uint64_t words = static_cast<uint64_t>(sizes.shortest) + draws.below(spread), at = draws.below(words);
  std::string out;
  for (uint64_t i = 0; i < words; ++i) {
    if (!out.empty()) out += ' ';
    out += i == at ? colour : std::string{"bdfgklmn"[draws.below(8)], "aeiou"[draws.below(5)]};
  }
  return out;
}

}  // namespace

Dataset EveryTask::rows(const TaskCase& c, int n, uint64_t seed) const {
  PhiloxStream draws(philox_key(seed, 0, "every task"));
  std::vector<Example> examples(static_cast<size_t>(n));
  for (Example& e : examples) {
    const uint64_t which = draws.below(3);
    const std::string colour = kColours[which];
    e.text = text_with(draws, sizes_, colour);
    switch (c.task->input) {
      case tasks::Input::labelled_rows:
        e.labels = {c.kind == "regression" ? std::to_string(static_cast<double>(which) / 4) : colour};
        if (c.kind == "multi") e.labels.emplace_back(kColours[(which + 1) % 3]);
        break;
      case tasks::Input::tagged_words:
        for (size_t begin = 0; begin <= e.text.size();) {
          const size_t end = std::min(e.text.find(' ', begin), e.text.size());
          const std::string word = e.text.substr(begin, end - begin);
          e.words.push_back({word, word == colour ? "B-COLOUR" : "O"});
          begin = end + 1;
        }
        break;
      case tasks::Input::source_and_target:
        e.target = colour + " " + text_with(draws, sizes_, colour);
        e.has_target = true;
        break;
      case tasks::Input::text_tuples:
        e.has_pair = true;
        e.text_pair = text_with(draws, sizes_, colour);
        e.has_score = c.kind == "CosineSimilarityLoss";
        e.score = static_cast<double>(which) / 4;
        break;
      case tasks::Input::questions:
        e.text_pair = std::exchange(e.text, "up down");
        e.has_pair = true;
        e.answers = {{colour, static_cast<int64_t>(e.text_pair.find(colour))}};
        break;
      case tasks::Input::choices:
        e.has_pair = true;
        for (uint64_t choice = 0; choice < 3; ++choice)
          e.choices.push_back(text_with(draws, sizes_, choice == which ? "up" : "down"));
        e.labels = {std::to_string(which)};
        break;
      case tasks::Input::text:
        break;
    }
  }
  return Dataset(std::move(examples));
}

TaskData EveryTask::data(const TaskCase& c, int train, int eval) const {
  if (c.task->input != tasks::Input::text)
    return {rows(c, train, 1), eval > 0 ? rows(c, eval, 2) : Dataset(), run_.tokenizer()};
  const auto file = [&](const char* name, int n, uint64_t seed) {
    PhiloxStream draws(philox_key(seed, 0, "every task"));
    std::string text;
    for (int i = 0; i < n; ++i) text += text_with(draws, sizes_, kColours[i % 3]) + "\n";
    return run_.dir().write(name, text);
  };
  std::vector<std::filesystem::path> eval_files;
  if (eval > 0) eval_files.push_back(file("eval.txt", eval, 2));
  return TaskData::text({file("train.txt", train, 1)}, eval_files, run_.tokenizer());
}

TrainingArguments EveryTask::arguments(const TaskCase& c) const {
  TrainingArguments a = run_.arguments();
  const std::string task = c.task->head->task;
  if (c.task->input == tasks::Input::text) a.line_by_line = true;
  if (task == "question-answering") a.doc_stride = 2;
  if (task == "sentence-embedding") {
    a.loss = c.kind;
    // In-batch negatives are those of a step, however it is cut.
    a.gradient_cache = c.kind == "MultipleNegativesRankingLoss";
  }
  return a;
}

}  // namespace graft::test
