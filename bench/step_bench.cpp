// A whole training step (data, forward, backward, clipping, AdamW) of base-sized models at real lengths,
// against raw oneDNN on the same products. MFU counts useful operations only (bench/README.md).
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/isa.h"
#include "engine/profile.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "raw_gemm.h"
#include "report.h"
#include "tasks/causal_lm.h"
#include "tasks/masked_lm.h"
#include "tasks/seq2seq_lm.h"
#include "tasks/sequence_classification.h"
#include "train/optimizer.h"
#include "train/parameter_choice.h"
#include "train/peft.h"
#include "train/runner.h"

namespace graft::bench {
namespace {

namespace fs = std::filesystem;

struct Setup {
  const char *name, *type, *task;
  int64_t layers, hidden, wide, vocabulary;
};

bool is_modernbert(const Setup& s) { return std::string(s.type) == "modernbert"; }
bool is_deberta(const Setup& s) { return std::string(s.type) == "deberta-v2"; }

Json config_of(const Setup& s) {
  if (std::string(s.type) == "distilbert") {
    return {{"model_type", s.type},          {"dim", s.hidden},      {"n_layers", s.layers},
            {"n_heads", s.hidden / 64},      {"hidden_dim", s.wide}, {"vocab_size", s.vocabulary},
            {"max_position_embeddings", 512}};
  }
  if (std::string(s.type) == "gpt2") {
    return {{"model_type", s.type},    {"n_embd", s.hidden}, {"n_layer", s.layers},
            {"n_head", s.hidden / 64}, {"n_inner", s.wide},  {"vocab_size", s.vocabulary},
            {"n_positions", 1024}};
  }
  if (std::string(s.type) == "t5") {
    return {{"model_type", s.type},
            {"d_model", s.hidden},
            {"d_kv", 64},
            {"d_ff", s.wide},
            {"num_layers", s.layers},
            {"num_heads", s.hidden / 64},
            {"vocab_size", s.vocabulary},
            {"decoder_start_token_id", 0}};
  }
  Json config = {{"model_type", s.type},           {"hidden_size", s.hidden},
                 {"num_hidden_layers", s.layers},  {"num_attention_heads", s.hidden / 64},
                 {"intermediate_size", s.wide},    {"vocab_size", s.vocabulary},
                 {"max_position_embeddings", 514}, {"type_vocab_size", 2}};
  if (is_modernbert(s)) config["pad_token_id"] = 0;
  if (is_deberta(s)) {
    config.update({{"max_position_embeddings", 512},
                   {"type_vocab_size", 0},
                   {"relative_attention", true},
                   {"position_buckets", 256},
                   {"pos_att_type", "p2c|c2p"},
                   {"share_att_key", true},
                   {"norm_rel_ebd", "layer_norm"},
                   {"position_biased_input", false}});
  }
  return config;
}

bool is_mlm(const Setup& s) { return std::string(s.task) == "masked-lm"; }
bool is_causal(const Setup& s) { return std::string(s.task) == "causal-lm"; }
bool is_seq2seq(const Setup& s) { return std::string(s.task) == "seq2seq-lm"; }
// Blocks of 512 tokens instead of SST-2's lengths.
bool is_long(const Setup& s) { return is_mlm(s) || is_causal(s) || is_seq2seq(s); }
constexpr int32_t kTarget = 128;  // tokens of a target

// An encoder-decoder: all rows of both streams, whose head reads every row of the decoder's.
double useful_flops_of_two_streams(const Setup& s, const data::RaggedBatch& batch) {
  const double H = static_cast<double>(s.hidden), I = static_cast<double>(s.wide), B = batch.size(),
               T = batch.rows(), D = batch.decoder.rows(), layers = static_cast<double>(s.layers);
  const double layer = 2 * (T + D) * (4 * H * H + 2 * H * I) + 2 * (T + D) * 2 * H * H;
  const double attention =
      (4 * T * T + 2 * D * D + 4 * T * D) / B * H;  // half of the decoder's keys are seen
  return 3 * (layers * (layer + attention) + 2 * D * H * static_cast<double>(s.vocabulary));
}

// ModernBERT: the first product of the feed-forward part has two halves; of three layers two see 64 tokens to
// each side. All rows pass the last layer's attention.
double useful_flops_of_modernbert(const Setup& s, const data::RaggedBatch& batch) {
  const double H = static_cast<double>(s.hidden), I = static_cast<double>(s.wide), T = batch.rows();
  const double n = is_mlm(s) ? static_cast<double>(batch.label_rows.size()) : batch.size();
  double all = 0, seen = 0;  // pairs of a query and a key in a global and in a local layer
  for (int32_t b = 0; b < batch.size(); ++b) {
    const int64_t L = batch.cu_seqlens[static_cast<size_t>(b) + 1] - batch.cu_seqlens[static_cast<size_t>(b)];
    all += static_cast<double>(L * L);
    for (int64_t i = 0; i < L; ++i)
      seen += static_cast<double>(std::min<int64_t>(L, i + 65) - std::max<int64_t>(0, i - 64));
  }
  const double attention = 2 * T * 3 * H * H, rest = 2 * (H * H + 3 * H * I);
  double layers = 0;
  for (int64_t i = 0; i < s.layers; ++i)
    layers += attention + 4 * (i % 3 == 0 ? all : seen) * H + (i + 1 < s.layers ? T : n) * rest;
  const double head = 2 * n * (H * H + H * (is_mlm(s) ? static_cast<double>(s.vocabulary) : 2));
  return 3 * (layers + head);
}

// DeBERTa, in each layer: products of every query and key with the positions that it sees (two at most for
// each distance, 512 in all), and the projections of these positions.
double flops_of_positions(const Setup& s, const data::RaggedBatch& batch) {
  const double H = static_cast<double>(s.hidden);
  double pairs = 0;
  int64_t longest = 0;
  for (int32_t b = 0; b < batch.size(); ++b) {
    const int64_t L = batch.cu_seqlens[static_cast<size_t>(b) + 1] - batch.cu_seqlens[static_cast<size_t>(b)];
    pairs += static_cast<double>(L * std::min<int64_t>(2 * L - 1, 512));
    longest = std::max(longest, std::min<int64_t>(2 * L - 1, 512));
  }
  return static_cast<double>(s.layers) * (4 * pairs * H + 4 * static_cast<double>(longest) * H * H);
}

// Operations of one step: matrix products of real rows and attention, forward once, backward twice; the last
// layer's query side and the head for the rows that the head reads.
double useful_flops(const Setup& s, const data::RaggedBatch& batch) {
  if (is_seq2seq(s)) return useful_flops_of_two_streams(s, batch);
  if (is_modernbert(s)) return useful_flops_of_modernbert(s, batch);
  const double H = static_cast<double>(s.hidden), I = static_cast<double>(s.wide), T = batch.rows();
  const bool mlm = is_mlm(s);
  const double n = mlm ? static_cast<double>(batch.label_rows.size()) : batch.size();
  double squares = 0, last = 0;  // sum of queries x keys, in a full layer and in the last
  for (int32_t b = 0; b < batch.size(); ++b) {
    const double L = batch.cu_seqlens[static_cast<size_t>(b) + 1] - batch.cu_seqlens[static_cast<size_t>(b)];
    squares += L * L;
    last += L * (mlm ? n / batch.size() : 1);
  }
  if (is_causal(s))  // half of the keys are seen; the head reads every row
    return 3 * (static_cast<double>(s.layers) * (2 * T * (4 * H * H + 2 * H * I) + 2 * squares * H) +
                2 * T * H * static_cast<double>(s.vocabulary));
  const double full = 2 * T * (4 * H * H + 2 * H * I) + 4 * squares * H;
  const double pruned = 2 * T * 2 * H * H + 2 * n * (2 * H * H + 2 * H * I) + 4 * last * H;
  const double head = 2 * n * (H * H + H * (mlm ? static_cast<double>(s.vocabulary) : 2));
  const double positions = is_deberta(s) ? flops_of_positions(s, batch) : 0;
  return 3 * (static_cast<double>(s.layers - 1) * full + pruned + head + positions);
}

std::vector<int32_t> sst2_lengths() {
  const Json json =
      read_json(fs::path(GRAFT_SOURCE_DIR) / ".." / "shared" / "data" / "lengths" / "sst2.json");
  return json.get<std::vector<int32_t>>();
}

// Batch number `i`; ids are arbitrary but spread as a text's are: small ids are frequent.
data::RaggedBatch make_batch(const Setup& s, const std::vector<int32_t>& lengths, int i) {
  data::RaggedBatch batch;
  uint64_t state = static_cast<uint64_t>(i) * 7919 + 1;
  const auto uniform = [&] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<double>(state >> 11) * 0x1p-53;
  };
  const bool mlm = is_mlm(s);
  for (int b = 0; b < (mlm || is_seq2seq(s) ? 8 : is_causal(s) ? 4 : 32); ++b) {
    const int32_t n = is_long(s) ? 512 : lengths[static_cast<size_t>(i * 32 + b) % lengths.size()];
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids)
      id = static_cast<int32_t>(static_cast<double>(s.vocabulary) * std::pow(uniform(), 4));
    for (int32_t r = 0; mlm && r < n; ++r) {
      if (uniform() < 0.15)
        batch.label_rows.push_back(batch.rows() + r), batch.labels.push_back(ids[static_cast<size_t>(r)]);
    }
    if (is_causal(s)) {
      batch.begin_example(b);
      tasks::append_predicted(batch, ids.data(), n, b);
      continue;
    }
    batch.append(ids.data(), nullptr, n, b);
    for (int32_t r = 0; is_seq2seq(s) && r < kTarget; ++r) {
      batch.label_rows.push_back(batch.decoder.rows() + r);
      batch.labels.push_back(ids[static_cast<size_t>(r)]);
    }
    if (is_seq2seq(s)) batch.decoder.add(ids.data() + 1, nullptr, kTarget);
    if (!is_long(s)) batch.labels.push_back(b % 2);
  }
  return batch;
}

