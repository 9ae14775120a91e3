// Packed forms of weights that updates keep current, beside forms packed anew from the same values.
#include "engine/cpu/packed_forms.h"

#include <algorithm>

#include "engine/cpu/isa.h"
#include "engine/kernels.h"
#include "engine/plain_twins.h"

namespace graft::engine::test {
namespace {

using cpu::Layout;
using cpu::PackedMatrix;

// Query, key and value as one matrix [192, 64], and a matrix of odd width.
class PackedForms : public testing::Test {
 protected:
  void SetUp() override {
    cpu::init_isa();
    const auto named = [](const char* name, int64_t rows, int64_t cols) {
      Parameter p;
      p.name = name;
      p.shape = {rows, cols};
      return p;
    };
    parts_ = store_.add_group({named("q", 64, 64), named("k", 64, 64), named("v", 64, 64)});
    odd_ = &store_.add(named("odd", 24, 40));
    store_.allocate();
    for (const Parameter& p : store_.parameters()) {
      const Matrix values = random_matrix(p.rows(), p.cols(), p.name);
      std::copy(values.v.begin(), values.v.end(), store_.value(p));
    }
    store_.touch_values();
    pack();
  }

  Tensor whole() { return make_tensor(store_.value(*parts_[0]), 192, 64); }
  const PackedMatrix* form(bool transposed) {
    return static_cast<const PackedMatrix*>(
        cpu_kernels().packed_weights(store_, *parts_[0], 3, whole(), DType::bf16, transposed, true));
  }
  void pack() {
    form(false);
    cpu_kernels().packed_weights(store_, *odd_, 1, make_tensor(store_.value(*odd_), 24, 40), DType::bf16,
                                 false, true);
  }
  void update(const Parameter& p) {
    Matrix gradient = random_matrix(p.rows(), p.cols(), "gradient of " + p.name);
    UpdateArgs a;
    a.kind = UpdateKind::sgd;
    a.w = store_.value(p);
    a.g = gradient.v.data();
    a.n = p.size;
    a.lr = 0.5;
    a.store = &store_;
    a.parameter = &p;
    cpu_kernels().update(a);
  }
  // Whether products would pack the form of x w^T anew.
  bool is_current() {
    return store_.derived(*parts_[0], 3, form_of_weights(false, DType::bf16)).version == store_.version() &&
           store_.derived(*parts_[0], 3, form_of_weights(true, DType::bf16)).version == store_.version();
  }
  // The products with the store's forms have the bits of products with forms of the present values.
  void expect_forms_of_the_values() {
    for (const Layout layout : {Layout::nt, Layout::nn}) {
      const bool nt = layout == Layout::nt;
      const Matrix x = random_matrix(50, nt ? 64 : 192, "x");
      std::vector<uint16_t> rounded;
      for (const float value : x.v) rounded.push_back(float_to_bf16(value));
      PackedMatrix fresh;
      fresh.pack(whole(), layout, DType::bf16);
      Matrix want(50, nt ? 192 : 64), got = want;
      const Tensor left = make_tensor(rounded.data(), 50, x.cols, DType::bf16);
      cpu::gemm(left, whole(), layout, want.tensor(), false, &fresh);
      cpu::gemm(left, whole(), layout, got.tensor(), false, form(!nt));
      expect_same_bits(want, got, nt ? "nt" : "nn");
    }
  }

  ParameterStore store_;
  std::vector<Parameter*> parts_;
  Parameter* odd_ = nullptr;
};

TEST_F(PackedForms, StayCurrentWhenAllPartsAreUpdated) {
  for (int step = 0; step < 3; ++step) {
    store_.touch_values();
    for (const Parameter* p : parts_) {
      EXPECT_FALSE(is_current());
      update(*p);
    }
    update(*odd_);
    EXPECT_EQ(is_current(), cpu::has_bf16_gemm());
    expect_forms_of_the_values();
  }
}

TEST_F(PackedForms, FrozenPartsKeepTheirRows) {
  parts_[1]->trainable = false;
  store_.touch_values();
  update(*parts_[2]);
  EXPECT_FALSE(is_current());
  update(*parts_[0]);
  EXPECT_EQ(is_current(), cpu::has_bf16_gemm());
  expect_forms_of_the_values();
}

TEST_F(PackedForms, AStepThatEndsEarlyLeavesStaleForms) {
  store_.touch_values();
  update(*parts_[0]);
  EXPECT_FALSE(is_current());
  store_.touch_values();  // the next step
  for (const Parameter* p : parts_) update(*p);
  EXPECT_FALSE(is_current());
  expect_forms_of_the_values();
}

TEST_F(PackedForms, FormsThatWereStaleStayStale) {
  store_.value(*parts_[1])[5] = 3;
  store_.touch_values();
  store_.touch_values();
  for (const Parameter* p : parts_) update(*p);
  EXPECT_FALSE(is_current());
  expect_forms_of_the_values();
}

}  // namespace
}  // namespace graft::engine::test
