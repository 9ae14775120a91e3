// Reranking with a cross-encoder: rows {"query": "...", "candidates": ["...", ...]} in, the candidates
// ordered by their scores out.
#pragma once
#include <cstdint>
#include <string>

#include "data/rows.h"
#include "graft/pipeline.h"

namespace graft::cli {

// Whether the rows of a json have a query and candidates.
bool has_candidates(const data::RowReader& rows);

// Writes a line {"query": ..., "candidates": [{"corpus_id": ..., "score": ..., "text": ...}, ...]} for each
// row, with the fields of sentence-transformers' CrossEncoder.rank: the best `top_k` first (0 = all). `input`
// is for messages. Throws Error for a row of another form, and for a model with more than one output.
void rerank(const Pipeline& pipeline, data::RowReader& rows, const std::string& input,
            const std::string& output, int64_t top_k);

}  // namespace graft::cli
