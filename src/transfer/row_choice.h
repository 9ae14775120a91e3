// Which rows of a data set a run reads: a part held out, a mixture of languages, a few rows of each label.
// Every choice is a function of the rows and of a seed.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "graft/dataset.h"

namespace graft::transfer {

// What a row says, labels left out: equal for rows that differ in case, punctuation and spacing alone.
uint64_t key_of_row(const Example& example);
std::unordered_set<uint64_t> keys_of_rows(const Dataset& rows);

// The rows of these indices, in this order; an index may occur several times.
Dataset rows_at(const Dataset& from, const std::vector<size_t>& indices);

struct RowSplit {
  std::vector<size_t> train, held_out;  // in the order of the file
};
// Holds out `percentage` of the rows, by what they say: rows of equal texts stay together, and the other rows
// of a file decide nothing. A row whose label would have no row left to train on is not held out.
RowSplit hold_out(const Dataset& rows, double percentage);

// How many rows of each language make a mixture of sum(counts) rows: p_i proportional to
// counts_i^(1 / temperature) (Conneau et al. 2020, XLM-R, where 1 / temperature is alpha). At 1 the counts
// themselves.
std::vector<int64_t> mixture_of(const std::vector<int64_t>& counts, double temperature);

// `want` of `n` rows: each row as often as it fits, and the rest drawn without replacement. Sorted. `name`
// keys the draw beside the seed.
std::vector<size_t> sample_rows(size_t n, int64_t want, uint64_t seed, const std::string& name);

// The first k rows of each label (or, without `by_label`, of all rows) in an order that `set` draws, so that
// the rows of a smaller k are among those of a larger one. `candidates`: indices that may be taken. Sorted.
std::vector<size_t> draw_shots(const Dataset& rows, const std::vector<size_t>& candidates, int64_t k,
                               bool by_label, uint64_t set);

}  // namespace graft::transfer
