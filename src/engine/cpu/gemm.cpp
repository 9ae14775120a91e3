#include "engine/cpu/gemm.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/error.h"
#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/onednn.h"
#include "engine/cpu/scratch.h"

namespace graft::engine::cpu {
namespace {

using dnnl::memory;

// Second factor of a tile: row-major nt or nn, the library's blocked order, or the transposed first factor of
// wgrad.
enum class Kind : int64_t { nt, nn, packed_nt, packed_nn, tn };

constexpr int64_t kChunk = 384;       // columns of y per task: six divide BERT's 2304, eight 3072, two 768
constexpr int64_t kWideChunk = 1536;  // for vocabularies, where there are tasks enough
constexpr int64_t kHeight = 96;       // rows of y per task; measured at 85-100 % of the best rate
constexpr int64_t kDepth = 256;       // rows of T that wgrad sums at a time
// Terms that a bf16 tile sums at a time: up to 1152 every height gives the same bits, beyond that the
// library's cut of K depends on the height (2.6.3 with AMX). fp32 has no such limit.
constexpr int64_t kDepthBf16 = 1024;
// For small bf16 tiles oneDNN does without AMX, and rounds in another way (2.6.3): 16 x 16 numbers, 48 x 8.
// Columns so few have full tiles alone.
constexpr int64_t kFewColumns = 16;
constexpr int64_t kGradRows = 192, kGradCols = 768;  // tile of dw
// In bf16, where memory is the limit: the tile, its operands and a second thread's fit 2 MB of cache.
constexpr int64_t kTallGrad = 384, kNarrowGrad = 256;

constexpr const char* kPackedWeights = "packed weights";

int64_t chunk_width(int64_t n) { return n > 4096 ? kWideChunk : kChunk; }
int64_t num_chunks(int64_t n) { return n <= 512 ? 1 : (n + chunk_width(n) - 1) / chunk_width(n); }
int64_t chunk_begin(int64_t n, int64_t i) { return i * chunk_width(n); }
int64_t chunk_end(int64_t n, int64_t i) { return i + 1 == num_chunks(n) ? n : chunk_begin(n, i + 1); }

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::data_type type_of(DType t) {
  return t == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

struct TileKey {
  std::array<int64_t, 8> v;  // M, K, N, ldx, ldw, ldy, kind, add | x type | y type
  bool operator<(const TileKey& o) const { return v < o.v; }
};

struct TilePrimitive {
  dnnl::matmul primitive;
  memory::desc x, w, y, scratch;
  bool reference;  // the library has only its reference loops for this
};

// The blocked order for a packed [K,N], asked for once at the full height so that every height reads the same
// one.
memory::desc preferred_weights(int64_t K, int64_t N, DType in) {
  const memory::desc x({kHeight, K}, type_of(in), memory::dims{K, 1}),
      y({kHeight, N}, memory::data_type::f32, memory::dims{N, 1});
  const memory::desc any({K, N}, type_of(in), memory::format_tag::any);
  return matmul_desc(cpu_engine(), x, any, y).weights_desc();
}

std::atomic<int64_t> reference_tiles{0};

// y[M,N] = x[M,K] w[K,N]; for tn x is the transposed view of dy.
TilePrimitive make_tile(const TileKey& key) {
  const auto [M, K, N, ldx, ldw, ldy, kind_value, flags] = key.v;
  const Kind kind = static_cast<Kind>(kind_value);
  const bool add = flags & 1;
  const DType in = flags & 2 ? DType::bf16 : DType::f32, out = flags & 4 ? DType::bf16 : DType::f32;
  const memory::desc x({M, K}, type_of(in), kind == Kind::tn ? memory::dims{1, ldx} : memory::dims{ldx, 1});
  memory::desc w;
  switch (kind) {
    case Kind::nt:
      w = memory::desc({K, N}, type_of(in), memory::dims{1, ldw});
      break;
    case Kind::nn:
    case Kind::tn:
      w = memory::desc({K, N}, type_of(in), memory::dims{ldw, 1});
      break;
    default:
      w = preferred_weights(K, N, in);
      break;
  }
  const memory::desc y({M, N}, type_of(out), memory::dims{ldy, 1});
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add) {
    dnnl::post_ops ops;
    ops.append_sum(1.0f);
    attr.set_post_ops(ops);
  }
  const dnnl::matmul::primitive_desc pd = matmul_desc(cpu_engine(), x, w, y, attr);
  const bool reference = std::strncmp(pd.impl_info_str(), "ref", 3) == 0;
  reference_tiles += reference ? 1 : 0;
  return {dnnl::matmul(pd), x, pd.weights_desc(), y, pd.scratchpad_desc(), reference};
}

// Primitives are made once and shared; making one is not reentrant with OpenMP's thread count, so it is under
// the lock.
const TilePrimitive& tile_primitive(const TileKey& key) {
  static std::shared_mutex mutex;
  static std::map<TileKey, TilePrimitive> cache;
  {
    const std::shared_lock lock(mutex);
    if (const auto it = cache.find(key); it != cache.end()) return it->second;
  }
  const std::unique_lock lock(mutex);
  if (const auto it = cache.find(key); it != cache.end()) return it->second;
  try {
    return cache.emplace(key, make_tile(key)).first->second;
  } catch (const dnnl::error& e) {
    fail("oneDNN has no matrix product for {} x {} x {}: {}", key.v[0], key.v[1], key.v[2], e.what());
  }
}

// f(), whose errors of oneDNN's become Errors.
template <class F>
void with_errors(F f) {
  try {
    f();
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_out_of_memory) fail_allocation(0, "a matrix product");
    fail("oneDNN: {}", e.what());
  }
}

// Memory of a thread that grows and stays.
std::byte* thread_scratch(int slot, size_t bytes) {
  thread_local ScratchBuffer buffers[6];
  return buffers[slot].at_least(bytes);
}

void run_tile(const TileKey& key, const void* x, const void* w, void* y) {
  const SingleThread one;
  const TilePrimitive& tile = tile_primitive(key);
  thread_local dnnl::stream stream(cpu_engine());
  const auto arg = [](const memory::desc& desc, const void* p) {
    return memory(desc, cpu_engine(), const_cast<void*>(p));
  };
  with_errors([&] {
    tile.primitive.execute(
        stream, {{DNNL_ARG_SRC, arg(tile.x, x)},
                 {DNNL_ARG_WEIGHTS, arg(tile.w, w)},
                 {DNNL_ARG_DST, arg(tile.y, y)},
                 {DNNL_ARG_SCRATCHPAD, arg(tile.scratch, thread_scratch(0, tile.scratch.get_size()))}});
  });
}

void reorder(memory from, memory to) {
  with_errors([&] {
    dnnl::stream stream(cpu_engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  });
}

int64_t flags_of(Tensor x, Tensor y, bool add) {
  return (add ? 1 : 0) | (x.dtype == DType::bf16 ? 2 : 0) | (y.dtype == DType::bf16 ? 4 : 0);
}

char* at(Tensor t, int64_t row, int64_t col) {
  return static_cast<char*>(t.data) + (row * t.stride + col) * static_cast<int64_t>(dtype_size(t.dtype));
}

// Rows [row, row + n) of T, as one tile of height `height` >= n.
struct Band {
  int64_t row, n, height;
};

// Full bands, then the rest in at most two bands whose heights waste the fewest rows. `few`: of few columns.
std::vector<Band> cut_rows(int64_t T, bool few) {
  std::vector<Band> bands;
  int64_t row = 0;
  const auto push = [&](int64_t height) {
    const int64_t n = std::min(height, T - row);
    bands.push_back({row, n, height});
    row += n;
  };
  while (T - row >= kHeight || (few && row < T)) push(kHeight);
  const int64_t rest = T - row;
  if (rest > 72)
    push(96);
  else if (rest > 64)
    push(48), push(24);
  else if (rest > 48)
    push(48), push(16);
  else if (rest > 24)
    push(48);
  else if (rest > 16)
    push(24);
  else if (rest > 0)
    push(16);
  return bands;
}

// A dense [height, cols] of x from column k on, zero below the band's rows: x itself where it is that.
const void* dense_rows(const Band& band, Tensor x, int64_t k, int64_t cols) {
  const size_t n = static_cast<size_t>(band.n), below = static_cast<size_t>(band.height) - n;
  if (below == 0 && x.stride == cols) return at(x, band.row, k);
  const size_t row = static_cast<size_t>(cols) * dtype_size(x.dtype);
  std::byte* to = thread_scratch(1, row * (n + below));
  for (size_t r = 0; r < n; ++r) std::memcpy(to + r * row, at(x, band.row + static_cast<int64_t>(r), k), row);
  std::memset(to + n * row, 0, below * row);
  return to;
}

// Rows [row, ..) of y from column col on (+)= the tile's.
void store_tile(Tensor tile, Tensor y, int64_t row, int64_t col, bool add) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (!add) {
      std::memcpy(at(y, row + r, col), at(tile, r, 0), static_cast<size_t>(tile.cols) * dtype_size(y.dtype));
      continue;
    }
    float* to = y.row(row + r) + col;
    for (int64_t i = 0; i < tile.cols; ++i) to[i] += tile.row(r)[i];
  }
}

