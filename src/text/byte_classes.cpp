#include "text/byte_classes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "text/byte_classes.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace graft::text::HWY_NAMESPACE {

// Bytes as signed numbers: bytes above 0x7F are negative.
namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<int8_t, 64>;
using Bytes = hn::Vec<Tag>;

HWY_INLINE Bytes all(int value) { return hn::Set(Tag(), static_cast<int8_t>(value)); }
HWY_INLINE hn::Mask<Tag> equals(Bytes v, char c) { return hn::Eq(v, all(c)); }
HWY_INLINE hn::Mask<Tag> between(Bytes v, int first, int last) {
  return hn::And(hn::Gt(v, all(first - 1)), hn::Lt(v, all(last + 1)));
}
HWY_INLINE uint64_t to_bits(hn::Mask<Tag> mask) {
  alignas(8) uint8_t stored[8] = {};
  hn::StoreMaskBits(Tag(), mask, stored);
  uint64_t bits;
  __builtin_memcpy(&bits, stored, sizeof bits);
  return bits;
}

void classify(const char* bytes, size_t num_blocks, ByteClasses* out) {
  const Tag tag;
  const size_t lanes = hn::Lanes(tag);
  for (size_t b = 0; b < num_blocks; ++b) {
    ByteClasses c{};
    for (size_t k = 0; k < 64; k += lanes) {
      const Bytes v = hn::LoadU(tag, reinterpret_cast<const int8_t*>(bytes) + 64 * b + k);
      const auto letter = between(hn::Or(v, all(0x20)), 'a', 'z'), digit = between(v, '0', '9');
      const auto blank = equals(v, ' '), space = hn::Or(blank, between(v, 9, 13));
      c.letter |= to_bits(letter) << k;
      c.digit |= to_bits(digit) << k;
      c.blank |= to_bits(blank) << k;
      c.space |= to_bits(space) << k;
      c.bert_space |= to_bits(hn::AndNot(between(v, 11, 12), space)) << k;
      c.punctuation |= to_bits(hn::AndNot(hn::Or(letter, digit), between(v, 33, 126))) << k;
      c.high |= to_bits(hn::Lt(v, hn::Zero(tag))) << k;
      c.ideographic |= to_bits(between(v, 0xE3 - 256, -1)) << k;
    }
    out[b] = c;
  }
}

}  // namespace graft::text::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::text {

HWY_EXPORT(classify);

void classify_bytes(const char* bytes, size_t num_blocks, ByteClasses* out) {
  HWY_DYNAMIC_DISPATCH(classify)(bytes, num_blocks, out);
}

}  // namespace graft::text
#endif
