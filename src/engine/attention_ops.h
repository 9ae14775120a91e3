// Attention on the tape, with what belongs to it: relative position biases, rotary positions, a cache of keys
// and values.
#pragma once
#include <string_view>

#include "engine/rows.h"
#include "engine/tape.h"

namespace graft::engine {

// Columns of v from `first` on: one of q, k, v inside a fused projection.
struct Slice {
  Var v = nullptr;
  int64_t first = 0;
};

// A bias that is added to the scaled scores: table[bucket of (key position - query position), head].
struct AttentionBias {
  Parameter* table = nullptr;       // [buckets, heads], dense; null = no bias
  const int32_t* bucket = nullptr;  // of the distances -max_position to max_position
  int64_t max_position = 0;
};

struct AttentionOptions {
  int64_t num_heads = 1, head_dim = 1;
  float scale = 1;
  bool causal = false;
  int32_t window = -1;  // keys with |i - j| > window are masked; -1 = no limit
  float dropout = 0;
  AttentionBias bias{};
};

// T5's buckets (Raffel et al. 2020; transformers 5.24, T5Attention._relative_position_bucket) for positions
// of at most max_position. Valid as long as the tape's memory; layers and passes over one batch share it.
// num_buckets: 0 = the rows of the table.
AttentionBias relative_bias(Tape& tape, Parameter* table, bool bidirectional, int64_t max_distance,
                            int64_t max_position, int64_t num_buckets = 0);

// [Tq, heads * dim]; each slice has heads * dim columns. k_rows are the same sequences as q_rows; q_rows may
// be a subset of their positions or the rows of another text (cross attention). The result is zero for a
// query without unmasked keys. q, k and v must not be inputs of another operation.
Var attention(Tape& tape, Slice q, Slice k, Slice v, const AttentionOptions& options, std::string_view scope,
              const Rows& q_rows, const Rows& k_rows);

// The rows of DeBERTa's table of relative positions that a batch reads (He et al. 2021, 2023;
// transformers 5.24, build_relative_position and make_log_bucket_position). Valid as long as the tape's
// memory.
struct RelativeRows {
  const int32_t* ids = nullptr;  // [n] rows of the table
  int64_t n = 0;
  const int32_t* row = nullptr;  // which of the n, by key - query from -max_position on; never falls
  int64_t max_position = 0;
};
// buckets: 0 = a row for each distance up to max_distance (the table has twice as many rows), else as many
// buckets, which grow with the distance. max_position: of the batch.
RelativeRows log_relative_rows(Tape& tape, int64_t buckets, int64_t max_distance, int64_t max_position);

// Projections of these rows, [n, heads * dim]; one may be null.
struct DisentangledPositions {
  RelativeRows rows;
  Slice key, query;
};
// Attention with the score scale * (q k + q pos_key + k pos_query) (kernel_args.h). Inputs and shapes as
// attention; none may be an input of another operation.
Var disentangled_attention(Tape& tape, Slice q, Slice k, Slice v, const DisentangledPositions& positions,
                           const AttentionOptions& options, std::string_view scope, const Rows& q_rows,
                           const Rows& k_rows);

// Keys and values outside the step: those of sequence s are rows [begin[s], begin[s] + length[s]) of k and v,
// and key j has position j.
struct CachedKeys {
  Tensor k, v;                      // [rows, heads * dim]
  const int64_t* begin = nullptr;   // [num_sequences]
  const int32_t* length = nullptr;  // [num_sequences]
};
// The same for cached keys, without a gradient; fast for up to four queries a sequence.
Var attention_cached(Tape& tape, Slice q, const CachedKeys& keys, const AttentionOptions& options,
                     const Rows& q_rows);
// Row rows[i] of `cache` = row i of x's columns [first, first + cache.cols): puts keys or values into a
// cache.
void put_rows(Tape& tape, Slice x, const int64_t* rows, Tensor cache);

// Row r of x's columns [first, first + width) becomes row table_rows[r] of `table`, which is read as rows of
// `width`; a negative number leaves it. Keys and values that are parameters (Li and Liang 2021,
// "Prefix-Tuning"). In place: x is clobbered and must be the input of no other operation. table_rows [T]
// outlives the tape.
Var replace_columns(Tape& tape, Slice x, int64_t width, Parameter& table, const int32_t* table_rows);

// Angles of rotary positions (Su et al. 2021): position * theta^(-2c / head_dim) for c < head_dim / 2.
struct RotaryTable {
  const float* values = nullptr;  // [positions, head_dim]: cosines, then sines
  int64_t num_positions = 0, head_dim = 0;
};
// For positions below num_positions. Valid as long as the tape's memory; all layers of a pass share it.
RotaryTable rotary_table(Tape& tape, double theta, int64_t head_dim, int64_t num_positions);
// The first num_heads heads of x rotated by their row's position (rotate_half of the reference); other
// columns stay as they are. x is clobbered and must not be an input of another operation.
Var rotary(Tape& tape, Var x, int64_t num_heads, const RotaryTable& table, const Rows& rows);

}  // namespace graft::engine
