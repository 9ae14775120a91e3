#include "engine/cpu/packed_forms.h"

#include <algorithm>
#include <mutex>

#include "engine/cpu/cpu_kernels.h"

namespace graft::engine::cpu {
namespace {

PackedMatrix& packed(const Derived& entry) { return *static_cast<PackedMatrix*>(entry.data.get()); }

// The entry of one form of w. Under the store's derived_mutex.
Derived& form_of(ParameterStore& store, const Parameter& first, int count, DType as, bool transposed) {
  Derived& entry = store.derived(first, count, form_of_weights(transposed, as));
  if (!entry.data) entry.data = std::make_shared<PackedMatrix>();
  return entry;
}

bool is_stale(const Derived& entry, const ParameterStore& store) {
  return !packed(entry).is_set() || entry.version != store.version();
}

}  // namespace

const void* packed_weights(ParameterStore& store, const Parameter& first, int count, Tensor w, DType as,
                           bool transposed, bool both) {
  if (first.shared) return packed_weights(*store.lender(), *first.shared, count, w, as, transposed, both);
  const std::lock_guard lock(store.derived_mutex());
  Derived& wanted = form_of(store, first, count, as, transposed);
  if (is_stale(wanted, store)) {
    Derived& other = form_of(store, first, count, as, !transposed);
    // The values are in cache now; the backward pass would read them from memory again.
    if (both && is_stale(other, store)) {
      const Derived &nt = transposed ? other : wanted, &nn = transposed ? wanted : other;
      PackedMatrix::pack_both(w, as, packed(nt), packed(nn));
      other.version = store.version();
    } else {
      packed(wanted).pack(w, transposed ? Layout::nn : Layout::nt, as);
    }
    wanted.version = store.version();
  }
  return &packed(wanted);
}

KeptForms::KeptForms(ParameterStore* store, const Parameter* parameter)
    : store_(store), parameter_(parameter) {
  if (!store || !parameter || parameter->rows() % kPairBand != 0) return;
  const std::lock_guard lock(store->derived_mutex());
  const std::vector<DerivedKey>& keys = store->derived_from(*parameter);
  const auto current = [&](const DerivedKey& key) -> Derived* {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) return nullptr;
    Derived& entry = store->derived(*key.first, key.count, key.kind);
    return entry.data && packed(entry).is_set() && entry.version + 1 == store->version() ? &entry : nullptr;
  };
  for (const DerivedKey& key : keys) {
    Derived *nt = current({key.first, key.count, form_of_weights(false, DType::bf16)}),
            *nn = current({key.first, key.count, form_of_weights(true, DType::bf16)});
    const int64_t row = (parameter->offset - key.first->offset) / parameter->cols();
    if (!nt || !nn || row % kPairBand != 0 || !PackedMatrix::take_bands(packed(*nt), packed(*nn))) continue;
    nt_ = nt, nn_ = nn, first_row_ = row;
    return;
  }
}

void KeptForms::pack(const float* w, int64_t band) const {
  PackedMatrix::pack_band(w + band * band_size(), parameter_->cols(), first_row_ + band * kPairBand,
                          packed(*nt_), packed(*nn_));
}

void KeptForms::settle() {
  for (Derived* entry : {nt_, nn_}) {
    if (entry->updating != store_->version()) {
      entry->updating = store_->version();
      entry->missing =
          std::count_if(entry->of.begin(), entry->of.end(), [](const Parameter* p) { return p->trainable; });
    }
    if (--entry->missing == 0) entry->version = store_->version();
  }
}

}  // namespace graft::engine::cpu
