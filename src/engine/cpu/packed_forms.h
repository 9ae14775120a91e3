// Packed forms of weight matrices: made for products where they are stale, kept current by updates.
#pragma once
#include <cstdint>

#include "engine/cpu/gemm.h"
#include "engine/parameters.h"

namespace graft::engine::cpu {

// Both bf16 forms of the matrix that a parameter is, or is rows of. An update writes them beside the values,
// a band of kPairBand rows at a time, so that the next step does not read the values again.
class KeptForms {
 public:
  // Empty unless both forms were current before this step, whose updates follow touch_values(), and consist
  // of whole bands.
  KeptForms(ParameterStore* store, const Parameter* parameter);
  explicit operator bool() const { return nt_ != nullptr; }
  int64_t bands() const { return parameter_->rows() / kPairBand; }
  int64_t band_size() const { return kPairBand * parameter_->cols(); }  // floats
  // Packs one band of the updated values w.
  void pack(const float* w, int64_t band) const;
  // After all bands. The forms are current when each trained parameter of theirs was updated.
  void settle();

 private:
  ParameterStore* store_;
  const Parameter* parameter_;
  Derived *nt_ = nullptr, *nn_ = nullptr;
  int64_t first_row_ = 0;  // of the parameter in the matrix
};

}  // namespace graft::engine::cpu