// A bf16 matrix, or an fp32 one rounded to bf16, as fp32.
std::vector<float> widen(Tensor t) {
  std::vector<float> out(static_cast<size_t>(t.size()));
  parallel_blocks(t.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* to = out.data() + r * t.cols;
      if (t.dtype == DType::bf16) {
        const auto* from = static_cast<const uint16_t*>(t.data) + r * t.stride;
        for (int64_t c = 0; c < t.cols; ++c) to[c] = bf16_to_float(from[c]);
      } else {
        for (int64_t c = 0; c < t.cols; ++c) to[c] = bf16_to_float(float_to_bf16(t.row(r)[c]));
      }
    }
  });
  return out;
}

Tensor dense(const std::vector<float>& values, Tensor like) {
  return make_tensor(const_cast<float*>(values.data()), like.rows, like.cols);
}

// Is this an order of pairs? Others are left to the library.
bool is_pair_order(const memory::desc& desc, PairOrder& order) {
  const Blocking b = blocking_of(desc);
  if (b.index != std::vector<int64_t>{0, 1, 0}) return false;
  const int64_t width = b.size[1];
  if (b.size[0] != 16 || b.size[2] != 2 || width % 16 != 0 || width > kMaxPairWidth) return false;
  order = {width, b.strides[0] / 2, b.strides[1] / 2};
  return true;
}

}  // namespace