Model make_model(const Setup& s) {
  const fs::path config = fs::temp_directory_path() / fmt::format("graft-bench-{}.json", ::getpid());
  write_json(config, config_of(s));
  ModelOptions options;
  options.task = s.task;
  Model model = Model::from_config(config, options);
  fs::remove(config);
  return model;
}

struct Options {
  int steps = 0;  // 0: nine, or three long ones
  bool profile = false;
  std::string optim = TrainingArguments().optim;
};

// Medians over the steps of one setup.
struct Measured {
  double rate, tokens, seconds, optimizer, rows, label_rows;
  double fastest, mean_seconds;
};

class Stepper {
 public:
  Stepper(const Setup& s, bool bf16, const std::string& optim, bool lora = false)
      : s_(s), model_(make_model(s)), state_(model_.state()) {
    arguments_.optim = optim;
    if (lora) {
      state_.origin = fs::temp_directory_path();  // adapters name the folder of their base
      arguments_.peft_type = "lora";
      // Any: LoRA reads no text.
      train::add_adapter(model_, arguments_,
                         *Tokenizer::from_pretrained(GRAFT_SOURCE_DIR "/models/graft-mini"));
    }
    train::choose_parameters(model_, arguments_);
    state_.bf16 = bf16;
    state_.parameters.allocate_grads();
    if (is_mlm(s))
      task_ = std::make_unique<tasks::MaskedLm>();
    else if (is_seq2seq(s))
      task_ = std::make_unique<tasks::Seq2SeqLm>();
    else if (is_causal(s))
      task_ = std::make_unique<tasks::CausalLm>();
    else
      task_ = std::make_unique<tasks::SequenceClassification>(2, "single_label_classification"),
      lengths_ = sst2_lengths();
  }

