#include "engine/collective.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"

namespace graft::engine {
namespace {

class SingleProcess : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(float* /*x*/, int64_t /*n*/) override {}
  void all_reduce(double* /*x*/, int64_t /*n*/) override {}
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    return {{mine.begin(), mine.end()}};
  }
  void broadcast(float* /*x*/, int64_t /*n*/, int /*root*/) override {}
  void barrier() override {}
};

template <class T>
std::span<const std::byte> bytes_of_all(const T* from, int64_t n) {
  return std::as_bytes(std::span(from, static_cast<size_t>(n)));
}

template <class T>
std::vector<T> values_of(const std::vector<std::byte>& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

void sum_sparse(ParameterStore& store, const Parameter& p, Collective& collective) {
  SparseGrad& sparse = store.sparse_grad(p);
  const HostRead mine(store.device(), sparse.rows.data(), sparse.rows.size());
  const auto all_ids =
      collective.all_gather(bytes_of_all(sparse.ids.data(), static_cast<int64_t>(sparse.ids.size())));
  const auto all_rows = collective.all_gather(bytes_of_all(mine.data(), mine.size()));
  const auto H = static_cast<size_t>(p.cols());
  std::map<int32_t, std::vector<float>> sums;
  for (size_t rank = 0; rank < all_ids.size(); ++rank) {
    const std::vector<int32_t> ids = values_of<int32_t>(all_ids[rank]);
    const std::vector<float> rows = values_of<float>(all_rows[rank]);
    if (rows.size() != ids.size() * H)
      fail("rank {} gives {} rows of {} with {} numbers for {}", rank, ids.size(), H, rows.size(), p.name);
    for (size_t i = 0; i < ids.size(); ++i) {
      std::vector<float>& sum = sums[ids[i]];
      sum.resize(H);
      for (size_t c = 0; c < H; ++c) sum[c] += rows[i * H + c];
    }
  }
  std::vector<float> rows;
  sparse.ids.clear();
  for (const auto& [id, sum] : sums) {
    sparse.slot_of[static_cast<size_t>(id)] = static_cast<int32_t>(sparse.ids.size());
    sparse.ids.push_back(id);
    rows.insert(rows.end(), sum.begin(), sum.end());
  }
  sparse.rows.resize(static_cast<int64_t>(rows.size()));
  store.device().copy_in(sparse.rows.data(), rows.data(), rows.size() * sizeof(float));
}

}  // namespace

Collective& single_process() {
  static SingleProcess it;
  return it;
}

std::pair<int64_t, int64_t> share_of(int64_t n, const Collective& collective) {
  const int64_t rank = collective.rank(), size = collective.size();
  return {n * rank / size, n * (rank + 1) / size};
}

void sum_gradients(ParameterStore& store, Collective& collective) {
  if (collective.size() == 1) return;
  store.settle_grads();  // zeros where this rank had nothing to add
  // Neighbours in memory in one call.
  float* begin = nullptr;
  int64_t n = 0;
  const auto reduce = [&] {
    if (n > 0) collective.all_reduce(begin, n);
    n = 0;
  };
  for (Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    if (p.row_sparse) {
      sum_sparse(store, p, collective);
      p.has_grad = true;
      continue;
    }
    float* grad = store.grad(p);
    if (n > 0 && grad != begin + n) reduce();
    if (n == 0) begin = grad;
    n += p.size;
  }
  reduce();
}

void broadcast_values(ParameterStore& store, Collective& collective) {
  if (collective.size() == 1) return;
  for (const Parameter& p : store.parameters()) collective.broadcast(store.value(p), p.size, 0);
  store.touch_values();
}

}  // namespace graft::engine
