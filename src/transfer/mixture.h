// Training data that is made of several sets, each with its part of an epoch.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tasks/task.h"

namespace graft::transfer {

struct MixturePart {
  std::string name;  // a language, or what the set is for
  std::unique_ptr<tasks::Features> features;
  int64_t examples = 0;  // of an epoch
};

// Of a part: the tokens of its set, and its share in the tokens of all sets and in those of an epoch.
struct MixtureRow {
  std::string name;
  int64_t tokens = 0;
  double share_before = 0, share_after = 0;
};

int64_t tokens_of(const tasks::Features& features);
// Examples of these features with so many tokens on average; at least one.
int64_t examples_of(const tasks::Features& features, double tokens);

std::vector<MixtureRow> rows_of(const std::vector<MixturePart>& parts);
// With a line for its header. `what`: of what the parts are.
std::string table_of(const std::vector<MixtureRow>& rows, const std::string& what);
Json to_json(const std::vector<MixtureRow>& rows);
std::vector<MixtureRow> mixture_rows(const Json& json);

// Example i belongs to one part in every epoch. A part goes through its set in an order that the seed draws,
// over and over, and each epoch goes on where the former ended: a set larger than its part is read whole in
// several epochs, and a smaller one is read several times in one, masked differently each time. All of it is
// a function of (seed, epoch, i).
class Mixture : public tasks::Features {
 public:
  Mixture(std::vector<MixturePart> parts, uint64_t seed);

  int64_t size() const override { return begins_.back(); }
  // Of a part that reads its whole set once an epoch the length of the example, else of the longest one.
  int32_t length(int64_t i) const override;

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  size_t part_of(int64_t i) const;
  std::vector<MixturePart> parts_;
  std::vector<int64_t> begins_{0};           // of the parts, and the end
  std::vector<std::vector<int64_t>> order_;  // of each part
  std::vector<int32_t> longest_;
};

}  // namespace graft::transfer
