#include "hub/safetensors.h"

#include <fmt/format.h>

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "hub/printable.h"

namespace graft::hub {

namespace {

constexpr const char* kRepeatDownload = "the download or copy is incomplete: download or copy the file again";
constexpr const char* kDamaged =
    "the file is damaged or was written by a faulty program: fetch or save it again";

struct Entry {
  std::string_view name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

std::optional<DType> dtype_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(DType::boolean); ++i)
    if (name == dtype_name(static_cast<DType>(i))) return static_cast<DType>(i);
  return std::nullopt;
}

// Reads one entry of the header. Every error names the file and the tensor.
class EntryReader {
 public:
  EntryReader(const std::string& origin, std::string_view name) : origin_(origin), name_(name) {}

  Entry read(simdjson::dom::element value) const {
    simdjson::dom::object fields;
    if (value.get(fields)) refuse("is not an object");
    Entry entry;
    entry.name = name_;
    entry.dtype = read_dtype(fields);
    uint64_t bytes = dtype_size(entry.dtype);
    for (simdjson::dom::element dim : array(fields, "shape")) {
      uint64_t d = 0;
      if (dim.get(d) || d > INT64_MAX) refuse("has a shape that is not made of counts");
      if (__builtin_mul_overflow(bytes, d, &bytes)) refuse("has a shape that no file can hold");
      entry.shape.push_back(static_cast<int64_t>(d));
    }
    read_offsets(fields, entry);
    if (entry.end - entry.begin != bytes) {
      refuse(fmt::format("has shape [{}] of {}, {} bytes, but data_offsets of {} bytes",
                         fmt::join(entry.shape, ", "), dtype_name(entry.dtype), bytes,
                         entry.end - entry.begin));
    }
    return entry;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail_with(kDamaged, "{}: tensor '{}' {}", origin_, printable(name_), what);
  }

  DType read_dtype(simdjson::dom::object fields) const {
    std::string_view text;
    if (fields["dtype"].get(text)) refuse("has no dtype");
    const std::optional<DType> dtype = dtype_of(text);
    if (!dtype) {
      fail_with("convert it to F32, F16 or BF16", "{}: tensor '{}' has dtype '{}', which graft does not read",
                origin_, printable(name_), printable(text));
    }
    return *dtype;
  }

  simdjson::dom::array array(simdjson::dom::object fields, const char* key) const {
    simdjson::dom::array out;
    if (fields[key].get(out)) refuse(fmt::format("has no list '{}'", key));
    return out;
  }

  void read_offsets(simdjson::dom::object fields, Entry& entry) const {
    const simdjson::dom::array pair = array(fields, "data_offsets");
    if (pair.size() != 2 || pair.at(0).get(entry.begin) || pair.at(1).get(entry.end) ||
        entry.begin > entry.end)
      refuse("has data_offsets that are not [begin, end]");
  }

  const std::string& origin_;
  std::string_view name_;
};

std::vector<Entry> read_entries(simdjson::dom::object header, const std::string& origin) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail_with(kDamaged, "{}: __metadata__ is not an object", origin);
      continue;
    }
    entries.push_back(EntryReader(origin, name).read(value));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  return entries;
}

// Every byte of the data belongs to exactly one tensor.
void check_layout(const std::vector<Entry>& entries, uint64_t data_size, uint64_t data_offset,
                  const std::string& origin) {
  uint64_t at = 0;
  for (const Entry& e : entries) {
    if (e.begin != at) {
      fail_with(kDamaged, "{}: tensor '{}' begins at byte {} of the data, {} {}", origin, printable(e.name),
                e.begin, e.begin < at ? "inside the tensor before it, which ends at" : "leaving a hole after",
                at);
    }
    at = e.end;
  }
  if (at > data_size) {
    const uint64_t whole = data_offset > UINT64_MAX - at ? UINT64_MAX : data_offset + at;
    fail_with(kRepeatDownload, "{}: is cut short: {} of {} bytes are there, {} are missing", origin,
              data_offset + data_size, whole, at - data_size);
  }
  if (at < data_size)
    fail_with(kDamaged, "{}: {} bytes follow the last tensor and belong to none", origin, data_size - at);
}

// The header's text; throws if its size is impossible.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& origin) {
  if (bytes.size() < 8) {
    fail_with(kRepeatDownload,
              "{}: is not a safetensors file: it has {} bytes, fewer than the 8 that say how "
              "long its header is",
              origin, bytes.size());
  }
  refuse_lookalikes(bytes, origin);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  if (size > kMaxSafetensorsHeader || size < 2) {
    fail_with(kDamaged, "{}: is not a safetensors file: its header size is {} bytes ({} to {} are possible)",
              origin, size, 2, kMaxSafetensorsHeader);
  }
  if (size > bytes.size() - 8) {
    fail_with(kRepeatDownload,
              "{}: is cut short inside its header: {} of at least {} bytes are there, {} are "
              "missing",
              origin, bytes.size(), size + 8, size + 8 - bytes.size());
  }
  return {reinterpret_cast<const char*>(bytes.data()) + 8, size};
}

}  // namespace

void refuse_lookalikes(std::span<const std::byte> bytes, const std::string& origin) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<size_t>(bytes.size(), 64));
  if (text.starts_with("version https://git-lfs")) {
    fail_with(
        "fetch the weights themselves: `git lfs pull` in that folder, or `graft pull` with the model's name",
        "{}: is a Git LFS pointer, not the weights", origin);
  }
  if (text.starts_with("<!DOCTYPE") || text.starts_with("<!doctype") || text.starts_with("<html")) {
    fail_with("download the file itself (on the hub: the address with /resolve/, not /blob/)",
              "{}: is a web page, not the weights", origin);
  }
}

StateDict parse_safetensors(std::span<const std::byte> bytes, const std::string& origin) {
  const std::string_view text = header_text(bytes, origin);
  const simdjson::padded_string padded(text);
  simdjson::dom::parser parser;
  simdjson::dom::object header;
  if (const auto error = parser.parse(padded).get(header)) {
    fail_with(kDamaged, "{}: is not a safetensors file: its header is not a JSON object ({})", origin,
              simdjson::error_message(error));
  }
  const std::vector<Entry> entries = read_entries(header, origin);
  const std::span<const std::byte> data = bytes.subspan(8 + text.size());
  check_layout(entries, data.size(), 8 + text.size(), origin);
  StateDict out;
  for (const Entry& e : entries) {
    out.add({std::string(e.name), e.dtype, e.shape, data.data() + e.begin,
             static_cast<size_t>(e.end - e.begin), origin});
  }
  return out;
}

StateDict read_safetensors(const std::filesystem::path& file) {
  auto mapped = std::make_shared<MappedFile>(file);
  StateDict out = parse_safetensors({mapped->data(), mapped->size()}, file.string());
  out.keep(std::move(mapped));
  return out;
}

}  // namespace graft::hub