// The kernels read memory by these types and sizes: one that does not fit would be read as another.
void check_product(const char* name, Tensor a, Tensor b, Tensor out, bool shapes_fit) {
  const auto is_known = [](DType t) { return t == DType::f32 || t == DType::bf16; };
  if (!shapes_fit) {
    fail("{}: [{}, {}] and [{}, {}] do not give [{}, {}]", name, a.rows, a.cols, b.rows, b.cols, out.rows,
         out.cols);
  }
  if (a.dtype != b.dtype || !is_known(a.dtype))
    fail("{}: a product of {} and {}; both must be F32, or both BF16", name, dtype_name(a.dtype),
         dtype_name(b.dtype));
  if (out.dtype != DType::f32 && (out.dtype != DType::bf16 || a.dtype != DType::bf16))
    fail("{}: a product of {} cannot be stored as {}", name, dtype_name(a.dtype), dtype_name(out.dtype));
}

int64_t tile_depth(DType dtype, int64_t K) { return dtype == DType::bf16 ? std::min(K, kDepthBf16) : K; }

bool has_few_columns(DType dtype, int64_t cols) { return dtype == DType::bf16 && cols <= kFewColumns; }

const std::vector<int64_t>& tile_heights(DType dtype, int64_t cols) {
  static const std::vector<int64_t> heights = {16, 24, 48, kHeight}, of_few_columns = {kHeight};
  return has_few_columns(dtype, cols) ? of_few_columns : heights;
}

