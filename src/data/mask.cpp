#include "data/mask.h"

#include "base/error.h"
#include "base/philox.h"

namespace graft::data {
namespace {

constexpr uint64_t k32Bits = uint64_t{1} << 32;

// Shares of the chosen tokens that become the mask token, and (mask token or) a random id: of 32 random bits.
constexpr uint64_t kToMask = k32Bits * 8 / 10;
constexpr uint64_t kToRandom = k32Bits * 9 / 10;

std::vector<uint8_t> special_ids(const Tokenizer& tokenizer) {
  std::vector<uint8_t> special(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < special.size(); ++id) special[id] = tokenizer.is_special(static_cast<int32_t>(id));
  return special;
}

}  // namespace

MlmMasker::MlmMasker(const Tokenizer& tokenizer, const MlmOptions& options)
    : MlmMasker(tokenizer.special_id("mask_token"), special_ids(tokenizer), options) {}

MlmMasker::MlmMasker(std::optional<int32_t> mask_id, std::vector<uint8_t> special, const MlmOptions& options)
    : options_(options), vocab_size_(static_cast<int32_t>(special.size())), special_(std::move(special)) {
  if (!mask_id) {
    fail_with("masked-lm needs a checkpoint whose tokenizer has a mask_token, such as BERT or RoBERTa",
              "the tokenizer has no mask token");
  }
  if (!(options.mlm_probability > 0 && options.mlm_probability <= 1)) {
    fail_with("0.15 is usual", "mlm_probability {} is not above 0 and at most 1", options.mlm_probability);
  }
  mask_id_ = *mask_id;
  threshold_ = static_cast<uint64_t>(options.mlm_probability * static_cast<double>(k32Bits));
}

void MlmMasker::mask(int64_t epoch, int64_t example, int32_t* ids, const uint8_t* word_starts, int32_t length,
                     int32_t first_row, MaskedRows& masked) const {
  if ((options_.whole_word || options_.spans.on) && !word_starts)
    fail("whole-word masking needs the starts of words");
  if (options_.spans.on) return mask_spans(epoch, example, ids, word_starts, length, first_row, masked);
  const PhiloxKey key = philox_key(options_.seed, static_cast<uint64_t>(epoch), "mlm");
  const auto low = static_cast<uint32_t>(example),
             high = static_cast<uint32_t>(static_cast<uint64_t>(example) >> 32);
  bool chosen = false;
  for (int32_t i = 0; i < length; ++i) {
    const int32_t id = ids[i];
    const auto draw = philox4x32(key, {low, high, static_cast<uint32_t>(i), 0});
    // A whole word is chosen by the draw of its first token.
    if (!options_.whole_word || i == 0 || word_starts[i] != 0) chosen = draw[0] < threshold_;
    if (!chosen || is_special(id)) continue;
    masked.rows.push_back(first_row + i);
    masked.labels.push_back(id);
    ids[i] = replaced(id, draw[1], draw[2]);
  }
}

int32_t MlmMasker::replaced(int32_t id, uint32_t kind, uint32_t random) const {
  if (options_.only_mask_token || kind < kToMask) return mask_id_;
  if (kind >= kToRandom) return id;
  return static_cast<int32_t>(uint64_t{random} * static_cast<uint64_t>(vocab_size_) >> 32);
}

void MlmMasker::mask_spans(int64_t epoch, int64_t example, int32_t* ids, const uint8_t* word_starts,
                           int32_t length, int32_t first_row, MaskedRows& masked) const {
  const auto step = static_cast<uint64_t>(epoch);
  const PhiloxKey key = philox_key(options_.seed, step, "mlm");
  const auto low = static_cast<uint32_t>(example),
             high = static_cast<uint32_t>(static_cast<uint64_t>(example) >> 32);
  std::vector<uint8_t> maskable(static_cast<size_t>(length));
  for (int32_t i = 0; i < length; ++i) maskable[static_cast<size_t>(i)] = !is_special(ids[i]);
  const std::vector<int32_t> span_of =
      choose_spans(PhiloxStream(philox_key(options_.seed, step, "mlm.spans"), static_cast<uint64_t>(example)),
                   maskable, word_starts, options_.mlm_probability, options_.spans);
  for (int32_t i = 0; i < length; ++i) {
    const int32_t span = span_of[static_cast<size_t>(i)];
    if (span < 0) continue;
    masked.rows.push_back(first_row + i);
    masked.labels.push_back(ids[i]);
    const uint32_t kind = philox4x32(key, {low, high, static_cast<uint32_t>(span), 1})[0];
    ids[i] = replaced(ids[i], kind, philox4x32(key, {low, high, static_cast<uint32_t>(i), 0})[2]);
  }
}

}  // namespace graft::data
