#include "text/vocab.h"

namespace graft::text {

void Vocab::reserve(size_t tokens, size_t bytes) {
  bytes_.reserve(bytes);
  entries_.reserve(tokens);
  size_t slots = 16;
  while (slots < tokens * 2) slots *= 2;
  if (slots > slots_.size()) grow(slots);
}

void Vocab::grow(size_t slots) {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(slots, {0, -1});
  const size_t mask = slots - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t i = slot.hash & mask;
    while (slots_[i].id >= 0) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

bool Vocab::add(std::string_view token, int32_t id) {
  if (has(id)) return this->token(id) == token;
  if ((used_slots_ + 1) * 2 > slots_.size()) grow(slots_.empty() ? 16 : slots_.size() * 2);
  if (id >= end_id()) entries_.resize(static_cast<size_t>(id) + 1, {0, kHole});
  entries_[id] = {static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(token.size())};
  bytes_.insert(bytes_.end(), token.begin(), token.end());
  ++count_;
  max_token_bytes_ = std::max(max_token_bytes_, token.size());
  const auto hash = static_cast<uint32_t>(hash_bytes(token.data(), token.size()));
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  for (; slots_[i].id >= 0; i = (i + 1) & mask)
    if (slots_[i].hash == hash && this->token(slots_[i].id) == token) break;
  used_slots_ += slots_[i].id < 0;
  slots_[i] = {hash, id};
  return true;
}

int32_t Vocab::find(std::string_view token) const {
  if (slots_.empty()) return -1;
  const auto hash = static_cast<uint32_t>(hash_bytes(token.data(), token.size()));
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask)
    if (slots_[i].hash == hash && this->token(slots_[i].id) == token) return slots_[i].id;
  return -1;
}

}  // namespace graft::text
