// Writes the little pickles, zip archives and torch files, sound and hostile, that the tests read.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace graft::hub::test_files {

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Pieces of a pickle of protocol 2.
inline std::string text(const std::string& s) { return "X" + raw(static_cast<uint32_t>(s.size())) + s; }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string number(int64_t n) { return std::string("\x8a\x08", 2) + raw(n); }
inline std::string tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string numbers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (int64_t v : values) items.push_back(number(v));
  return tuple(items);
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u";
}
inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

inline std::string storage(const std::string& key, const std::string& type, int64_t count) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), number(count)}) + "Q";
}
inline std::string tensor(const std::string& stored, int64_t offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({stored, number(offset), numbers(shape), numbers(stride), "\x89",
                global("collections", "OrderedDict") + ")R"}) +
         "R";
}

// A file of the layout before zip: `main` is the state dict's pickle, each storage a key and (count, bytes).
inline std::string legacy_file(
    const std::string& main,
    const std::vector<std::pair<std::string, std::pair<int64_t, std::string>>>& storages) {
  std::string out = pickle(std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12)) +
                    pickle(number(1001)) + pickle(dict({{"little_endian", "\x88"}})) + main;
  std::string keys = "](", data;
  for (const auto& [key, content] : storages) {
    keys += text(key);
    data += raw(content.first) + content.second;
  }
  return out + pickle(keys + "e") + data;
}

struct ZipItem {
  std::string name, content;
  bool deflated = false;
  int64_t declared_size = -1;  // -1: the truth
  uint32_t wrong_crc = 0;      // added to the true checksum
};

inline std::string deflate_raw(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// `zip64` writes sizes and offsets in extra fields and adds the wide end record.
inline std::string zip_file(const std::vector<ZipItem>& items, bool zip64 = false) {
  std::string out, directory;
  for (const ZipItem& item : items) {
    const std::string packed = item.deflated ? deflate_raw(item.content) : item.content;
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(item.content.data()),
                                                 static_cast<uInt>(item.content.size()))) +
                     item.wrong_crc;
    const uint64_t size =
        item.declared_size < 0 ? item.content.size() : static_cast<uint64_t>(item.declared_size);
    const uint64_t offset = out.size();
    const uint32_t all_ones = UINT32_MAX;
    const auto narrow = [&](uint64_t v) { return raw(zip64 ? all_ones : static_cast<uint32_t>(v)); };
    const std::string extra =
        zip64 ? raw(uint16_t{1}) + raw(uint16_t{24}) + raw(size) + raw(uint64_t{packed.size()}) + raw(offset)
              : "";
    const std::string middle = raw(uint16_t{0}) + raw(static_cast<uint16_t>(item.deflated ? 8 : 0)) +
                               raw(uint32_t{0}) + raw(crc) + narrow(packed.size()) + narrow(size) +
                               raw(static_cast<uint16_t>(item.name.size()));
    out += "PK\3\4" + raw(uint16_t{45}) + middle + raw(uint16_t{0}) + item.name + packed;
    directory += "PK\1\2" + raw(uint16_t{45}) + raw(uint16_t{45}) + middle +
                 raw(static_cast<uint16_t>(extra.size())) + raw(uint16_t{0}) + raw(uint16_t{0}) +
                 raw(uint16_t{0}) + raw(uint32_t{0}) + narrow(offset) + item.name + extra;
  }
  const uint64_t at = out.size(), count = items.size();
  out += directory;
  if (zip64) {
    out += "PK\6\6" + raw(uint64_t{44}) + raw(uint16_t{45}) + raw(uint16_t{45}) + raw(uint64_t{0}) +
           raw(count) + raw(count) + raw(uint64_t{directory.size()}) + raw(at);
    out += "PK\6\7" + raw(uint32_t{0}) + raw(at + directory.size()) + raw(uint32_t{1});
  }
  const uint16_t few = zip64 ? UINT16_MAX : static_cast<uint16_t>(count);
  return out + "PK\5\6" + raw(uint32_t{0}) + raw(few) + raw(few) +
         raw(zip64 ? UINT32_MAX : static_cast<uint32_t>(directory.size())) +
         raw(zip64 ? UINT32_MAX : static_cast<uint32_t>(at)) + raw(uint16_t{0});
}

}  // namespace graft::hub::test_files
