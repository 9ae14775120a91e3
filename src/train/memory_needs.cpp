#include "train/memory_needs.h"

#include <algorithm>

#include "base/error.h"
#include "train/mixout.h"
#include "train/optim_choice.h"
#include "train/optimizer.h"
#include "train/weight_average.h"

namespace graft::train {
namespace {

// The first `examples` examples of a batch, their sequences cut to `length` tokens each, with their labels.
data::RaggedBatch part_of(const data::RaggedBatch& batch, int32_t examples, int32_t length) {
  data::RaggedBatch out;
  const bool two_streams = batch.decoder.size() > 0;
  const std::vector<int32_t>& ends = batch.outputs().cu_seqlens;
  size_t label = 0;
  for (int32_t e = 0; e < examples; ++e) {
    const auto example = static_cast<size_t>(e);
    out.begin_example(batch.examples[example]);
    for (int32_t b = batch.cu_examples[example]; b < batch.cu_examples[example + 1]; ++b) {
      const auto i = static_cast<size_t>(b);
      const int32_t begin = batch.cu_seqlens[i], n = std::min(length, batch.cu_seqlens[i + 1] - begin);
      const int32_t first = ends[i], read = std::min(length, ends[i + 1] - first);
      for (; label < batch.label_rows.size() && batch.label_rows[label] < ends[i + 1]; ++label) {
        if (batch.label_rows[label] - first >= read) continue;
        const data::Sequences& before = two_streams ? out.decoder : out;
        out.label_rows.push_back(batch.label_rows[label] - first + before.rows());
        out.labels.push_back(batch.labels[label]);
      }
      if (!batch.start_positions.empty()) {
        out.start_positions.push_back(std::min(n - 1, batch.start_positions[i]));
        out.end_positions.push_back(std::min(n - 1, batch.end_positions[i]));
      }
      out.append_sequence(batch.input_ids.data() + begin, batch.token_type_ids.data() + begin, n,
                          batch.sequence_keys[i]);
      if (two_streams) out.decoder.add(batch.decoder.input_ids.data() + first, nullptr, read);
    }
    if (batch.label_rows.empty() && example < batch.labels.size())
      out.labels.push_back(batch.labels[example]);
  }
  const auto width =
      static_cast<std::ptrdiff_t>(batch.float_labels.size()) / std::max(1, batch.num_examples());
  out.float_labels.assign(batch.float_labels.begin(), batch.float_labels.begin() + width * examples);
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

MemoryNeeds plan_pass(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                      bool record) {
  engine::TapeOptions options;
  options.training = options.record = record;
  options.bf16 = state.bf16;
  options.packed_fp32 = !record && state.packed_fp32;
  options.checkpoints = state.gradient_checkpointing;
  MemoryNeeds needs = engine::plan_needs(state.parameters, options, [&](engine::Tape& tape) {
    if (task) {
      const engine::Var loss = tasks::forward_loss(tape, state.network, *task, batch, 1).loss;
      if (record) tape.backward(loss);
    } else {
      state.network.forward(tape, batch);
    }
  });
  for (const engine::Parameter& p : state.parameters.parameters()) {
    // Gradients of the rows that the batch reads; the vector grows by doubling.
    if (record && p.row_sparse && p.trainable)
      needs.temporary +=
          static_cast<uint64_t>(2 * 4 * p.cols() * std::min<int64_t>(p.rows(), batch.all_rows()));
  }
  return needs;
}

MemoryNeeds plan_training(const models::State& state, int64_t rows_read, const TrainingArguments& arguments) {
  MemoryNeeds needs;
  needs.gradients = static_cast<uint64_t>(state.parameters.grad_size()) * 4;
  needs.moments = state_bytes(state.parameters, arguments, rows_read) +
                  static_cast<uint64_t>(average_bytes(state.parameters, arguments) +
                                        (arguments.mixout > 0 ? Mixout::state_bytes(state.parameters) : 0));
  if (!is_adamw(arguments)) needs.moments_name = "the optimizer's state";
  if (average_kind(arguments) != AverageKind::none || arguments.mixout > 0)
    needs.moments_name = "the optimizer's state and copies of the weights";
  return needs;
}

namespace {

// What to give instead of a training batch that does not fit; a part of it does.
std::string training_hint(const tasks::Task* task, const data::RaggedBatch& fits, int32_t all,
                          PassSize decided_by) {
  const int32_t n = fits.num_examples();
  if (decided_by == PassSize::mini_batch_size)
    return fmt::format("use --mini_batch_size {}; the result is the same", n);
  if (decided_by == PassSize::max_tokens)
    return fmt::format("use --max_tokens_per_batch {}", fits.all_rows());
  if (task && task->couples_examples())
    return fmt::format("use --gradient_cache true and --mini_batch_size {}; the result is the same", n);
  return fmt::format(
      "use --per_device_train_batch_size {}; with --gradient_accumulation_steps {} the result is the same. "
      "--auto_find_batch_size true divides a batch that does not fit",
      n, (all + n - 1) / n);
}

}  // namespace

int32_t MemoryBudget::largest_batch(const models::State& state, const tasks::Task* task,
                                    const data::RaggedBatch& batch, bool record,
                                    const MemoryNeeds& extra) const {
  return largest(batch.num_examples() + 1, [&](int32_t n) {
    MemoryNeeds needs = plan_pass(state, task, part_of(batch, n, batch.max_len), record);
    needs.include(extra);
    return broken_by(needs) == nullptr;
  });
}

void MemoryBudget::check(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                         bool record, const MemoryNeeds& needs, const MemoryNeeds& extra,
                         PassSize decided_by) const {
  const MemoryLimit* limit = broken_by(needs);
  if (!limit) return;
  const int32_t all = batch.num_examples(), examples = largest_batch(state, task, batch, record, extra);
  const int32_t length = examples > 0 ? 0 : largest(batch.max_len, [&](int32_t n) {
    MemoryNeeds smaller = plan_pass(state, task, part_of(batch, 1, n), record);
    smaller.include(extra);
    return broken_by(smaller) == nullptr;
  });
  std::string hint = "use a smaller model, or give the process more memory";
  if (examples > 0) {
    hint = record ? training_hint(task, part_of(batch, examples, batch.max_len), all, decided_by)
                  : fmt::format("use --per_device_eval_batch_size {}; the results are the same", examples);
  } else if (length > 0) {
    hint = fmt::format("use --{} 1 and --max_seq_length {}",
                       record ? "per_device_train_batch_size" : "per_device_eval_batch_size", length);
  }
  if (record && !state.gradient_checkpointing)
    hint += "; --gradient_checkpointing true needs less memory and more time";
  fail_with(hint, "a batch of {} with {} tokens needs {} beside the model, and of {} ({}) {} are left: {}",
            batch.size() == all ? fmt::format("{} sequences", all)
                                : fmt::format("{} examples ({} sequences)", all, batch.size()),
            batch.all_rows(), format_bytes(needs.under(*limit)), limit->name, format_bytes(limit->limit),
            format_bytes(limit->left()), needs.text());
}

}  // namespace graft::train
