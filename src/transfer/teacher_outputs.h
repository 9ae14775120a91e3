// What a teacher computes for texts, on disk: computed once for a teacher, its texts and its settings.
//   FOLDER/KEY/key.json       the sha256 of every input byte, and the settings
//   FOLDER/KEY/outputs.f32    [rows, columns], as the machine has floats
//   FOLDER/KEY/manifest.json  rows, columns, sha256 of the outputs
// KEY is the sha256 of key.json. Until they are complete they lie in FOLDER/KEY.tmp, with progress.json: the
// rows that an interrupted run left, after which the next one goes on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/file.h"
#include "base/json.h"

namespace graft::transfer {

class TeacherOutputs {
 public:
  // Finds the outputs for `key` below `folder`, or computes and stores them: compute(first, last, out) fills
  // rows [first, last), in pieces. A folder that is incomplete or damaged is computed again, with a warning.
  TeacherOutputs(const std::filesystem::path& folder, const Json& key, int64_t rows, int64_t columns,
                 const std::function<void(int64_t first, int64_t last, float* out)>& compute);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const float* row(int64_t i) const { return reinterpret_cast<const float*>(file_->data()) + i * columns_; }
  bool was_there() const { return was_there_; }

 private:
  int64_t rows_, columns_;
  bool was_there_ = false;
  std::optional<MappedFile> file_;
};

// Of texts in their order.
std::string fingerprint_of(const std::vector<std::string>& texts);

}  // namespace graft::transfer