  Measured measure(int steps) {
    const std::unique_ptr<train::Optimizer> optimizer = train::make_optimizer(state_.parameters, arguments_);
    std::vector<double> rates, tokens, seconds, optimizing, rows, label_rows;
    const int warm_up = is_long(s_) ? 1 : 2;
    for (int i = 0; i < steps + warm_up; ++i) {
      const double start = now();
      const data::RaggedBatch batch = make_batch(s_, lengths_, i);
      memory_.prepare(state_, task_.get(), batch, true);
      const double batched = now();
      optimizer->catch_up(*state_.network.encoder->word_embeddings(), batch.input_ids.data(), batch.rows());
      const double caught_up = now();
      state_.parameters.clear_grads();
      train::accumulate_gradients(state_, *task_, batch, task_->loss_terms(batch), 42,
                                  static_cast<uint64_t>(i), true, memory_);
      const double before = now();
      const double norm = train::grad_norm(state_.parameters);
      optimizer->step(2e-5f, static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6))));
      const double end = now();
      if (i < warm_up) {
        // Switched on again: the sums of the steps that count start here. The table in use stays.
        if (profiled_) engine::set_profiling(true);
        continue;
      }
      rates.push_back(useful_flops(s_, batch) / (end - start));
      tokens.push_back(batch.rows() / (end - start));
      seconds.push_back(end - start);
      optimizing.push_back(end - before + caught_up - batched);
      rows.push_back(batch.rows());
      label_rows.push_back(static_cast<double>(batch.label_rows.size()));
    }
    const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
    return {median(rates),
            median(tokens),
            median(seconds),
            median(optimizing),
            median(rows),
            median(label_rows),
            *std::min_element(seconds.begin(), seconds.end()),
            total / static_cast<double>(seconds.size())};
  }

  // Freezes what the patterns match, and trains everything else.
  void freeze(const std::vector<const char*>& patterns) {
    for (engine::Parameter& p : state_.parameters.parameters()) p.trainable = true;
    for (const char* pattern : patterns)
      for (engine::Parameter* p : state_.parameters.select(pattern)) p->trainable = false;
  }

  // A few steps under the recorder: seconds of each operation in one of them, and of the whole step.
  std::vector<engine::OperationProfile> profile(int steps, double& seconds) {
    engine::set_profiling(true);
    profiled_ = true;
    seconds = measure(steps).mean_seconds;
    std::vector<engine::OperationProfile> out = engine::profile();
    engine::set_profiling(false);
    profiled_ = false;
    for (auto& p : out) p.seconds /= steps, p.flops /= steps, p.bytes /= steps, p.calls /= steps;
    return out;
  }

 private:
  const Setup& s_;
  Model model_;
  TrainingArguments arguments_;
  models::State& state_;
  std::unique_ptr<tasks::Task> task_;
  std::vector<int32_t> lengths_;
  train::StepMemory memory_;
  bool profiled_ = false;
};

