#include "text/byte_classes.h"

#include <hwy/highway.h>

#include <cstring>

namespace graft::text {
namespace {

// Bytes as signed numbers: those beyond ASCII are negative.
namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<int8_t, 64>;
using Bytes = hn::Vec<Tag>;

Bytes all(int value) { return hn::Set(Tag(), static_cast<int8_t>(value)); }
auto equals(Bytes v, char c) { return hn::Eq(v, all(c)); }
auto between(Bytes v, int first, int last) {
  return hn::And(hn::Gt(v, all(first - 1)), hn::Lt(v, all(last + 1)));
}

template <class Mask>
uint64_t to_bits(Mask mask) {
  uint8_t stored[8] = {};
  hn::StoreMaskBits(Tag(), mask, stored);
  uint64_t bits;
  std::memcpy(&bits, stored, sizeof bits);
  return bits;
}

}  // namespace

ByteClasses classify_bytes(const char* bytes) {
  const Tag tag;
  ByteClasses c{};
  for (size_t k = 0; k < 64; k += hn::Lanes(tag)) {
    const Bytes v = hn::LoadU(tag, reinterpret_cast<const int8_t*>(bytes) + k);
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
  return c;
}

}  // namespace graft::text
