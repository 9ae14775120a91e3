#include "engine/table_rows.h"

#include <algorithm>
#include <vector>

namespace graft::engine {
namespace {

// Row indices grouped by id, ids ascending, rows ascending within one: the fixed order of a scatter.
struct Groups {
  std::vector<int32_t> ids, start, order;
};

Groups group_by_id(const int32_t* ids, int64_t T, int64_t skip) {
  Groups g;
  for (int64_t r = 0; r < T; ++r) {
    if (ids[r] != skip && ids[r] >= 0) g.order.push_back(static_cast<int32_t>(r));
  }
  std::stable_sort(g.order.begin(), g.order.end(), [&](int32_t a, int32_t b) { return ids[a] < ids[b]; });
  for (size_t i = 0; i < g.order.size(); ++i) {
    if (i == 0 || ids[g.order[i]] != g.ids.back()) {
      g.ids.push_back(ids[g.order[i]]);
      g.start.push_back(static_cast<int32_t>(i));
    }
  }
  g.start.push_back(static_cast<int32_t>(g.order.size()));
  return g;
}

// Adds the rows of `grad` to the rows of `out` that the groups name.
void scatter(Tape& tape, Tensor grad, const Groups& g, float* out) {
  const auto size = [](const std::vector<int32_t>& v) { return static_cast<int64_t>(v.size()); };
  ScatterArgs args;
  args.grad = grad;
  args.out = out;
  args.ids = tape.take_copy(g.ids.data(), size(g.ids));
  args.start = tape.take_copy(g.start.data(), size(g.start));
  args.order = tape.take_copy(g.order.data(), size(g.order));
  args.num_unique = size(g.ids);
  tape.kernels().scatter(args);
  for (const int32_t* copy : {args.ids, args.start, args.order}) tape.give_copy(copy);
}

}  // namespace

void add_rows(Tape& tape, Tensor from, const int32_t* ids, float* to) {
  scatter(tape, from, group_by_id(ids, from.rows, -1), to);
}

void table_gradient(Tape& tape, Parameter* table, const int32_t* ids, Tensor dz) {
  if (!table || !table->trainable || tape.planning()) return;
  ParameterStore& store = tape.parameters();
  Groups g = group_by_id(ids, dz.rows, table->padding_row);
  float* out = nullptr;
  if (table->row_sparse) {
    SparseGrad& sparse = store.sparse_grad(*table);
    for (int32_t& id : g.ids) {
      int32_t& slot = sparse.slot_of[static_cast<size_t>(id)];
      if (slot < 0) {
        slot = static_cast<int32_t>(sparse.ids.size());
        sparse.ids.push_back(id);
      }
      id = slot;
    }
    sparse.rows.resize(static_cast<int64_t>(sparse.ids.size()) * dz.cols);
    out = sparse.rows.data();
  } else {
    out = store.grad(*table);
    if (!table->has_grad) tape.device().fill(out, table->size, 0);
  }
  scatter(tape, dz, g, out);
  table->has_grad = true;
}

}  // namespace graft::engine