void gemm(Tensor x, Tensor w, Layout layout, Tensor y, bool add, const PackedMatrix* packed,
          Epilogue epilogue) {
  const int64_t T = y.rows, N = y.cols, K = x.cols;
  if (packed && packed->is_set()) w = packed->checked(w, layout, x.dtype);
  const bool nt = layout == Layout::nt;
  check_product("gemm", x, w, y,
                x.rows == T && (nt ? w.rows == N && w.cols == K : w.rows == K && w.cols == N));
  if (T == 0 || N == 0) return;
  if (x.dtype == DType::bf16 && !has_bf16_gemm()) {
    if (y.dtype != DType::f32) fail("gemm: this CPU has no bf16 products, so their result is F32");
    const std::vector<float> xf = widen(x), wf = widen(w);
    return gemm(dense(xf, x), dense(wf, w), layout, y, add, nullptr, epilogue);
  }
  if (packed && packed->empty()) packed = nullptr;
  const int64_t depth = tile_depth(x.dtype, K);
  if (y.dtype == DType::bf16 && (depth < K || add))
    fail("gemm: a bf16 result of more than one product of at most {} terms would round between them", depth);
  if (add && epilogue.run) fail("gemm: an epilogue sees products alone, not what they are added to");
  const int64_t narrowest = N - chunk_begin(N, num_chunks(N) - 1);
  const std::vector<Band> bands = cut_rows(T, has_few_columns(x.dtype, narrowest));
  const int64_t tiles = static_cast<int64_t>(bands.size());
  const Kind kind = packed ? (nt ? Kind::packed_nt : Kind::packed_nn) : (nt ? Kind::nt : Kind::nn);
  // oneDNN chooses its implementation, and with it a row's bits, by strides as well as by shape (brgemm wants
  // dense ones): so every tile reads and writes dense memory, in copies where x and y are not.
  parallel_for(tiles * num_chunks(N), [&](int64_t task) {
    const int64_t chunk = task / tiles;
    const Band& band = bands[static_cast<size_t>(task % tiles)];
    const int64_t col = chunk_begin(N, chunk), cols = chunk_end(N, chunk) - col;
    const bool in_place = !add && band.n == band.height && y.stride == cols;
    Tensor tile = make_tensor(nullptr, band.n, cols, y.dtype);
    tile.data = in_place ? static_cast<void*>(at(y, band.row, col))
                         : thread_scratch(2, static_cast<size_t>(band.height * cols) * dtype_size(y.dtype));
    for (int64_t k = 0, part = 0; k < K; k += depth, ++part) {
      const int64_t n = std::min(depth, K - k);
      const void* weights = packed ? packed->chunk(part * num_chunks(N) + chunk)
                            : nt   ? at(w, col, k)
                                   : at(w, k, col);
      run_tile({{band.height, n, cols, n, packed ? 0 : w.stride, cols, static_cast<int64_t>(kind),
                 flags_of(x, y, k > 0)}},
               dense_rows(band, x, k, n), weights, tile.data);
    }
    if (epilogue.run)
      epilogue.run(epilogue.state, tile, band.row, col);
    else if (!in_place)
      store_tile(tile, y, band.row, col, add);
  });
}

// A band of x, a tile of y, a tile of dw.
int64_t tile_memory(int64_t K, int64_t N) {
  return 4 * (kHeight * std::min(K, int64_t{4096}) + kHeight * std::min(N, chunk_width(N)) +
              kGradRows * kGradCols);
}

int64_t num_reference_tiles() { return reference_tiles; }

void gemm_tile(Tensor x, Tensor w, Layout layout, Tensor y, bool add) {
  const Kind kind = layout == Layout::nt ? Kind::nt : Kind::nn;
  run_tile({{y.rows, x.cols, y.cols, x.stride, w.stride, y.stride, static_cast<int64_t>(kind),
             flags_of(x, y, add)}},
           x.data, w.data, y.data);
}

