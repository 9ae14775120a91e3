// Event files for TensorBoard: TFRecord framing around Event messages
// (tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "report/growing_file.h"

namespace graft::report {

class EventFile {
 public:
  using Scalars = std::vector<std::pair<std::string, double>>;

  // Creates a file with a name that TensorBoard finds in `folder`. TensorBoard drops what earlier files of
  // the folder have after `step`, so that a run that continues shows no step twice.
  EventFile(const std::filesystem::path& folder, int64_t step);
  void add_scalars(int64_t step, const Scalars& scalars);
  void add_text(const std::string& tag, const std::string& text);
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void add_event(int64_t step, const std::string& body);
  GrowingFile file_;
};

}  // namespace graft::report