double peak_gigabytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1e6;
}

void print_profile(const std::vector<engine::OperationProfile>& profile, double seconds) {
  double rest = seconds;
  std::fprintf(stderr, "  %-24s %6s %9s %7s %9s %7s\n", "operation", "calls", "ms", "share", "GFLOP/s",
               "GB/s");
  for (const engine::OperationProfile& p : profile) {
    std::fprintf(stderr, "  %-24s %6lld %9.2f %6.1f%% %9.1f %7.1f\n", p.name, static_cast<long long>(p.calls),
                 p.seconds * 1e3, 100 * p.seconds / seconds, p.flops / p.seconds / 1e9,
                 p.bytes / p.seconds / 1e9);
    rest -= p.seconds;
  }
  std::fprintf(stderr, "  %-24s %6s %9.2f %6.1f%%\n", "outside operations", "", rest * 1e3,
               100 * rest / seconds);
}

// What the project asks of a setup: peak memory, and the share of the optimizer with the embedding gradient;
// 0 = nothing.
struct Goal {
  double gigabytes, optimizer;
};
Goal goal(const Setup& s, bool bf16) {
  const std::string name = s.name;
  return {name == "bert_base_sst2" ? (bf16 ? 2.5 : 2.8) : 0, name == "xlm_roberta_base_sst2" ? 0.15 : 0};
}