uint16_t* panel_memory(int64_t T, int64_t N) {
  return reinterpret_cast<uint16_t*>(thread_scratch(3, static_cast<size_t>(N * padded_rows(T)) * 2));
}

// bf16 wgrad: dy transposed and x packed once, both read by many tiles; the library's own handling of a
// transposed first factor ran at a third of this.
void gemm_tn(const uint16_t* dyt, Tensor x, Tensor dw, bool add) {
  const int64_t T = padded_rows(x.rows), N = dw.rows, K = dw.cols;
  check_product("gemm_tn", make_tensor(nullptr, x.rows, N, DType::bf16), x, dw, x.cols == K);
  if (!has_bf16_gemm() || dw.dtype != DType::f32)
    fail("gemm_tn: panels are for bf16 products with an F32 result");
  if (T == 0) {
    for (int64_t r = 0; !add && r < N; ++r) std::fill_n(dw.row(r), K, 0.0f);
    return;
  }
  // Small matrices in lower tiles, so that there are enough of them for many threads.
  const int64_t height = N * K > (1 << 20) ? kTallGrad : kGradRows;
  const int64_t row_tiles = (N + height - 1) / height, col_tiles = (K + kNarrowGrad - 1) / kNarrowGrad;
  const int64_t depths = (T + kGradDepth - 1) / kGradDepth;
  const auto key = [&](int64_t rows, int64_t depth, int64_t cols, bool sum) {
    return TileKey{
        {rows, depth, cols, depth, 0, cols, static_cast<int64_t>(Kind::packed_nn), (sum ? 1 : 0) | 2}};
  };
  const auto depth_of = [&](int64_t d) { return std::min(kGradDepth, T - d * kGradDepth); };
  const auto cols_of = [&](int64_t c) { return std::min(kNarrowGrad, K - c * kNarrowGrad); };
  std::vector<size_t> offsets(1, 0);
  {
    const SingleThread one;
    for (int64_t i = 0; i < depths * col_tiles; ++i) {
      const memory::desc& order =
          tile_primitive(key(kHeight, depth_of(i / col_tiles), cols_of(i % col_tiles), false)).w;
      offsets.push_back(offsets.back() + (order.get_size() + 63) / 64 * 64);
    }
  }
  std::byte* packed = thread_scratch(4, offsets.back());
  parallel_for(depths * col_tiles, [&](int64_t i) {
    const SingleThread one;
    const int64_t depth = depth_of(i / col_tiles), cols = cols_of(i % col_tiles);
    memory from(memory::desc({depth, cols}, memory::data_type::bf16, memory::dims{x.stride, 1}), cpu_engine(),
                at(x, i / col_tiles * kGradDepth, i % col_tiles * kNarrowGrad));
    memory to(tile_primitive(key(kHeight, depth, cols, false)).w, cpu_engine(),
              packed + offsets[static_cast<size_t>(i)]);
    reorder(from, to);
  });
  parallel_for(row_tiles * col_tiles, [&](int64_t task) {
    const int64_t n = task % row_tiles * height, c = task / row_tiles, rows = std::min(height, N - n);
    const int64_t cols = cols_of(c);
    // Only a dense result has a fast implementation (see gemm).
    auto* sum = reinterpret_cast<float*>(thread_scratch(5, static_cast<size_t>(rows * cols) * 4));
    for (int64_t d = 0; d < depths; ++d) {
      const int64_t depth = depth_of(d);
      run_tile(key(rows, depth, cols, d > 0), dyt + d * kGradDepth * N + n * depth,
               packed + offsets[static_cast<size_t>(d * col_tiles + c)], sum);
    }
    store_gradient(make_tensor(sum, rows, cols), dw.row(n) + c * kNarrowGrad, dw.stride, add);
  });
}

