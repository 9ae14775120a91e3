#include "hub/torch_bin.h"

#include <cstring>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "hub/pickle.h"
#include "hub/printable.h"
#include "hub/safetensors.h"
#include "hub/torch_tensors.h"
#include "hub/zip.h"

namespace graft::hub {

namespace {

constexpr const char* kRepeatDownload = "the download or copy is incomplete: download or copy the file again";

// The first pickle of a file of the layout before zip: 0x1950a86a20f9469cfc6c (torch/serialization.py,
// MAGIC_NUMBER).
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kLegacyProtocol = 1001;

using StorageBytes = std::map<std::string, std::span<const std::byte>, std::less<>>;

// The zip layout: NAME/data.pkl and one file NAME/data/KEY per storage.
class ZipCheckpoint {
 public:
  ZipCheckpoint(std::span<const std::byte> bytes, const std::string& origin)
      : origin_(origin), zip_(bytes, origin) {}

  StateDict read() {
    const ZipEntry& main = find_pickle();
    prefix_ = main.name.substr(0, main.name.size() - std::strlen("data.pkl"));
    check_byte_order();
    const ZipBytes pickle_bytes = load(main);
    const Pickle pickle(pickle_bytes.bytes, origin_);
    const TorchTensors tensors(pickle, origin_);
    StorageBytes storages;
    for (const auto& [key, storage] : tensors.storages()) {
      const ZipEntry* entry = zip_.find(prefix_ + "data/" + key);
      if (!entry)
        fail_with(kRepeatDownload, "{}: storage '{}' is not in the archive", origin_, printable(key));
      storages[key] = load(*entry).bytes;
    }
    zip_.check(loaded_);
    StateDict out = tensors.state_dict(storages);
    for (auto& owner : owners_) out.keep(std::move(owner));
    return out;
  }

 private:
  const ZipEntry& find_pickle() const {
    for (const ZipEntry& entry : zip_.entries()) {
      if (entry.name.ends_with("/constants.pkl")) {
        fail_with("save its state dict instead: torch.save(model.state_dict(), ...)",
                  "{}: is a TorchScript program, not a state dict", origin_);
      }
    }
    for (const ZipEntry& entry : zip_.entries())
      if (entry.name.ends_with("/data.pkl")) return entry;
    fail("{}: is a zip archive without data.pkl: not a file of torch.save", origin_);
  }

  void check_byte_order() {
    const ZipEntry* entry = zip_.find(prefix_ + "byteorder");
    if (!entry) return;  // only torch 2.1 and later releases write it
    const std::span<const std::byte> text = load(*entry).bytes;
    if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) != "little")
      fail("{}: was saved on a big-endian machine, which is not supported", origin_);
  }

  ZipBytes load(const ZipEntry& entry) {
    ZipBytes data = zip_.read(entry);
    if (data.owner) owners_.push_back(data.owner);
    loaded_.emplace_back(&entry, data.bytes);
    return data;
  }

  const std::string& origin_;
  ZipReader zip_;
  std::string prefix_;
  std::vector<std::shared_ptr<const void>> owners_;
  std::vector<std::pair<const ZipEntry*, std::span<const std::byte>>> loaded_;
};

// Before the zip layout: five pickles (magic number, protocol, system, the state dict, the keys of its
// storages), then for each key a 64-bit count and the elements.
class LegacyCheckpoint {
 public:
  LegacyCheckpoint(std::span<const std::byte> bytes, const std::string& origin)
      : rest_(bytes), origin_(origin) {}

  StateDict read() {
    const Pickle magic = next();
    if (magic.root().kind != PickleKind::wide_integer || magic.root().text != kMagic) {
      fail_with("give a file written by torch.save(model.state_dict(), ...)",
                "{}: is a pickle, but not a checkpoint of torch.save", origin_);
    }
    const Pickle protocol = next();
    if (protocol.root().integer != kLegacyProtocol)
      fail("{}: has protocol {} of torch.save; only {} is supported", origin_, protocol.root().integer,
           kLegacyProtocol);
    check_byte_order(next());
    const Pickle main = next();
    const TorchTensors tensors(main, origin_);
    const Pickle keys = next();
    return tensors.state_dict(read_storages(tensors, keys));
  }

 private:
  Pickle next() {
    Pickle pickle(rest_, origin_);
    rest_ = rest_.subspan(pickle.size());
    return pickle;
  }

  void check_byte_order(const Pickle& system) const {
    const std::vector<uint32_t>& items = system.root().items;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (system[items[i]].text == "little_endian" && system[items[i + 1]].integer == 0)
        fail("{}: was saved on a big-endian machine, which is not supported", origin_);
    }
  }

  StorageBytes read_storages(const TorchTensors& tensors, const Pickle& keys) {
    StorageBytes out;
    for (const uint32_t item : keys.root().items) {
      const std::string key(keys[item].text);
      const auto storage = tensors.storages().find(key);
      if (storage == tensors.storages().end())
        fail("{}: holds a storage '{}' that no tensor refers to", origin_, printable(key));
      const uint64_t bytes = storage->second.num_bytes();
      uint64_t count = 0;
      if (rest_.size() < 8 || rest_.size() - 8 < bytes) {
        fail_with(kRepeatDownload, "{}: is cut short: storage '{}' needs {} bytes and {} are left", origin_,
                  printable(key), bytes, rest_.size() < 8 ? 0 : rest_.size() - 8);
      }
      std::memcpy(&count, rest_.data(), 8);
      if (count != storage->second.num_elements) {
        fail("{}: storage '{}' has {} elements, but {} in its pickle", origin_, printable(key), count,
             storage->second.num_elements);
      }
      out[key] = rest_.subspan(8, bytes);
      rest_ = rest_.subspan(8 + bytes);
    }
    return out;
  }

  std::span<const std::byte> rest_;
  const std::string& origin_;
};

}  // namespace

StateDict parse_torch_bin(std::span<const std::byte> bytes, const std::string& origin) {
  refuse_lookalikes(bytes, origin);
  if (ZipReader::is_zip(bytes)) return ZipCheckpoint(bytes, origin).read();
  if (!bytes.empty() && bytes[0] == std::byte{0x80}) return LegacyCheckpoint(bytes, origin).read();
  fail_with("give a file written by torch.save, or a folder with model.safetensors",
            "{}: is not a file of torch.save: it begins neither as a zip archive nor as a pickle", origin);
}

StateDict read_torch_bin(const std::filesystem::path& file) {
  auto mapped = std::make_shared<MappedFile>(file);
  StateDict out = parse_torch_bin({mapped->data(), mapped->size()}, file.string());
  out.keep(std::move(mapped));
  return out;
}

}  // namespace graft::hub