void run(const Setup& s, bool bf16, const Options& options, const Report& plain) {
  const Report report = plain.with_dtype(bf16 ? "bf16" : "fp32");
  Stepper stepper(s, bf16, options.optim);
  const Measured m = stepper.measure(options.steps ? options.steps : is_long(s) ? 3 : 9);
  const double gigabytes = peak_gigabytes();
  double profiled_seconds = 0, scatter = 0;
  std::vector<engine::OperationProfile> profile;
  if (options.profile || !is_long(s)) profile = stepper.profile(is_long(s) ? 1 : 3, profiled_seconds);
  for (const engine::OperationProfile& p : profile)
    scatter += std::string(p.name) == "scatter" ? p.seconds : 0;
  std::vector<Product> products =
      layer_products(static_cast<int64_t>(m.rows), s.hidden, s.wide, static_cast<int>(s.layers));
  if (is_modernbert(s))  // the gate
    append_linear(products, static_cast<int64_t>(m.rows), s.hidden, s.wide, static_cast<double>(s.layers));
  if (is_seq2seq(s)) {
    const auto targets = static_cast<int64_t>(m.label_rows);
    for (const Product& p : layer_products(targets, s.hidden, s.wide, static_cast<int>(s.layers)))
      products.push_back(p);
    append_linear(products, targets, s.hidden, s.hidden, 2 * static_cast<double>(s.layers));
    append_linear(products, static_cast<int64_t>(m.rows), s.hidden, 2 * s.hidden,
                  static_cast<double>(s.layers));
  }
  if (is_long(s)) append_linear(products, static_cast<int64_t>(m.label_rows), s.hidden, s.vocabulary, 1);
  const double limit = raw_rate(products, bf16);
  std::string name = std::string("step_") + s.name;
  if (options.optim != TrainingArguments().optim) name += "_" + options.optim;
  report.line(name, m.rate / 1e9, "GFLOP/s", limit / 1e9);
  report.line(name + "_tokens", m.tokens, "tokens/s");
  report.line(name + "_seconds", m.seconds, "s");
  report.line(name + "_seconds_fastest", m.fastest, "s");
  if (!is_long(s))
    report.line(name + "_optimizer_and_embedding_gradient", (m.optimizer + scatter) / m.seconds, "of step",
                goal(s, bf16).optimizer);
  report.line(name + "_peak_rss", gigabytes, "GB", goal(s, bf16).gigabytes);
  if (options.profile) print_profile(profile, profiled_seconds);
}

constexpr Setup kSetups[] = {
    {"bert_base_sst2", "bert", "sequence-classification", 12, 768, 3072, 30522},
    {"bert_base_mlm512", "bert", "masked-lm", 12, 768, 3072, 30522},
    {"distilbert_sst2", "distilbert", "sequence-classification", 6, 768, 3072, 30522},
    {"roberta_base_sst2", "roberta", "sequence-classification", 12, 768, 3072, 50265},
    {"xlm_roberta_base_sst2", "xlm-roberta", "sequence-classification", 12, 768, 3072, 250002},
    {"modernbert_base_sst2", "modernbert", "sequence-classification", 22, 768, 1152, 50368},
    {"modernbert_base_mlm512", "modernbert", "masked-lm", 22, 768, 1152, 50368},
    {"mpnet_base_sst2", "mpnet", "sequence-classification", 12, 768, 3072, 30527},
    {"mpnet_base_mlm512", "mpnet", "masked-lm", 12, 768, 3072, 30527},
    {"deberta_v3_base_sst2", "deberta-v2", "sequence-classification", 12, 768, 3072, 128100},
    {"deberta_v3_base_mlm512", "deberta-v2", "masked-lm", 12, 768, 3072, 128100},
    {"gpt2_small_lm512", "gpt2", "causal-lm", 12, 768, 3072, 50257},
    {"t5_small_512_128", "t5", "seq2seq-lm", 6, 512, 2048, 32128},
};