void gemm_tn(Tensor dy, Tensor x, Tensor dw, bool add) {
  check_product("gemm_tn", dy, x, dw, dy.rows == x.rows && dy.cols == dw.rows && x.cols == dw.cols);
  if (dw.dtype != DType::f32) fail("gemm_tn: a weight's gradient is F32, not {}", dtype_name(dw.dtype));
  if (dy.dtype == DType::bf16) {
    if (has_bf16_gemm()) {
      uint16_t* panels = panel_memory(dy.rows, dy.cols);
      parallel_blocks(padded_rows(dy.rows), 64,
                      [&](int64_t begin, int64_t end) { transpose_into_panels(dy, begin, end, panels); });
      return gemm_tn(panels, x, dw, add);
    }
    const std::vector<float> dyf = widen(dy), xf = widen(x);
    return gemm_tn(dense(dyf, dy), dense(xf, x), dw, add);
  }
  const int64_t T = dy.rows, N = dw.rows, K = dw.cols;
  const int64_t whole = T / 16 * 16, rest = T - whole;
  // The last rows, padded with zeros to sixteen.
  std::vector<std::byte> dy_rest, x_rest;
  if (rest > 0) {
    const auto pad = [&](Tensor t, std::vector<std::byte>& out) {
      const size_t row = static_cast<size_t>(t.cols) * dtype_size(t.dtype);
      out.assign(row * 16, std::byte{0});
      for (int64_t r = 0; r < rest; ++r)
        std::memcpy(out.data() + static_cast<size_t>(r) * row, at(t, whole + r, 0), row);
    };
    pad(dy, dy_rest);
    pad(x, x_rest);
  }
  const int64_t row_tiles = (N + kGradRows - 1) / kGradRows, col_tiles = (K + kGradCols - 1) / kGradCols;
  parallel_for(row_tiles * col_tiles, [&](int64_t task) {
    const int64_t n = task % row_tiles * kGradRows, k = task / row_tiles * kGradCols;
    const int64_t rows = std::min(kGradRows, N - n), cols = std::min(kGradCols, K - k);
    bool sum = add;
    const auto part = [&](int64_t depth, int64_t ld_dy, int64_t ld_x, const void* a, const void* b) {
      run_tile(
          {{rows, depth, cols, ld_dy, ld_x, dw.stride, static_cast<int64_t>(Kind::tn), flags_of(x, dw, sum)}},
          a, b, at(dw, n, k));
      sum = true;
    };
    for (int64_t t = 0; t < whole; t += kDepth) {
      part(std::min(kDepth, whole - t), dy.stride, x.stride, at(dy, t, n), at(x, t, k));
    }
    if (rest > 0) {
      const auto size = dtype_size(x.dtype);
      part(16, dy.cols, x.cols, dy_rest.data() + static_cast<size_t>(n) * size,
           x_rest.data() + static_cast<size_t>(k) * size);
    }
    if (!sum) {
      for (int64_t r = 0; r < rows; ++r)
        std::memset(at(dw, n + r, k), 0, static_cast<size_t>(cols) * sizeof(float));
    }
  });
}

