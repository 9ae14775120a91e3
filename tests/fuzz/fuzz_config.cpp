// Any bytes as a config.json: graft::Error, or a model of random weights. The first byte chooses the task;
// models above a million parameters are left out, for speed alone.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "graft/error.h"
#include "graft/model.h"
#include "models/registry.h"

namespace {

// A file in memory that has a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : fd_(::memfd_create("config", 0)) {
    if (::write(fd_, content.data(), content.size()) != static_cast<ssize_t>(content.size())) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  if (size == 0) return 0;
  const MemoryFile file({reinterpret_cast<const char*>(data) + 1, size - 1});
  ModelOptions options;
  if (data[0] % 2 != 0) options.task = "masked-lm";
  try {
    const models::ModelConfig config = models::ModelConfig::from_file(file.path());
    const models::Family* family = models::find_family_or_null(config);
    if (family && config.estimated_parameters(family->sizes) > 1e6) return 0;
    const Model model = Model::from_config(file.path(), options);
    if (model.num_parameters() <= 0 || model.max_positions() < 0) std::abort();
    if (options.task != "masked-lm" && model.labels().empty()) std::abort();
  } catch (const graft::Error&) {
  }
  return 0;
}
