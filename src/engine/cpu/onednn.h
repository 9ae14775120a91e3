// oneDNN's two interfaces: releases 2.6 and later (Debian 12) and 3.x. Only gemm.cpp includes this.
#pragma once
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "engine/cpu/cpu_kernels.h"

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6) || DNNL_VERSION_MAJOR > 3
#error "graft needs oneDNN 2.6 or later, or 3.x"
#endif

namespace graft::engine::cpu {

inline dnnl::matmul::primitive_desc matmul_desc(const dnnl::engine& engine, const dnnl::memory::desc& x,
                                                const dnnl::memory::desc& w, const dnnl::memory::desc& y,
                                                const dnnl::primitive_attr& attr = {}) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, x, w, y, attr};
#else
  return {dnnl::matmul::desc(x, w, y), attr, engine};
#endif
}

// The inner blocks of a blocked order and the steps between blocks; `index` is empty for another kind.
struct Blocking {
  std::vector<int64_t> index, size, strides;
};
inline Blocking blocking_of(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return {};
  return {desc.get_inner_idxs(), desc.get_inner_blks(), desc.get_strides()};
#else
  if (desc.data.format_kind != dnnl_blocked) return {};
  const auto& b = desc.data.format_desc.blocking;
  return {{b.inner_idxs, b.inner_idxs + b.inner_nblks},
          {b.inner_blks, b.inner_blks + b.inner_nblks},
          {b.strides, b.strides + desc.data.ndims}};
#endif
}

// Instruction sets are sets of bits: a later one includes those it extends.
inline bool has_isa(dnnl::cpu_isa wanted) {
  const auto have = static_cast<unsigned>(dnnl::get_effective_cpu_isa()),
             bits = static_cast<unsigned>(wanted);
  return (have & bits) == bits;
}

}  // namespace graft::engine::cpu
