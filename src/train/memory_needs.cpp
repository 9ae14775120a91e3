#include "train/memory_needs.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "engine/plan_needs.h"

namespace graft::train {
namespace {

// What a first pass makes resident beside the planned memory. It is needed before that pass, so it cannot be
// read from the process. Measured by mapping (/proc/self/smaps) with AVX2 and AVX-512, 1 to 8 threads, fp32
// and bf16, one to 200 batch shapes: oneDNN's own code 1.7 to 5.0 MB, its generated kernels 0.4 to 4.8 MB,
// heap for its descriptors and the tape 0.4 to 5.5 MB. All together: 15.3 MB at most (training in bf16), 3 MB
// for predictions in fp32. The rest is a margin for the kernels of other CPUs.
constexpr uint64_t kLibraries = uint64_t{24} << 20;
// Stack and allocator of one more thread: what becomes real, and the addresses.
constexpr uint64_t kThread = uint64_t{2} << 20, kThreadAddresses = uint64_t{12} << 20;

// The first `sequences` sequences of a batch, each cut to `length` tokens, with their labels.
data::RaggedBatch part_of(const data::RaggedBatch& batch, int32_t sequences, int32_t length) {
  data::RaggedBatch out;
  const size_t floats = batch.size() > 0 ? batch.float_labels.size() / static_cast<size_t>(batch.size()) : 0;
  size_t label = 0;
  for (int32_t b = 0; b < sequences; ++b) {
    const auto i = static_cast<size_t>(b);
    const int32_t begin = batch.cu_seqlens[i], n = std::min(length, batch.cu_seqlens[i + 1] - begin);
    for (; label < batch.label_rows.size() && batch.label_rows[label] < batch.cu_seqlens[i + 1]; ++label) {
      if (batch.label_rows[label] - begin >= n) continue;
      out.label_rows.push_back(batch.label_rows[label] - begin + out.rows());
      out.labels.push_back(batch.labels[label]);
    }
    if (batch.label_rows.empty() && i < batch.labels.size()) out.labels.push_back(batch.labels[i]);
    out.append(batch.input_ids.data() + begin, batch.token_type_ids.data() + begin, n,
               batch.example_index[i]);
  }
  out.float_labels.assign(batch.float_labels.begin(),
                          batch.float_labels.begin() + static_cast<std::ptrdiff_t>(floats) * sequences);
  return out;
}

// The largest n in [1, below) with fits(n), 0 = none; fits holds for all below one that it holds for.
template <class F>
int32_t largest(int32_t below, F fits) {
  int32_t good = 0;
  for (int32_t bad = below; bad - good > 1;) {
    const int32_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

}  // namespace

std::string MemoryNeeds::text() const {
  std::string out;
  const auto add = [&](const char* name, uint64_t bytes) {
    if (bytes > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, format_bytes(bytes));
  };
  add("gradients", gradients);
  add("AdamW's moments", moments);
  add("activations", arena.total());
  add("weights packed in bf16", packed_weights);
  add("temporary memory", temporary + libraries);
  return out;
}

void MemoryNeeds::include(const MemoryNeeds& other) {
  const auto take = [](auto& mine, auto theirs) { mine = std::max(mine, theirs); };
  take(gradients, other.gradients);
  take(moments, other.moments);
  take(packed_weights, other.packed_weights);
  take(temporary, other.temporary);
  take(libraries, other.libraries);
  take(stacks, other.stacks);
  take(arena.stack, other.arena.stack);
  take(arena.heap, other.arena.heap);
}

MemoryNeeds plan_pass(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                      bool record) {
  engine::TapeOptions options;
  options.training = options.record = record;
  options.bf16 = state.bf16;
  engine::PlanNeeds kernels;
  const engine::Device& device = state.parameters.device();
  engine::Arena arena{engine::Arena::Counting(), device};
  engine::Tape tape(device.plan_kernels(), arena, const_cast<engine::ParameterStore&>(state.parameters),
                    options);
  if (task) {
    const engine::Var loss = tasks::forward_loss(tape, state.network, *task, batch, 1).loss;
    if (record) tape.backward(loss);
  } else {
    state.network.forward(tape, batch);
  }
  MemoryNeeds needs;
  needs.arena = arena.peaks();
  needs.packed_weights = static_cast<uint64_t>(kernels.packed_weights);
  needs.temporary = static_cast<uint64_t>(kernels.temporary(num_threads()));
  needs.libraries = kLibraries + static_cast<uint64_t>(num_threads()) * kThread;
  needs.stacks = static_cast<uint64_t>(num_threads()) * (kThreadAddresses - kThread);
  for (const engine::Parameter& p : state.parameters.parameters()) {
    // Gradients of the rows that the batch reads; the vector grows by doubling.
    if (record && p.row_sparse && p.trainable)
      needs.temporary += static_cast<uint64_t>(2 * 4 * p.cols() * std::min<int64_t>(p.rows(), batch.rows()));
  }
  return needs;
}

MemoryNeeds plan_training(const models::State& state, int64_t rows_read) {
  MemoryNeeds needs;
  needs.gradients = static_cast<uint64_t>(state.parameters.grad_size()) * 4;
  for (const engine::Parameter& p : state.parameters.parameters()) {
    if (!p.trainable) continue;
    const int64_t rows = p.row_sparse && rows_read >= 0 ? std::min(p.rows(), rows_read) : p.rows();
    needs.moments += static_cast<uint64_t>(rows * p.cols()) * 8;
    if (p.row_sparse) needs.moments += static_cast<uint64_t>(p.rows()) * 9;  // slot, last step, touched
  }
  return needs;
}

const MemoryLimit* MemoryBudget::broken_by(const MemoryNeeds& needs) const {
  const MemoryLimit* worst = nullptr;
  for (const MemoryLimit& limit : limits_) {
    const uint64_t needed = limit.addresses ? needs.new_addresses() : needs.total();
    if (needed > limit.left() && (!worst || limit.left() < worst->left())) worst = &limit;
  }
  return worst;
}

void MemoryBudget::check(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                         bool record, const MemoryNeeds& needs, const MemoryNeeds& extra) const {
  const MemoryLimit* limit = broken_by(needs);
  if (!limit) return;
  const auto fits = [&](int32_t sequences, int32_t length) {
    MemoryNeeds smaller = plan_pass(state, task, part_of(batch, sequences, length), record);
    smaller.include(extra);
    return broken_by(smaller) == nullptr;
  };
  const int32_t sequences = largest(batch.size(), [&](int32_t n) { return fits(n, batch.max_len); });
  const int32_t length = sequences > 0 ? 0 : largest(batch.max_len, [&](int32_t n) { return fits(1, n); });
  std::string hint = "use a smaller model, or give the process more memory";
  if (sequences > 0) {
    hint = record ? fmt::format(
                        "use --per_device_train_batch_size {}; with --gradient_accumulation_steps {} the "
                        "result is the same",
                        sequences, (batch.size() + sequences - 1) / sequences)
                  : fmt::format("use --per_device_eval_batch_size {}; the results are the same", sequences);
  } else if (length > 0) {
    hint = fmt::format("use --{} 1 and --max_seq_length {}",
                       record ? "per_device_train_batch_size" : "per_device_eval_batch_size", length);
  }
  fail_with(
      hint,
      "a batch of {} sequences with {} tokens needs {} beside the model, and of {} ({}) {} are left: {}",
      batch.size(), batch.rows(), format_bytes(limit->addresses ? needs.new_addresses() : needs.total()),
      limit->name, format_bytes(limit->limit), format_bytes(limit->left()), needs.text());
}

}  // namespace graft::train
