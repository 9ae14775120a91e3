#include "train/plan_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/evaluation.h"
#include "train/hidden_cache.h"
#include "train/optimizer_state.h"
#include "train/plan.h"

namespace graft::train {

std::vector<int64_t> longest_examples(const tasks::Features& features, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(features.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto end = order.begin() + std::min<std::ptrdiff_t>(std::ssize(order), n);
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    const int32_t la = features.length(a), lb = features.length(b);
    return la != lb ? la > lb : a < b;
  });
  order.erase(end, order.end());
  return order;
}

namespace {

// Rows of look-up tables that get moments: those of the tokens that occur; all (-1) where decay moves every
// row, or where so much data is read that most of them will.
int64_t rows_read(const Trainer::Parts& parts) {
  const engine::Parameter* words = parts.model.state().network.encoder->word_embeddings();
  constexpr int64_t kScanned = int64_t{1} << 18;
  if (!words->row_sparse || decay_of(*words, parts.arguments.weight_decay) != 0 ||
      parts.features.train->size() > kScanned)
    return -1;
  std::vector<bool> seen(static_cast<size_t>(words->rows()));
  int64_t rows = 0;
  data::RaggedBatch batch;
  for (int64_t i = 0; i < parts.features.train->size() && rows < words->rows(); ++i) {
    batch.clear();
    parts.features.train->append(batch, i, 0, 0);
    for (const std::vector<int32_t>* ids : {&batch.input_ids, &batch.decoder.input_ids}) {
      for (const int32_t id : *ids) {
        if (id < 0 || id >= words->rows() || seen[static_cast<size_t>(id)]) continue;
        seen[static_cast<size_t>(id)] = true;
        ++rows;
      }
    }
  }
  return rows;
}

// Of the batches that are filled to a number of tokens, which have the same lengths in every epoch: that with
// most tokens, that with most examples and that with the longest one.
std::vector<std::vector<int64_t>> largest_of_tokens(const tasks::Features& features, data::Sampler& sampler,
                                                    int64_t max_tokens) {
  std::array<std::vector<int64_t>, 3> largest;
  std::array<int64_t, 3> sizes{};
  const auto length = [&](int64_t example) { return features.length(example); };
  for (int64_t b = 0; b < sampler.num_batches(); ++b) {
    const std::vector<int64_t> examples = sampler.batch(0, b);  // of all ranks
    size_t begin = 0;
    for (const size_t end : data::token_cuts(examples, length, max_tokens)) {
      const std::vector<int64_t> batch(examples.begin() + static_cast<std::ptrdiff_t>(begin),
                                       examples.begin() + static_cast<std::ptrdiff_t>(end));
      int64_t tokens = 0, longest = 0;
      for (const int64_t example : batch) {
        tokens += length(example);
        longest = std::max<int64_t>(longest, length(example));
      }
      const std::array<int64_t, 3> size = {tokens, std::ssize(batch), longest};
      for (size_t i = 0; i < size.size(); ++i)
        if (size[i] > sizes[i]) sizes[i] = size[i], largest[i] = batch;
      begin = end;
    }
  }
  return {largest.begin(), largest.end()};
}

// The batches that need most memory: of the longest examples where any may meet in a batch.
std::vector<std::vector<int64_t>> largest_batches(const tasks::Features& features, data::Sampler& sampler,
                                                  const TrainingArguments& a) {
  if (a.max_tokens_per_batch > 0) return largest_of_tokens(features, sampler, a.max_tokens_per_batch);
  const int64_t in_a_pass =
      a.gradient_cache
          ? std::min(a.mini_batch_size, a.per_device_train_batch_size * a.gradient_accumulation_steps)
          : a.per_device_train_batch_size;
  return {longest_examples(features, in_a_pass)};
}

data::RaggedBatch batch_of(const tasks::Features& features, const std::vector<int64_t>& examples,
                           int64_t epoch) {
  data::RaggedBatch batch;
  for (size_t i = 0; i < examples.size(); ++i)
    features.append(batch, examples[i], static_cast<int64_t>(i), epoch);
  return batch;
}

PassSize decided_by(const TrainingArguments& a) {
  return a.gradient_cache             ? PassSize::mini_batch_size
         : a.max_tokens_per_batch > 0 ? PassSize::max_tokens
                                      : PassSize::batch_size;
}

// The smallest of the ranks' numbers.
int64_t smallest(int64_t mine, engine::Collective& ranks) {
  if (ranks.size() == 1) return mine;
  for (const std::vector<std::byte>& bytes : ranks.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    int64_t other = 0;
    std::memcpy(&other, bytes.data(), sizeof other);
    mine = std::min(mine, other);
  }
  return mine;
}

// Cuts `batch`, the largest of a rank, to as few equal pieces as fit: auto_find_batch_size. A batch of which
// no example fits stays whole, and StepMemory::prepare refuses it.
void fit_batch(Trainer::Parts& p, std::vector<int64_t>& largest, data::RaggedBatch& batch) {
  const TrainingArguments& a = p.arguments;
  p.examples_in_a_pass = 0;
  if (!a.auto_find_batch_size || (p.features.task->couples_examples() && !a.gradient_cache)) return;
  const int64_t all = batch.num_examples(),
                fits = smallest(p.memory.largest_batch(p.model.state(), p.features.task.get(), batch, true),
                                *p.collective);
  if (fits == 0 || fits >= all) {
    if (fits >= all)
      log_info("--auto_find_batch_size: {} examples fit into memory; every batch is computed at once", all);
    return;
  }
  const int64_t pieces = (all + fits - 1) / fits;
  p.examples_in_a_pass = (all + pieces - 1) / pieces;
  log_info(
      "--auto_find_batch_size: {} examples fit into memory at once: a batch of {} is computed in {} pieces "
      "of at "
      "most {}; steps, learning rates and results stay those of the whole batch",
      fits, all, pieces, p.examples_in_a_pass);
  largest.resize(static_cast<size_t>(p.examples_in_a_pass));
  batch = batch_of(*p.features.train, largest, 0);
}

void plan_evaluation(Trainer::Parts& p) {
  if (!p.arguments.do_eval.value_or(false)) return;
  const auto plan = [&](const tasks::Features* features) {
    if (!features || features->size() == 0) return;
    const ReadsCacheOf cache(p, *features);
    const std::vector<int64_t> longest = longest_examples(*features, evaluation_batch_size(p, *features));
    p.memory.prepare(p.model.state(), p.features.task.get(), batch_of(*features, longest, -1), false);
  };
  plan(p.features.eval.get());
  for (const Trainer::Parts::NamedFeatures& set : p.evaluation_sets) plan(set.features.get());
}

}  // namespace

