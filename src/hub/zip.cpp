#include "hub/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/threads.h"
#include "hub/printable.h"

namespace graft::hub {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEndRecord = 0x06054b50;
constexpr uint32_t kEndRecord64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56;
// torch.save does not compress. Compression reduces a checkpoint by about a tenth, and small tensors of zeros
// a thousandfold. A higher ratio indicates a zip bomb.
constexpr uint64_t kInflateFree = uint64_t{64} << 20, kInflateFactor = 20;

uint32_t crc_of(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Inflates a raw stream into exactly out.size() bytes; false if it is damaged, shorter or longer.
bool inflate_exactly(std::span<const std::byte> packed, std::span<std::byte> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  size_t in_left = packed.size(), out_left = out.size();
  int status = Z_OK;
  constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits
  while (status == Z_OK) {
    if (stream.avail_in == 0) stream.avail_in = static_cast<uInt>(std::min(kPiece, in_left));
    if (stream.avail_out == 0) stream.avail_out = static_cast<uInt>(std::min(kPiece, out_left));
    const uInt in_before = stream.avail_in, out_before = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    in_left -= in_before - stream.avail_in;
    out_left -= out_before - stream.avail_out;
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && out_left == 0;
}

// An absolute path, or one with a ".." in it.
bool leaves_archive(const std::string& name) {
  return name.starts_with('/') || name == ".." || name.starts_with("../") || name.ends_with("/..") ||
         name.find("/../") != std::string::npos;
}

}  // namespace

bool ZipReader::is_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "PK\3\4", 4) == 0;
}

void ZipReader::damaged(const std::string& what) const {
  fail_with("the file is damaged: fetch or save it again", "{}: {}", origin_, what);
}

template <class T>
T ZipReader::number(size_t at) const {
  if (at > bytes_.size() || bytes_.size() - at < sizeof(T))
    damaged("its zip directory points outside the file");
  T value;
  std::memcpy(&value, bytes_.data() + at, sizeof(T));
  return value;
}

ZipReader::ZipReader(std::span<const std::byte> bytes, std::string origin)
    : bytes_(bytes),
      origin_(std::move(origin)),
      inflate_budget_(kInflateFree + kInflateFactor * bytes.size()) {
  const Directory directory = find_directory();
  if (directory.offset > bytes_.size() || directory.size > bytes_.size() - directory.offset)
    damaged("its zip directory points outside the file");
  if (directory.count > directory.size / kCentralSize)
    damaged("its zip directory is shorter than its own count");
  size_t at = directory.offset;
  const size_t end = directory.offset + directory.size;
  for (uint64_t i = 0; i < directory.count; ++i) at = read_entry(at, end);
  check_overlaps();
}

// The end record lies at the end, before a comment of at most 65535 bytes.
ZipReader::Directory ZipReader::find_directory() const {
  const size_t first = bytes_.size() > kEndSize + 0xFFFF ? bytes_.size() - kEndSize - 0xFFFF : 0;
  for (size_t at = bytes_.size() < kEndSize ? 0 : bytes_.size() - kEndSize + 1; at-- > first;) {
    if (number<uint32_t>(at) != kEndRecord || at + kEndSize + number<uint16_t>(at + 20) > bytes_.size())
      continue;
    const Directory small{number<uint32_t>(at + 16), number<uint32_t>(at + 12), number<uint16_t>(at + 10)};
    const bool wide = small.offset == UINT32_MAX || small.size == UINT32_MAX || small.count == UINT16_MAX;
    const bool has_locator = at >= kLocatorSize && number<uint32_t>(at - kLocatorSize) == kLocator64;
    return wide && has_locator ? find_directory64(at) : small;
  }
  fail_with("the download or copy is incomplete: download or copy the file again",
            "{}: is cut short: it begins as a zip archive of {} bytes or more, but the directory at its end "
            "is missing",
            origin_, bytes_.size());
}

ZipReader::Directory ZipReader::find_directory64(size_t end_record) const {
  const uint64_t at = number<uint64_t>(end_record - kLocatorSize + 8);
  if (at > bytes_.size() || bytes_.size() - at < kEnd64Size || number<uint32_t>(at) != kEndRecord64)
    damaged("its zip64 directory points outside the file");
  return {number<uint64_t>(at + 48), number<uint64_t>(at + 40), number<uint64_t>(at + 32)};
}

