#include "hub/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace graft::hub {
namespace {

class Digest {
 public:
  Digest() : good_(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) {}
  void add(const void* data, size_t size) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), data, size) == 1;
  }
  // Of what was added; "" if OpenSSL failed.
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    std::string out;
    if (!good_ || EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) return out;
    for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  bool good_;
};

}  // namespace

std::string sha256_of_file(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  Digest digest;
  // Pages are released after reading, because files may be larger than memory.
  constexpr size_t kBlock = size_t{16} << 20;
  for (size_t at = 0; at < mapped.size(); at += kBlock) {
    const size_t count = std::min(kBlock, mapped.size() - at);
    digest.add(mapped.data() + at, count);
    mapped.drop(at, count);
  }
  std::string hex = digest.hex();
  if (hex.empty()) fail("{}: cannot compute its sha256", file.string());
  return hex;
}

std::string sha256_of(std::string_view bytes) {
  Digest digest;
  digest.add(bytes.data(), bytes.size());
  std::string hex = digest.hex();
  if (hex.empty()) fail("cannot compute a sha256");
  return hex;
}

}  // namespace graft::hub