namespace {

// Pieces of [depth, chunk] of a right factor [K, N], all chunks of the first depth first.
struct Piece {
  int64_t k, depth, col, cols;
};

std::vector<Piece> cut_factor(int64_t K, int64_t N, DType as) {
  const int64_t depth = tile_depth(as, K);
  std::vector<Piece> pieces;
  for (int64_t k = 0; k < K; k += depth) {
    for (int64_t i = 0; i < num_chunks(N); ++i) {
      pieces.push_back({k, std::min(depth, K - k), chunk_begin(N, i), chunk_end(N, i) - chunk_begin(N, i)});
    }
  }
  return pieces;
}

std::vector<Piece> pieces_of(Tensor w, Layout layout, DType as) {
  const bool nt = layout == Layout::nt;
  return cut_factor(nt ? w.cols : w.rows, nt ? w.rows : w.cols, as);
}

const TilePrimitive& piece_tile(const Piece& p, int64_t height, Layout layout, DType as) {
  const Kind kind = layout == Layout::nt ? Kind::packed_nt : Kind::packed_nn;
  return tile_primitive(
      {{height, p.depth, p.cols, p.depth, 0, p.cols, static_cast<int64_t>(kind), as == DType::bf16 ? 2 : 0}});
}

// Has the library an order of its own for this piece, and a fast implementation at every height that may
// come?
bool has_blocked_order(const Piece& p, Layout layout, DType as) {
  for (const int64_t height : tile_heights(as, p.cols)) {
    if (piece_tile(p, height, layout, as).reference) return false;
  }
  const memory::desc& order = piece_tile(p, kHeight, layout, as).w;
  for (const auto row_major : {memory::format_tag::ab, memory::format_tag::ba}) {
    if (order == memory::desc({p.depth, p.cols}, type_of(as), row_major)) return false;
  }
  return true;
}

void pack_piece(const Piece& p, Tensor w, Layout layout, DType as, void* to) {
  const SingleThread inner;
  const bool nt = layout == Layout::nt;
  const memory::desc& order = piece_tile(p, kHeight, layout, as).w;
  PairOrder pairs{};
  if (as == DType::bf16 && w.dtype == DType::f32 && is_pair_order(order, pairs) && p.depth % 32 == 0 &&
      p.cols % pairs.width == 0) {
    pack_pairs(nt ? w.row(p.col) + p.k : w.row(p.k) + p.col, w.stride, nt, p.depth, p.cols, pairs, to);
    return;
  }
  const memory::desc strided({p.depth, p.cols}, type_of(w.dtype),
                             nt ? memory::dims{1, w.stride} : memory::dims{w.stride, 1});
  memory from(strided, cpu_engine(), nt ? at(w, p.col, p.k) : at(w, p.k, p.col));
  memory packed(order, cpu_engine(), to);
  reorder(from, packed);
}

// Empty where a piece has another order, or blocks of another width than the first one of its columns.
std::vector<PairPiece> pair_pieces_of(const std::vector<Piece>& pieces, Layout layout,
                                      const std::vector<std::byte*>& chunks) {
  std::vector<PairPiece> out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& p = pieces[i];
    PairOrder order{};
    if (!is_pair_order(piece_tile(p, kHeight, layout, DType::bf16).w, order)) return {};
    const auto above =
        std::find_if(out.begin(), out.end(), [&](const PairPiece& o) { return o.col == p.col; });
    if (above != out.end() && above->order.width != order.width) return {};
    out.push_back({p.k, p.depth, p.col, p.cols, order, reinterpret_cast<const uint32_t*>(chunks[i])});
  }
  return out;
}

}  // namespace

void PackedMatrix::prepare(Tensor w, Layout layout, DType as) {
  if (w.dtype != as && (w.dtype != DType::f32 || as != DType::bf16))
    fail("pack: {} weights cannot become {}", dtype_name(w.dtype), dtype_name(as));
  chunks_.clear();
  pair_pieces_.clear();
  packed_ = make_tensor(nullptr, w.rows, w.cols, as);
  layout_ = layout;
  set_ = false;  // until it has values: a failure here leaves no packed form
  const std::vector<Piece> pieces = pieces_of(w, layout, as);
  const SingleThread one;
  const bool blocked = (as == DType::f32 || has_bf16_gemm()) &&
                       std::all_of(pieces.begin(), pieces.end(),
                                   [&](const Piece& p) { return has_blocked_order(p, layout, as); });
  if (!blocked) return;
  std::vector<size_t> offsets(1, 0);
  for (const Piece& p : pieces)
    offsets.push_back(offsets.back() + (piece_tile(p, kHeight, layout, as).w.get_size() + 63) / 64 * 64);
  std::byte* base = memory_.at_least(offsets.back(), kPackedWeights);
  for (size_t i = 0; i < pieces.size(); ++i) chunks_.push_back(base + offsets[i]);
  if (as == DType::bf16) pair_pieces_ = pair_pieces_of(pieces, layout, chunks_);
}