// Reads the directory's record at `at`; returns the position of the next one.
size_t ZipReader::read_entry(size_t at, size_t end) {
  if (end - at < kCentralSize || number<uint32_t>(at) != kCentralHeader)
    damaged("its zip directory is broken");
  const size_t name_size = number<uint16_t>(at + 28), extra_size = number<uint16_t>(at + 30);
  const size_t next = at + kCentralSize + name_size + extra_size + number<uint16_t>(at + 32);
  if (next > end) damaged("its zip directory is broken");
  ZipEntry entry;
  entry.name.assign(reinterpret_cast<const char*>(bytes_.data()) + at + kCentralSize, name_size);
  entry.method = number<uint16_t>(at + 10);
  entry.crc32 = number<uint32_t>(at + 16);
  entry.packed_size = number<uint32_t>(at + 20);
  entry.size = number<uint32_t>(at + 24);
  uint64_t header = number<uint32_t>(at + 42);
  if (number<uint16_t>(at + 8) & 1) damaged(fmt::format("entry '{}' is encrypted", printable(entry.name)));
  // Extra field 1 holds, in this order, the three values above whose fields are all ones.
  const size_t extras = at + kCentralSize + name_size;
  for (size_t x = extras; x + 4 <= extras + extra_size; x += 4 + number<uint16_t>(x + 2)) {
    if (number<uint16_t>(x) != 1) continue;
    size_t field = x + 4;
    for (uint64_t* value : {&entry.size, &entry.packed_size, &header}) {
      if (*value != UINT32_MAX) continue;
      *value = number<uint64_t>(field);
      field += 8;
    }
  }
  if (leaves_archive(entry.name))
    damaged(fmt::format("entry '{}' leads outside the archive: torch.save writes none like it",
                        printable(entry.name)));
  locate(entry, header);
  if (!index_.emplace(entry.name, entries_.size()).second)
    damaged(fmt::format("entry '{}' is there twice", printable(entry.name)));
  entries_.push_back(std::move(entry));
  return next;
}

void ZipReader::locate(ZipEntry& entry, uint64_t header) const {
  const auto outside = [&] {
    damaged(fmt::format("entry '{}' lies outside the file", printable(entry.name)));
  };
  if (header > bytes_.size() || bytes_.size() - header < kLocalSize ||
      number<uint32_t>(header) != kLocalHeader)
    outside();
  const uint64_t begin = header + kLocalSize + number<uint16_t>(header + 26) + number<uint16_t>(header + 28);
  if (begin > bytes_.size() || entry.packed_size > bytes_.size() - begin) outside();
  entry.packed = bytes_.subspan(begin, entry.packed_size);
}

// Entries that share bytes can make an archive that unpacks to an unlimited size.
void ZipReader::check_overlaps() const {
  std::vector<const ZipEntry*> order;
  for (const ZipEntry& e : entries_)
    if (!e.packed.empty()) order.push_back(&e);
  std::sort(order.begin(), order.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->packed.data() < b->packed.data(); });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->packed.data() < order[i - 1]->packed.data() + order[i - 1]->packed.size()) {
      damaged(fmt::format("entries '{}' and '{}' overlap: refused as a zip bomb",
                          printable(order[i - 1]->name), printable(order[i]->name)));
    }
  }
}

const ZipEntry* ZipReader::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &entries_[at->second];
}

ZipBytes ZipReader::read(const ZipEntry& entry) {
  const std::string name = printable(entry.name);
  if (entry.method == 0) {
    if (entry.size != entry.packed_size)
      damaged(fmt::format("entry '{}' is stored, but its two sizes differ", name));
    return {entry.packed, nullptr};
  }
  if (entry.method != 8)
    damaged(fmt::format("entry '{}' uses compression method {}, which is not supported", name, entry.method));
  if (entry.size > inflate_budget_) {
    fail_with("do not extract this file",
              "{}: entry '{}' would grow from {} to {} bytes: suspicious compression ratio (zip bomb?)",
              origin_, name, entry.packed_size, entry.size);
  }
  inflate_budget_ -= entry.size;
  auto inflated = std::make_shared<std::vector<std::byte>>(entry.size);
  if (!inflate_exactly(entry.packed, *inflated))
    damaged(fmt::format("entry '{}' does not unpack to its declared size of {} bytes", name, entry.size));
  return {*inflated, inflated};
}

void ZipReader::check(
    const std::vector<std::pair<const ZipEntry*, std::span<const std::byte>>>& entries) const {
  std::vector<uint8_t> wrong(entries.size());
  parallel_for(static_cast<int64_t>(entries.size()), [&](int64_t i) {
    const auto& [entry, bytes] = entries[static_cast<size_t>(i)];
    wrong[static_cast<size_t>(i)] = crc_of(bytes) != entry->crc32;
  });
  for (size_t i = 0; i < entries.size(); ++i)
    if (wrong[i])
      damaged(fmt::format("the checksum of entry '{}' is wrong", printable(entries[i].first->name)));
}

}  // namespace graft::hub
