// Matrix products with oneDNN, on a grid of tiles that depends on the shape only. A row's bits depend neither
// on its neighbours nor on the number of threads. Only gemm.cpp uses oneDNN, and
// onednn.h alone has its versions.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/cpu/mapped_pages.h"
#include "engine/tensor.h"

namespace graft::engine::cpu {

// Called for each finished tile while it is in cache; writes the final result. `tile` holds the products for
// rows of y from `row` on and columns from `col` on, in y itself or in temporary memory.
struct Epilogue {
  void (*run)(void* state, Tensor tile, int64_t row, int64_t col) = nullptr;
  void* state = nullptr;
};

// How the second factor lies in memory: nt = w[N,K] (y = x w^T), nn = w[K,N] (y = x w).
enum class Layout : uint8_t { nt, nn };

// oneDNN's layout of a bf16 right factor [depth, cols]: blocks of 32 rows by `width` columns, in which pairs
// of rows are interleaved column by column.
struct PairOrder {
  int64_t width, row_step, col_step;  // steps from block to block, in pairs
  int64_t offset(int64_t k, int64_t n) const {
    return k / 32 * row_step + n / width * col_step + k % 32 / 2 * width + n % width;
  }
};
constexpr int64_t kMaxPairWidth = 64;
constexpr int64_t kPairBand = 16;  // a cache line of pairs; columns of a factor that are packed at once

// Row k and column n of a right factor in this order.
struct PairPlace {
  PairOrder order;
  uint32_t* pairs;
  int64_t k, n;
};

// Rows [k, k + depth) and columns [col, col + cols) of a right factor in this order, both padded with zeros
// to whole blocks.
struct PairPiece {
  int64_t k, depth, col, cols;
  PairOrder order;
  const uint32_t* pairs;
};

// A weight matrix in oneDNN's preferred blocked layout, for one Layout. If oneDNN has no such layout, or no
// fast product with it, the bf16 form of fp32 weights is a rounded row-major copy, and any other form is w
// itself.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Packs w for products of type `as` (w's own, or bf16 of an fp32 matrix); memory is kept between calls.
  // Runs on all threads.
  void pack(Tensor w, Layout layout, DType as);
  void pack(Tensor w, Layout layout) { pack(w, layout, w.dtype); }
  // The same for both layouts of w.
  static void pack_both(Tensor w, DType as, PackedMatrix& nt, PackedMatrix& nn);
  // Whether both layouts of a matrix consist of pieces that pack_band() fills.
  static bool take_bands(const PackedMatrix& nt, const PackedMatrix& nn) {
    return nt.takes_bands() && nn.takes_bands();
  }
  // Packs rows [row, row + kPairBand) of a matrix of fp32 numbers, `stride` apart, into both layouts of it.
  static void pack_band(const float* rows, int64_t stride, int64_t row, PackedMatrix& nt, PackedMatrix& nn);
  bool is_set() const { return set_; }
  bool empty() const { return chunks_.empty(); }  // no blocked layout
  const void* chunk(int64_t i) const { return chunks_[static_cast<size_t>(i)]; }
  // The chunks, all columns of the first rows before the next rows. Those of the same columns have blocks of
  // one width. Empty where the library's layout is another.
  const std::vector<PairPiece>& pair_pieces() const { return pair_pieces_; }
  // The matrix that gemm reads in place of w, which has the type `as` or is read by its chunks. Error where
  // this is not the packed form of such a w.
  Tensor checked(Tensor w, Layout layout, DType as) const;

 private:
  // Shape, memory and pieces for w, without values.
  void prepare(Tensor w, Layout layout, DType as);
  void fill(Tensor w);
  // Whether whole bands of kPairBand rows and kMaxPairWidth columns of w lie in its pieces.
  bool takes_bands() const;
  void round_rows(Tensor w);

  MappedPages memory_;
  std::vector<std::byte*> chunks_;
  std::vector<PairPiece> pair_pieces_;
  Tensor packed_;  // shape and type of the packed form; its data only where it is a rounded row-major copy
  Layout layout_ = Layout::nt;
  bool set_ = false;
};

// Throws Error naming `name` for types that the products do not have, and where `shapes_fit` is false.
void check_product(const char* name, Tensor a, Tensor b, Tensor out, bool shapes_fit);

// y[T,N] (+)= x[T,K] times w. Types: f32 x f32 -> f32; bf16 x bf16 -> f32, or bf16 where K is one tile_depth;
// Error for others. A bf16 x with a packed w may come with an fp32 w: only the packed form is read. Where the
// CPU has no bf16 products the same sum is computed in fp32. With an epilogue, y is the epilogue's
// result and `add` is not allowed.
void gemm(Tensor x, Tensor w, Layout layout, Tensor y, bool add, const PackedMatrix* packed = nullptr,
          Epilogue epilogue = {});

// dw[N,K] (+)= dy[T,N]^T x[T,K], summed over T in fixed chunks in order. bf16 operands have zero rows up to
// padded_rows(T) behind them (Tape::bf16_copy_of).
void gemm_tn(Tensor dy, Tensor x, Tensor dw, bool add);
// The same for bf16 where dy lies transposed already, in panels of kGradDepth rows of T: panel d is a dense
// [N, kGradDepth], the last one [N, rest]. Only where has_bf16_gemm().
void gemm_tn(const uint16_t* panels, Tensor x, Tensor dw, bool add);
constexpr int64_t kGradDepth = 512;
// Memory of this thread for the panels of [T, N].
uint16_t* panel_memory(int64_t T, int64_t N);

// Tile heights in use for so many columns, ascending; all of them give a row the same bits (asserted by a
// test per type and instruction set).
const std::vector<int64_t>& tile_heights(DType dtype, int64_t cols);
// Terms that a tile sums at once out of K: longer sums are cut at fixed places and added in order.
int64_t tile_depth(DType dtype, int64_t K);
// Number of tile shapes so far for which oneDNN has only its reference loops; for tests.
int64_t num_reference_tiles();
// One tile with the library, exposed for that test and for the benches' limit.
void gemm_tile(Tensor x, Tensor w, Layout layout, Tensor y, bool add);

// Bytes of temporary memory that each thread keeps for products with K terms and N columns.
int64_t tile_memory(int64_t K, int64_t N);

// Caps the library's instruction set; before the first product only.
void cap_isa_avx2();
void cap_isa_baseline();
// Whether oneDNN has bf16 products on this CPU (avx512_bf16, AMX).
bool has_bf16_gemm();
// Whether they are faster than fp32 products. AMX and AMD's avx512_bf16 are (1.4 to 2 times). Intel's
// avx512_bf16 is not: vdpbf16ps runs on one port where fp32 multiply-add has two, and oneDNN reaches half the
// rate of fp32 (bench/README.md).
bool bf16_is_faster();

}  // namespace graft::engine::cpu