// BERT-base with a part frozen: how many times faster its step is than that with everything trained, measured
// in turn. Forward costs one third of a step, the backward pass of half the layers another third.
struct Frozen {
  const char* name;
  std::vector<const char*> patterns;
  double speedup;  // what the project asks for
};
const Frozen kFrozen[] = {
    {"bert_base_sst2_lower6_frozen", {"bert.embeddings.*", "bert.encoder.layer.[0-5].*"}, 1.45},
    {"bert_base_sst2_head_only", {"bert.*"}, 2.7},
};

void run_frozen(const Frozen& frozen, bool bf16, const Options& options, const Report& plain) {
  const Report report = plain.with_dtype(bf16 ? "bf16" : "fp32");
  Stepper stepper(kSetups[0], bf16, options.optim);
  std::vector<double> speedups, seconds;
  for (int round = 0; round < 3; ++round) {
    const int steps = options.steps ? options.steps : 5;
    stepper.freeze({});
    const double all = stepper.measure(steps).seconds;
    stepper.freeze(frozen.patterns);
    seconds.push_back(stepper.measure(steps).seconds);
    speedups.push_back(all / seconds.back());
  }
  report.line(std::string("step_") + frozen.name + "_seconds", median(seconds), "s");
  report.line(std::string("step_") + frozen.name + "_speedup", median(speedups), "x", frozen.speedup);
}

// LoRA of rank 8 on query and value of BERT-base, as `graft train --peft_type lora`: how many times faster
// its step is than a full one, measured in turn, and its peak memory in a process that trains nothing else.
constexpr const char* kLora = "bert_base_sst2_lora";

void measure_lora(bool bf16, const Options& options, const Report& plain) {
  const Report report = plain.with_dtype(bf16 ? "bf16" : "fp32");
  Stepper whole(kSetups[0], bf16, options.optim), lora(kSetups[0], bf16, options.optim, true);
  std::vector<double> speedups, seconds;
  for (int round = 0; round < 3; ++round) {
    const int steps = options.steps ? options.steps : 5;
    const double all = whole.measure(steps).seconds;
    seconds.push_back(lora.measure(steps).seconds);
    speedups.push_back(all / seconds.back());
  }
  report.line(std::string("step_") + kLora + "_seconds", median(seconds), "s");
  report.line(std::string("step_") + kLora + "_speedup", median(speedups), "x", 1.3);
}

// The limit is half of the full step's peak, `whole` gigabytes, of a process of its own.
void measure_lora_memory(bool bf16, const Options& options, double whole, const Report& plain) {
  Stepper stepper(kSetups[0], bf16, options.optim, true);
  stepper.measure(options.steps ? options.steps : 5);
  plain.with_dtype(bf16 ? "bf16" : "fp32")
      .line(std::string("step_") + kLora + "_peak_rss", peak_gigabytes(), "GB", whole / 2);
}

// From the start of a process to the first logits of a checkpoint on disk whose pages are in memory.
void first_forward(const std::string& folder, bool bf16) {
  const Model model = Model::from_pretrained(folder);
  models::State& state = model.state();
  state.bf16 = bf16;
  const data::RaggedBatch batch = make_batch(kSetups[0], {13}, 0);
  train::StepMemory memory;
  memory.prepare(state, nullptr, batch, false);
  engine::Tape tape(engine::cpu_kernels(), memory.arena(), state.parameters, {.bf16 = bf16});
  memory.arena().reset();
  state.network.forward(tape, batch);
}

void measure_start(bool bf16, const char* program, const Report& plain) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("graft-bench-{}", ::getpid());
  make_model(kSetups[0]).save_pretrained(folder);
  std::vector<double> seconds;
  for (int i = 0; i < 6; ++i) {
    const double start = now();
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl(program, program, "--first-forward", folder.c_str(), bf16 ? "--bf16" : "--fp32", nullptr);
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) fail("the process of the first forward failed");
    if (i > 0) seconds.push_back(now() - start);
  }
  fs::remove_all(folder);
  plain.with_dtype(bf16 ? "bf16" : "fp32").line("start_bert_base_first_forward", median(seconds), "s", 0.9);
}

