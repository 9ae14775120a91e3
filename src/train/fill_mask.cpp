// The fill-mask pipeline, with the results of the reference's.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/shown.h"
#include "graft/pipeline.h"
#include "tasks/masked_lm.h"
#include "train/inference.h"

namespace graft {
namespace {

// Whether decoding drops the spaces before punctuation: only where tokenizer_config.json says so
// (transformers 4.57 and 5.24).
bool clean_up_spaces(const std::filesystem::path& folder) {
  const auto file = folder / "tokenizer_config.json";
  if (!path_exists(file)) return false;
  const Json json = read_json(file);
  const auto it = json.find("clean_up_tokenization_spaces");
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

// The k largest of n logits, the first of equals first.
std::vector<int32_t> best_of(const float* logits, int64_t n, int64_t k) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  const auto middle = ids.begin() + static_cast<std::ptrdiff_t>(std::min(n, k));
  std::partial_sort(ids.begin(), middle, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  ids.erase(middle, ids.end());
  return ids;
}

}  // namespace

struct FillMaskPipeline::Parts {
  Parts(const std::filesystem::path& folder, const PipelineOptions& options)
      : inference(folder, tasks::masked_lm_task().head->task, options), clean_up(clean_up_spaces(folder)) {}
  train::Inference inference;
  bool clean_up;
  int32_t mask = 0;
  std::string mask_token;

  std::vector<MaskFill> fill(const float* logits, int64_t n, std::vector<int32_t> ids, size_t place,
                             bool only_mask, int top_k) const {
    const Tokenizer& tokenizer = inference.tokenizer();
    const double max = *std::max_element(logits, logits + n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(logits[i] - max);
    std::vector<MaskFill> out;
    for (const int32_t id : best_of(logits, n, top_k)) {
      ids[place] = id;
      out.push_back({std::exp(logits[id] - max) / sum, id, tokenizer.decode({id}, false, clean_up),
                     tokenizer.decode(ids, only_mask, clean_up)});
    }
    return out;
  }
};

FillMaskPipeline::FillMaskPipeline(const std::filesystem::path& folder, const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
  const std::optional<int32_t> id = parts_->inference.tokenizer().special_id("mask_token");
  if (!id) {
    fail_with("name it in tokenizer_config.json as \"mask_token\"", "{}: the tokenizer has no mask token",
              folder.string());
  }
  parts_->mask = *id;
  parts_->mask_token = parts_->inference.tokenizer().id_to_token(*id);
} catch (...) {
  rethrow_as_error();
}

FillMaskPipeline::~FillMaskPipeline() = default;
FillMaskPipeline::FillMaskPipeline(FillMaskPipeline&&) noexcept = default;
const std::string& FillMaskPipeline::mask_token() const { return parts_->mask_token; }
const Model& FillMaskPipeline::model() const { return parts_->inference.model(); }
int64_t FillMaskPipeline::num_truncated() const { return parts_->inference.num_truncated(); }

std::vector<std::vector<std::vector<MaskFill>>> FillMaskPipeline::predict(
    const std::vector<std::string>& texts, int top_k) const try {
  const Parts& p = *parts_;
  if (top_k < 1) fail("top_k is {}; at least 1 was expected", top_k);
  const PipelineOptions& options = p.inference.options();
  const train::ThreadsOfACall threads(options.num_threads);
  std::vector<std::vector<std::vector<MaskFill>>> out(texts.size());
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < texts.size(); begin += static_cast<size_t>(options.batch_size)) {
    const size_t end = std::min(texts.size(), begin + static_cast<size_t>(options.batch_size));
    batch.clear();
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<size_t>> places;
    for (size_t i = begin; i < end; ++i) {
      const Encoding e = p.inference.encode(texts, {}, i);
      places.emplace_back();
      for (size_t t = 0; t < e.input_ids.size(); ++t) {
        if (e.input_ids[t] != p.mask) continue;
        places.back().push_back(t);
        batch.label_rows.push_back(batch.rows() + static_cast<int32_t>(t));
      }
      if (places.back().empty()) {
        throw train::TextError(
            i, texts.size(),
            Error(fmt::format("no {} among the first {} tokens of the text \"{}\"", p.mask_token,
                              e.input_ids.size(), shown(texts[i])),
                  fmt::format(
                      "the text needs at least one {} token; for labels, fine-tune it first: graft train",
                      p.mask_token)));
      }
      batch.append(e, static_cast<int64_t>(i));
      ids.push_back(e.input_ids);
    }
    p.inference.run(batch, [&](engine::Tensor logits) {
      int64_t row = 0;
      for (size_t i = begin; i < end; ++i) {
        const std::vector<size_t>& masks = places[i - begin];
        for (const size_t place : masks)
          out[i].push_back(
              p.fill(logits.row(row++), logits.cols, ids[i - begin], place, masks.size() == 1, top_k));
      }
    });
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