void plan_memory(Trainer::Parts& p, data::Sampler& sampler, uint64_t copy_for_saves) {
  const tasks::Features& features = *p.features.train;
  std::vector<std::vector<int64_t>> largest = largest_batches(features, sampler, p.arguments);
  p.memory.expect_training(p.model.state(), rows_read(p), decided_by(p.arguments), p.arguments);
  data::RaggedBatch batch;
  for (auto examples = largest.rbegin(); examples != largest.rend(); ++examples) {  // the first one is logged
    batch = batch_of(features, *examples, 0);
    check_batch(batch, p.model);
    fit_batch(p, *examples, batch);
    p.memory.prepare(p.model.state(), p.features.task.get(), batch, true);
  }
  plan_evaluation(p);
  if (copy_for_saves > 0) p.memory.expect_copy(copy_for_saves, p.arguments.background_save.value_or(false));
  const uint64_t weights = static_cast<uint64_t>(p.model.state().parameters.value_size()) * sizeof(float),
                 rest = p.memory.in_use() - std::min(p.memory.in_use(), weights);
  log_info(
      "memory of a step: {:.1f} MB for the largest batch ({} sequences, {} tokens). Predicted peak of the "
      "process: "
      "{}: weights {}, data and program {}, {}",
      static_cast<double>(p.memory.bytes()) / 1e6, batch.size(), batch.all_rows(),
      format_bytes(p.memory.predicted_peak()), format_bytes(weights), format_bytes(rest),
      p.memory.needs().text());
}

std::vector<std::vector<int64_t>> pieces(std::vector<std::vector<int64_t>> batches, const Trainer::Parts& p) {
  if (p.examples_in_a_pass == 0) return batches;
  const int64_t at_once = p.examples_in_a_pass * p.collective->size();
  std::vector<std::vector<int64_t>> out;
  for (const std::vector<int64_t>& batch : batches) {
    const int64_t n = std::ssize(batch), parts = (n + at_once - 1) / at_once;
    for (int64_t i = 0; i < parts; ++i)
      out.emplace_back(batch.begin() + i * n / parts, batch.begin() + (i + 1) * n / parts);
  }
  return out;
}

void provide_memory(Trainer::Parts& parts, const data::RaggedBatch& batch) {
  const size_t before = parts.memory.bytes();
  parts.memory.prepare(parts.model.state(), parts.features.task.get(), batch, true);
  if (parts.memory.bytes() == before) return;
  log_info("memory of a step: grown to {:.1f} MB ({} sequences, {} tokens, {} of them predicted)",
           static_cast<double>(parts.memory.bytes()) / 1e6, batch.size(), batch.all_rows(),
           batch.label_rows.size());
}

}  // namespace graft::train
