// A trained model as a teacher.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "transfer/distillation.h"

namespace graft::transfer {

class Teacher {
 public:
  // `max_seq_length`: tokens of a text, within the folder's own limit; 0 = that limit. Throws Error for a
  // task whose answer is neither an embedding nor a label.
  Teacher(const std::filesystem::path& folder, int64_t max_seq_length, bool bf16);
  ~Teacher();

  TargetKind kind() const { return kind_; }
  const Model& model() const;
  int64_t columns() const;
  // Outputs of texts [first, last), [last - first, columns()]. `pairs`: empty, or one for each text.
  void compute(const std::vector<std::string>& texts, const std::vector<std::string>& pairs, int64_t first,
               int64_t last, float* out) const;
  // The outputs of all texts, from the cache in `folder` or computed into it.
  std::shared_ptr<const TeacherOutputs> outputs(const std::filesystem::path& folder,
                                                const std::vector<std::string>& texts,
                                                const std::vector<std::string>& pairs) const;

 private:
  struct Parts;
  std::filesystem::path folder_;
  bool bf16_;
  TargetKind kind_ = TargetKind::embedding;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft::transfer