void PackedMatrix::fill(Tensor w) {
  if (empty()) {
    if (w.dtype != packed_.dtype) round_rows(w);
  } else {
    const std::vector<Piece> pieces = pieces_of(w, layout_, packed_.dtype);
    const SingleThread one;
    parallel_for(std::ssize(pieces), [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      pack_piece(pieces[at], w, layout_, packed_.dtype, chunks_[at]);
    });
  }
  set_ = true;
}

void PackedMatrix::pack(Tensor w, Layout layout, DType as) {
  prepare(w, layout, as);
  fill(w);
}

void PackedMatrix::pack_both(Tensor w, DType as, PackedMatrix& nt, PackedMatrix& nn) {
  nt.prepare(w, Layout::nt, as);
  nn.prepare(w, Layout::nn, as);
  if (w.dtype != DType::f32 || !take_bands(nt, nn)) {
    nt.fill(w);
    nn.fill(w);
    return;
  }
  parallel_for(w.rows / kPairBand,
               [&](int64_t band) { pack_band(w.row(band * kPairBand), w.stride, band * kPairBand, nt, nn); });
  nt.set_ = nn.set_ = true;
}

void PackedMatrix::pack_band(const float* rows, int64_t stride, int64_t row, PackedMatrix& nt,
                             PackedMatrix& nn) {
  const auto place = [](const PackedMatrix& m, size_t piece, int64_t k, int64_t n) {
    const PairPiece& p = m.pair_pieces_[piece];
    return PairPlace{p.order, reinterpret_cast<uint32_t*>(m.chunks_[piece]), k - p.k, n - p.col};
  };
  for (size_t i = 0; i < nt.pair_pieces_.size(); ++i) {
    const PairPiece& a = nt.pair_pieces_[i];
    if (row < a.col || row >= a.col + a.cols) continue;
    for (size_t j = 0; j < nn.pair_pieces_.size(); ++j) {
      const PairPiece& b = nn.pair_pieces_[j];
      const int64_t begin = std::max(a.k, b.col), end = std::min(a.k + a.depth, b.col + b.cols);
      if (row < b.k || row >= b.k + b.depth || begin >= end) continue;
      pack_pairs_both(rows + begin, stride, end - begin, place(nt, i, begin, row), place(nn, j, row, begin));
    }
  }
}

bool PackedMatrix::takes_bands() const {
  return !pair_pieces_.empty() &&
         std::all_of(pair_pieces_.begin(), pair_pieces_.end(), [](const PairPiece& p) {
           return p.k % kMaxPairWidth == 0 && p.depth % kMaxPairWidth == 0 && p.col % kMaxPairWidth == 0 &&
                  p.cols % kMaxPairWidth == 0 && kMaxPairWidth % p.order.width == 0;
         });
}

void PackedMatrix::round_rows(Tensor w) {
  packed_.data = memory_.at_least(static_cast<size_t>(w.size()) * sizeof(uint16_t), kPackedWeights);
  parallel_blocks(w.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      cpu::round_to_bf16(w.row(r), static_cast<uint16_t*>(packed_.data) + r * w.cols, w.cols);
  });
}

Tensor PackedMatrix::checked(Tensor w, Layout layout, DType as) const {
  if (layout != layout_ || as != packed_.dtype || w.rows != packed_.rows || w.cols != packed_.cols) {
    fail("gemm: [{}, {}] weights for {} with the packed form of [{}, {}] for {}", w.rows, w.cols,
         dtype_name(as), packed_.rows, packed_.cols, dtype_name(packed_.dtype));
  }
  if (!chunks_.empty()) w.dtype = as;  // read by its chunks alone
  return packed_.data ? packed_ : w;
}

void cap_isa_avx2() { dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2); }
void cap_isa_baseline() { dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41); }

bool has_bf16_gemm() { return has_isa(dnnl::cpu_isa::avx512_core_bf16); }

bool bf16_is_faster() {
  if (has_isa(dnnl::cpu_isa::avx512_core_amx)) return true;
  return has_bf16_gemm() && __builtin_cpu_is("amd");
}

}  // namespace graft::engine::cpu
