// A whole training step (data, forward, backward, clipping, AdamW) of base-sized models at real lengths,
// against raw oneDNN on the same products. MFU counts useful operations only (bench/README.md).
#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/json.h"
#include "base/threads.h"
#include "engine/cpu/isa.h"
#include "graft/model.h"
#include "raw_gemm.h"
#include "report.h"
#include "tasks/masked_lm.h"
#include "tasks/sequence_classification.h"
#include "train/adamw.h"
#include "train/runner.h"

namespace graft::bench {
namespace {

namespace fs = std::filesystem;

struct Setup {
  const char *name, *type, *task;
  int64_t layers, hidden, wide, vocabulary;
};

Json config_of(const Setup& s) {
  if (std::string(s.type) == "distilbert") {
    return {{"model_type", s.type},          {"dim", s.hidden},      {"n_layers", s.layers},
            {"n_heads", s.hidden / 64},      {"hidden_dim", s.wide}, {"vocab_size", s.vocabulary},
            {"max_position_embeddings", 512}};
  }
  return {{"model_type", s.type},           {"hidden_size", s.hidden},
          {"num_hidden_layers", s.layers},  {"num_attention_heads", s.hidden / 64},
          {"intermediate_size", s.wide},    {"vocab_size", s.vocabulary},
          {"max_position_embeddings", 514}, {"type_vocab_size", 2}};
}

// Operations of one step: matrix products of real rows and attention, forward once, backward twice; the last
// layer's query side and the head for the rows that the head reads.
double useful_flops(const Setup& s, const data::RaggedBatch& batch) {
  const double H = static_cast<double>(s.hidden), I = static_cast<double>(s.wide), T = batch.rows();
  const bool mlm = std::string(s.task) == "masked-lm";
  const double n = mlm ? static_cast<double>(batch.label_rows.size()) : batch.size();
  double squares = 0, last = 0;  // sum of queries x keys, in a full layer and in the last
  for (int32_t b = 0; b < batch.size(); ++b) {
    const double L = batch.cu_seqlens[static_cast<size_t>(b) + 1] - batch.cu_seqlens[static_cast<size_t>(b)];
    squares += L * L;
    last += L * (mlm ? n / batch.size() : 1);
  }
  const double full = 2 * T * (4 * H * H + 2 * H * I) + 4 * squares * H;
  const double pruned = 2 * T * 2 * H * H + 2 * n * (2 * H * H + 2 * H * I) + 4 * last * H;
  const double head = 2 * n * (H * H + H * (mlm ? static_cast<double>(s.vocabulary) : 2));
  return 3 * (static_cast<double>(s.layers - 1) * full + pruned + head);
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
  const bool mlm = std::string(s.task) == "masked-lm";
  for (int b = 0; b < (mlm ? 8 : 32); ++b) {
    const int32_t n = mlm ? 512 : lengths[static_cast<size_t>(i * 32 + b) % lengths.size()];
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids)
      id = static_cast<int32_t>(static_cast<double>(s.vocabulary) * std::pow(uniform(), 4));
    for (int32_t r = 0; mlm && r < n; ++r) {
      if (uniform() < 0.15)
        batch.label_rows.push_back(batch.rows() + r), batch.labels.push_back(ids[static_cast<size_t>(r)]);
    }
    batch.append(ids.data(), nullptr, n, b);
    if (!mlm) batch.labels.push_back(b % 2);
  }
  return batch;
}

void run(const Setup& s, bool bf16, int steps, const Report& report) {
  const fs::path config = fs::temp_directory_path() / "graft-bench-config.json";
  write_json(config, config_of(s));
  ModelOptions options;
  options.task = s.task;
  const Model model = Model::from_config(config, options);
  fs::remove(config);
  models::State& state = model.state();
  state.bf16 = bf16;
  state.parameters.allocate_grads();
  train::AdamW optimizer(state.parameters, engine::cpu_kernels(), {});
  std::unique_ptr<tasks::Task> task = std::make_unique<tasks::MaskedLm>();
  if (std::string(s.task) != "masked-lm")
    task = std::make_unique<tasks::SequenceClassification>(2, "single_label_classification");
  const std::vector<int32_t> lengths =
      std::string(s.task) == "masked-lm" ? std::vector<int32_t>() : sst2_lengths();
  train::StepMemory memory;
  std::vector<double> rates, tokens, seconds, optimizer_share;
  for (int i = 0; i < steps + 2; ++i) {
    const double start = now();
    const data::RaggedBatch batch = make_batch(s, lengths, i);
    memory.prepare(state, task.get(), batch, true);
    optimizer.catch_up(*state.network.encoder->word_embeddings(), batch.input_ids.data(), batch.rows());
    state.parameters.clear_grads();
    train::accumulate_gradients(state, *task, batch, task->loss_terms(batch), 42, static_cast<uint64_t>(i),
                                true, memory);
    const double before = now();
    const double norm = optimizer.grad_norm();
    optimizer.step(2e-5f, static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6))));
    const double end = now();
    if (i < 2) continue;
    rates.push_back(useful_flops(s, batch) / (end - start));
    tokens.push_back(batch.rows() / (end - start));
    seconds.push_back(end - start);
    optimizer_share.push_back((end - before) / (end - start));
  }
  const int64_t T = std::string(s.task) == "masked-lm" ? 4096 : 424;
  const double limit = raw_rate(layer_products(T, s.hidden, s.wide), bf16);
  const std::string name = std::string("step_") + s.name + (bf16 ? "_bf16" : "_fp32");
  report.line(name, median(rates) / 1e9, "GFLOP/s", limit / 1e9);
  report.line(name + "_tokens", median(tokens), "tokens/s");
  report.line(name + "_seconds", median(seconds), "s");
  report.line(name + "_optimizer_share", median(optimizer_share), "of step");
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  report.line(name + "_peak_rss", static_cast<double>(usage.ru_maxrss) / 1e6, "GB");
}

constexpr Setup kSetups[] = {
    {"bert_base_sst2", "bert", "sequence-classification", 12, 768, 3072, 30522},
    {"bert_base_mlm512", "bert", "masked-lm", 12, 768, 3072, 30522},
    {"distilbert_sst2", "distilbert", "sequence-classification", 6, 768, 3072, 30522},
    {"roberta_base_sst2", "roberta", "sequence-classification", 12, 768, 3072, 50265},
    {"xlm_roberta_base_sst2", "xlm-roberta", "sequence-classification", 12, 768, 3072, 250002},
};

}  // namespace
}  // namespace graft::bench

// step_bench [NAME...] [--bf16|--fp32] [--steps N] [--json]
int main(int argc, char** argv) {
  using namespace graft::bench;
  const Report report(argc, argv);
  std::vector<std::string> names;
  bool bf16 = false;
  int steps = 9;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--bf16")
      bf16 = true;
    else if (arg == "--steps" && i + 1 < argc)
      steps = std::atoi(argv[++i]);
    else if (!arg.starts_with("--"))
      names.push_back(arg);
  }
  for (const Setup& s : kSetups) {
    if (names.empty() || std::find(names.begin(), names.end(), s.name) != names.end())
      run(s, bf16, steps, report);
  }
}
