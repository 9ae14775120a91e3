// Generation with GPT-2 small, random weights: tokens a second against the rate at which memory delivers the
// weights, and the pass over a prompt against raw oneDNN.
#include <unistd.h>

#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/isa.h"
#include "engine/profile.h"
#include "generate/causal_decoder.h"
#include "graft/model.h"
#include "raw_gemm.h"
#include "report.h"

namespace graft::bench {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLayers = 12, kHidden = 768, kWide = 4 * kHidden, kVocabulary = 50257;
constexpr int64_t kPrompt = 16, kRounds = 21, kSteps = 3 * kRounds + 2, kLongPrompt = 512;
constexpr double kLayerWeights = 4.0 * kHidden * kHidden + 2.0 * kHidden * kWide;

Model make_model() {
  const fs::path config = fs::temp_directory_path() / fmt::format("graft-bench-{}.json", ::getpid());
  write_json(config, {{"model_type", "gpt2"},
                      {"vocab_size", kVocabulary},
                      {"n_positions", 1024},
                      {"n_embd", kHidden},
                      {"n_layer", kLayers},
                      {"n_head", 12}});
  ModelOptions options;
  options.task = "causal-lm";
  Model model = Model::from_config(config, options);
  fs::remove(config);
  return model;
}

// Bytes a second that all threads together read from memory: one number of each cache line, so that nothing
// else takes time.
double stream_rate() {
  constexpr int64_t kBlock = 1 << 15, kBlocks = 1 << 10;  // 256 MB
  static const engine::FloatBuffer memory = [] {
    engine::FloatBuffer m(2 * kBlock * kBlocks, engine::default_device());  // in huge pages, as the weights
    std::fill_n(m.data(), m.size(), 1.0f);
    return m;
  }();
  static std::vector<uint64_t> sums(kBlocks);
  const double start = now();
  parallel_for(kBlocks, [&](int64_t b) {
    const auto* p = reinterpret_cast<const uint64_t*>(memory.data()) + b * kBlock;
    uint64_t sum = 0;
    for (int64_t i = 0; i < kBlock; i += 8) {
      __builtin_prefetch(p + i + 256);
      sum += p[i];
    }
    sums[static_cast<size_t>(b)] += sum;
  });
  return 8.0 * kBlock * kBlocks / (now() - start);
}

std::vector<std::vector<int32_t>> make_prompts(int64_t count, int64_t length) {
  std::vector<std::vector<int32_t>> out(static_cast<size_t>(count));
  for (size_t p = 0; p < out.size(); ++p)
    for (int64_t i = 0; i < length; ++i)
      out[p].push_back(static_cast<int32_t>((i * 7919 + static_cast<int64_t>(p) * 31) % kVocabulary));
  return out;
}

// Steps of `batch` sequences.
class Steps {
 public:
  Steps(models::State& state, int64_t batch)
      : decoder_(generate::make_decoder(state, batch, kPrompt + kSteps, true)) {
    for (int32_t i = 0; i < batch; ++i) parents_.push_back(i), tokens_.push_back(100 * i);
    decoder_->start(make_prompts(batch, kPrompt));
  }
  // Mean seconds of n steps.
  double run(int n) {
    const double start = now();
    for (int i = 0; i < n; ++i) decoder_->step(parents_, tokens_);
    return (now() - start) / n;
  }

 private:
  std::unique_ptr<generate::Decoder> decoder_;
  std::vector<int32_t> parents_, tokens_;
};

// Steps and the stream in turn, so that other load on the machine meets both.
void measure_steps(models::State& state, int64_t batch, const Report& report) {
  const double bytes = (kLayers * kLayerWeights + 1.0 * kVocabulary * kHidden) * (state.bf16 ? 2 : 4);
  Steps steps(state, batch);
  steps.run(2);
  stream_rate();
  std::vector<double> tokens, ratios;
  for (int round = 0; round < kRounds; ++round) {
    const double seconds = steps.run(3), limit = stream_rate() / bytes;
    tokens.push_back(static_cast<double>(batch) / seconds);
    ratios.push_back(1 / seconds / limit);
  }
  report.line(fmt::format("generate_gpt2_small_batch{}", batch), median(tokens), "tokens/s",
              median(tokens) / median(ratios));
}

void measure_prompt(models::State& state, const Report& report) {
  const auto decoder = generate::make_decoder(state, 1, kLongPrompt + 1, true);
  const auto prompts = make_prompts(1, kLongPrompt);
  std::vector<double> seconds;
  for (int i = 0; i < 8; ++i) {
    const double start = now();
    decoder->start(prompts);
    if (i >= 1) seconds.push_back(now() - start);
  }
  const double T = kLongPrompt;
  const double flops = kLayers * (2 * T * kLayerWeights + 2 * T * T * kHidden) + 2.0 * kVocabulary * kHidden;
  std::vector<Product> products;
  for (const auto& [in, out] :
       {std::pair{kHidden, 3 * kHidden}, {kHidden, kHidden}, {kHidden, kWide}, {kWide, kHidden}})
    products.push_back({kLongPrompt, in, out, kLayers});
  const double limit = raw_rate(products, state.bf16);
  report.line("prompt_gpt2_small_512", flops / median(seconds) / 1e9, "GFLOP/s", limit / 1e9);
  report.line("prompt_gpt2_small_512_tokens", T / median(seconds), "tokens/s");
}

void run(bool bf16, bool profile, const Report& plain) {
  const Report report = plain.with_dtype(bf16 ? "bf16" : "fp32");
  const Model model = make_model();
  models::State& state = model.state();
  state.bf16 = bf16;
  if (profile) {
    Steps steps(state, 1);
    steps.run(2);
    engine::set_profiling(true);
    const double seconds = steps.run(kSteps - 2);
    std::fprintf(stderr, "a step at batch 1: %.2f ms\n", 1e3 * seconds);
    for (const engine::OperationProfile& p : engine::profile())
      std::fprintf(stderr, "  %-20s %8.3f ms %7.1f GB/s\n", p.name, p.seconds * 1e3 / (kSteps - 2),
                   p.bytes / p.seconds / 1e9);
    engine::set_profiling(false);
  }
  for (const int64_t batch : {1, 8}) measure_steps(state, batch, report);
  measure_prompt(state, report);
}

}  // namespace
}  // namespace graft::bench

// generation_bench [--bf16|--fp32] [--profile] [--json]. Without --bf16 or --fp32: fp32, then bf16 where the
// CPU has it.
int main(int argc, char** argv) try {
  using namespace graft::bench;
  const Report report(argc, argv);
  std::vector<bool> bf16s;
  bool profile = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--bf16" || arg == "--fp32") bf16s.push_back(arg == "--bf16");
    profile |= arg == "--profile";
  }
  graft::engine::cpu::init_isa();
  if (bf16s.empty()) {
    bf16s = {false};
    if (graft::engine::cpu::has_bf16_gemm()) bf16s.push_back(true);
  }
  for (const bool bf16 : bf16s) run(bf16, profile, report);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "generation_bench: %s\n", e.what());
  return 1;
}
