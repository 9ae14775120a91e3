#include "train/hidden_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stopwatch.h"
#include "train/plan.h"

namespace graft::train {
namespace fs = std::filesystem;

HiddenCache::~HiddenCache() {
  if (data_) ::munmap(data_, mapped_);
}

namespace {

// Whether examples have another number of rows than one.
bool hidden_rows_vary(const models::Forward& pass, const data::RaggedBatch& batch) {
  return pass.rows.num_rows != batch.num_examples() || batch.size() != batch.num_examples();
}

}  // namespace

// A file without a name: it is gone when the process ends, however it ends.
void HiddenCache::reserve(const Trainer::Parts& parts, int64_t rows) {
  mapped_ = std::max<size_t>(4096, static_cast<size_t>(4 * rows * width_));
  void* memory = nullptr;
  if (mapped_ <= physical_memory() / 4) {
    memory = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  } else {
    const fs::path file = fs::path(parts.arguments.output_dir) / "tmp-hidden-states";
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) fail("{}: cannot be written: {}", file.string(), std::strerror(errno));
    ::unlink(file.c_str());
    const bool fits = ::posix_fallocate(fd, 0, static_cast<off_t>(mapped_)) == 0;
    memory = fits ? ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    ::close(fd);
  }
  if (memory == MAP_FAILED)
    fail_with("use fewer examples (--max_train_samples), or an --output_dir with more space",
              "the hidden states of linear probing need {}, which are not there", format_bytes(mapped_));
  data_ = static_cast<float*>(memory);
}

void HiddenCache::compute(Trainer::Parts& p, const tasks::Features& features, int64_t begin, int64_t end) {
  models::State& state = p.model.state();
  data::RaggedBatch batch;
  for (int64_t i = begin; i < end; ++i) features.append(batch, i, i, -1);
  check_batch(batch, p.model);
  p.memory.prepare(state, nullptr, batch, false);
  p.memory.arena().reset();
  engine::Tape tape(p.memory.arena(), state.parameters, {.bf16 = state.bf16});
  const models::Forward pass = state.network.forward(tape, batch, {.logits = false});
  if (!data_) {
    width_ = pass.hidden->data.cols;
    int64_t rows = features.size();  // one a text, or one a token at most
    if (hidden_rows_vary(pass, batch)) {
      rows = 0;
      for (int64_t i = 0; i < features.size(); ++i) rows += features.length(i);
    }
    reserve(p, rows);
  }
  const engine::Tensor hidden = tape.on_host(pass.hidden->data);
  if (static_cast<size_t>(4 * (num_rows_ + hidden.rows) * width_) > mapped_)
    fail("linear probing: the texts of the data have more rows than tokens");
  for (int64_t r = 0; r < hidden.rows; ++r)
    std::copy_n(hidden.row(r), width_, data_ + (num_rows_ + r) * width_);
  for (int32_t e = 0; e < batch.num_examples(); ++e) {
    const auto first = static_cast<size_t>(batch.cu_examples[static_cast<size_t>(e)]),
               last = static_cast<size_t>(batch.cu_examples[static_cast<size_t>(e) + 1]);
    first_row_.push_back(first_row_.back() + pass.rows.cu_seqlens[last] - pass.rows.cu_seqlens[first]);
  }
  num_rows_ += hidden.rows;
  if (num_rows_ != first_row_.back())
    fail("linear probing: {} rows of {} examples", num_rows_, first_row_.size() - 1);
}

HiddenCache::HiddenCache(Trainer::Parts& p, const tasks::Features& features) {
  const int64_t n = features.size(), size = p.arguments.per_device_eval_batch_size;
  for (int64_t i = 0; i < n && !p.stop; i += size) compute(p, features, i, std::min(n, i + size));
}

engine::Var HiddenCache::rows(engine::Tape& tape, const data::RaggedBatch& batch) const {
  int64_t n = 0;
  for (const int64_t e : batch.examples)
    n += first_row_.at(static_cast<size_t>(e) + 1) - first_row_[static_cast<size_t>(e)];
  const engine::Tensor out = tape.push(n, width_);
  int64_t row = 0;
  for (const int64_t e : batch.examples) {
    const int64_t first = first_row_[static_cast<size_t>(e)],
                  count = first_row_[static_cast<size_t>(e) + 1] - first;
    if (!tape.planning())
      tape.device().copy_in(out.f32() + row * width_, data_ + first * width_,
                            static_cast<size_t>(count * width_) * sizeof(float));
    row += count;
  }
  return tape.constant(out);
}

ProbingCaches::ProbingCaches(Trainer::Parts& p) : parts_(p) {
  if (p.arguments.peft_type != "linear_probing") return;
  const Stopwatch stopwatch;
  std::vector<const tasks::Features*> sets = {p.features.train.get()};
  if (p.arguments.do_eval.value_or(false)) {
    sets.push_back(p.features.eval.get());
    for (const Trainer::Parts::NamedFeatures& set : p.evaluation_sets) sets.push_back(set.features.get());
  }
  int64_t bytes = 0;
  for (const tasks::Features* features : sets) {
    if (!features || features->size() == 0) continue;
    auto cache = std::make_unique<HiddenCache>(p, *features);
    bytes += cache->bytes();
    p.hidden_states[features] = std::move(cache);
  }
  if (p.stop) {
    p.hidden_states.clear();
    return;
  }
  log_info(
      "linear_probing: the hidden states of all examples ({}) were computed in {:.1f} s, without dropout",
      format_bytes(static_cast<uint64_t>(bytes)), stopwatch.seconds());
  p.model.state().network.cached = p.hidden_states.at(p.features.train.get()).get();
}

ProbingCaches::~ProbingCaches() {
  if (parts_.hidden_states.empty()) return;
  parts_.model.state().network.cached = nullptr;
  parts_.hidden_states.clear();
}

ReadsCacheOf::ReadsCacheOf(Trainer::Parts& parts, const tasks::Features& features)
    : network_(parts.model.state().network), former_(network_.cached) {
  const auto it = parts.hidden_states.find(&features);
  network_.cached = it == parts.hidden_states.end() ? nullptr : it->second.get();
}

}  // namespace graft::train
