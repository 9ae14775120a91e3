#include "raw_gemm.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "report.h"

namespace graft::bench {
namespace {

using dnnl::memory;

double seconds_of(const Product& p, bool bf16, bool own_layout) {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto any = memory::format_tag::any;
  const memory::desc x =
      own_layout && p.transposed_x
          ? memory::desc({p.M, p.K}, type, any)
          : memory::desc({p.M, p.K}, type, p.transposed_x ? memory::dims{1, p.M} : memory::dims{p.K, 1});
  const memory::desc w =
      own_layout ? memory::desc({p.K, p.N}, type, any) : memory::desc({p.K, p.N}, type, memory::dims{p.N, 1});
  const memory::desc y({p.M, p.N}, memory::data_type::f32, memory::dims{p.N, 1});
  const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(x, w, y), engine);
  const dnnl::matmul matmul(pd);
  memory xm(pd.src_desc(), engine), wm(pd.weights_desc(), engine), ym(pd.dst_desc(), engine);
  for (memory* m : {&xm, &wm}) {
    auto* bytes = static_cast<uint8_t*>(m->get_data_handle());
    std::fill_n(bytes, m->get_desc().get_size(), uint8_t{0x3c});
  }
  const auto run = [&] {
    matmul.execute(stream, {{DNNL_ARG_SRC, xm}, {DNNL_ARG_WEIGHTS, wm}, {DNNL_ARG_DST, ym}});
    stream.wait();
  };
  run();
  run();
  const double flops = 2.0 * static_cast<double>(p.M) * static_cast<double>(p.K) * static_cast<double>(p.N);
  const int repeat = std::max(1, static_cast<int>(2e9 / flops));
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) {
    const double start = now();
    for (int r = 0; r < repeat; ++r) run();
    times.push_back((now() - start) / repeat);
  }
  return median(times);
}

}  // namespace

void append_linear(std::vector<Product>& products, int64_t T, int64_t in, int64_t out, double count) {
  products.push_back({T, in, out, count});
  products.push_back({T, out, in, count});
  products.push_back({out, T, in, count, true});
}

std::vector<Product> layer_products(int64_t T, int64_t H, int64_t I, int layers) {
  std::vector<Product> out;
  for (const auto& [in, wide] : {std::pair<int64_t, int64_t>{H, 3 * H}, {H, H}, {H, I}, {I, H}})
    append_linear(out, T, in, wide, layers);
  return out;
}

double raw_rate(const std::vector<Product>& products, bool bf16) {
  double flops = 0, seconds = 0;
  for (const Product& p : products) {
    flops += p.count * 2.0 * static_cast<double>(p.M) * static_cast<double>(p.K) * static_cast<double>(p.N);
    // T is the sum's length in wgrad and the number of rows elsewhere.
    Product rounded = p;
    int64_t& T = p.transposed_x ? rounded.K : rounded.M;
    T = (T + 31) / 32 * 32;
    double best = std::min(seconds_of(p, bf16, false), seconds_of(p, bf16, true));
    if (T != (p.transposed_x ? p.K : p.M))
      best = std::min({best, seconds_of(rounded, bf16, false), seconds_of(rounded, bf16, true)});
    seconds += p.count * best;
  }
  return flops / seconds;
}

}  // namespace graft::bench