// f in a process of its own: memory that one setup used does not count for the next.
template <class F>
bool apart(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    f();
    std::fflush(nullptr);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0;
}

// The number that f returns in a process of its own.
template <class F>
bool number_of_process(double& number, F f) {
  int ends[2];
  if (::pipe(ends) != 0) return false;
  const bool ok = apart([&] {
    const double result = f();
    if (::write(ends[1], &result, sizeof result) != sizeof result) ::_exit(1);
  });
  const bool read = ok && ::read(ends[0], &number, sizeof number) == sizeof number;
  ::close(ends[0]);
  ::close(ends[1]);
  return read;
}

}  // namespace
bool is_name(const std::string& name) {
  const auto has = [&](const auto& list) {
    return std::any_of(std::begin(list), std::end(list), [&](const auto& one) { return name == one.name; });
  };
  return has(kSetups) || has(kFrozen) || name == kLora || name == "start";
}

// The exit code. `wrong`: the argument that there is not; "": it was asked for.
int usage(const std::string& wrong) {
  if (!wrong.empty()) std::fprintf(stderr, "step_bench: there is no %s\n", wrong.c_str());
  std::string text =
      "step_bench [NAME...] [--bf16|--fp32] [--steps N] [--optim NAME] [--profile] [--json]; names: start";
  for (const Setup& s : kSetups) text += std::string(", ") + s.name;
  for (const Frozen& f : kFrozen) text += std::string(", ") + f.name;
  std::fprintf(wrong.empty() ? stdout : stderr, "%s, %s\n", text.c_str(), kLora);
  return wrong.empty() ? 0 : 2;
}

}  // namespace graft::bench

// step_bench [NAME...] [--bf16|--fp32] [--steps N] [--optim NAME] [--profile] [--json]; names: those of
// kSetups and kFrozen, bert_base_sst2_lora, and start. Without --bf16 or --fp32: fp32, then bf16 where the
// CPU has it.
int main(int argc, char** argv) try {
  using namespace graft::bench;
  const Report report(argc, argv);
  std::vector<std::string> names;
  std::vector<bool> bf16s;
  std::string folder;
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--bf16" || arg == "--fp32")
      bf16s.push_back(arg == "--bf16");
    else if (arg == "--optim" && i + 1 < argc)
      options.optim = argv[++i];
    else if (arg == "--steps" && i + 1 < argc)
      options.steps = std::atoi(argv[++i]);
    else if (arg == "--first-forward" && i + 1 < argc)
      folder = argv[++i];
    else if (arg == "--profile")
      options.profile = true;
    else if (is_name(arg))
      names.push_back(arg);
    else if (arg != "--json")
      return usage(arg == "--help" ? "" : arg);
  }
  graft::engine::cpu::init_isa();
  if (bf16s.empty()) {
    bf16s = {false};
    if (graft::engine::cpu::has_bf16_gemm()) bf16s.push_back(true);
  }
  if (!folder.empty()) {
    first_forward(folder, bf16s.front());
    std::fflush(nullptr);
    ::_exit(0);  // what follows the first forward is not measured
  }
  bool ok = true;
  const auto wanted = [&](const std::string& name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const bool bf16 : bf16s) {
    for (const Setup& s : kSetups) {
      if (wanted(s.name)) ok &= apart([&] { run(s, bf16, options, report); });
    }
    for (const Frozen& f : kFrozen) {
      if (wanted(f.name)) ok &= apart([&] { run_frozen(f, bf16, options, report); });
    }
    if (wanted(kLora)) {
      ok &= apart([&] { measure_lora(bf16, options, report); });
      double whole = 0;
      ok &= number_of_process(whole, [&] {
        Stepper stepper(kSetups[0], bf16, options.optim);
        stepper.measure(options.steps ? options.steps : 5);
        return peak_gigabytes();
      });
      ok &= apart([&] { measure_lora_memory(bf16, options, whole, report); });
    }
    if (wanted("start")) ok &= apart([&] { measure_start(bf16, argv[0], report); });
  }
  return ok ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "step_bench: %s\n", e.what());
  return 1;
}
