#include "hub/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace graft::hub {

std::string sha256_of_file(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  bool good = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  constexpr size_t kBlock =
      size_t{16}  // pages are released after reading, because files may be larger than memory
      << 20;
  for (size_t at = 0; good && at < mapped.size(); at += kBlock) {
    const size_t count = std::min(kBlock, mapped.size() - at);
    good = EVP_DigestUpdate(context.get(), mapped.data() + at, count) == 1;
    mapped.drop(at, count);
  }
  if (!good || EVP_DigestFinal_ex(context.get(), digest, &size) != 1)
    fail("{}: cannot compute its sha256", file.string());
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

}  // namespace graft::hub
