// Uncompressed, gzip (RFC 1952, several members), zstd and xz streams behind one read().
#include "data/stream.h"

#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace graft::data {
namespace fs = std::filesystem;

namespace {

constexpr size_t kBlock = size_t{1} << 17;
constexpr const char* kDamagedHint = "copy or download the file again";

[[noreturn]] void fail_truncated(const fs::path& path, const char* kind) {
  fail_with(kDamagedHint, "{}: the {} data ends too early: the file is truncated", path.string(), kind);
}

[[noreturn]] void fail_damaged(const fs::path& path, const char* kind, const std::string& detail) {
  fail_with(fmt::format("{}; a file that is not compressed must not end in {}", kDamagedHint,
                        path.extension().string()),
            "{}: damaged {} data ({})", path.string(), kind, detail);
}

class FileStream final : public ByteStream {
 public:
  explicit FileStream(const fs::path& path) : path_(path) {
    if (path == "-") {
      fd_ = ::dup(STDIN_FILENO);
    } else {
      fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (fd_ < 0) {
      fail_with(errno == ENOENT ? "check the spelling of the path" : "", "{}: {}", path.string(),
                std::strerror(errno));
    }
    struct stat st {};
    if (::fstat(fd_, &st) == 0 && S_ISDIR(st.st_mode)) {
      ::close(fd_);
      fail("{}: is a folder, a file was expected", path.string());
    }
  }
  ~FileStream() override { ::close(fd_); }
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;

  size_t read(char* out, size_t size) override {
    for (;;) {
      const ssize_t n = ::read(fd_, out, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) fail("{}: cannot read: {}", name_of(path_), std::strerror(errno));
    }
  }

 private:
  fs::path path_;
  int fd_ = -1;
};

class MemoryStream final : public ByteStream {
 public:
  explicit MemoryStream(std::string_view bytes) : bytes_(bytes) {}
  size_t read(char* out, size_t size) override {
    const size_t n = std::min(size, bytes_.size());
    if (n > 0) std::memcpy(out, bytes_.data(), n);
    bytes_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view bytes_;
};

// The compressed bytes of a file, a block at a time.
struct Source {
  explicit Source(const fs::path& p) : path(p), file(p), block(kBlock) {}
  // False at the end of the file.
  bool refill() {
    size = file.read(block.data(), block.size());
    used = 0;
    any = any || size > 0;
    return size > 0;
  }

  fs::path path;
  FileStream file;
  std::vector<char> block;
  size_t size = 0, used = 0;
  bool any = false;
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(const fs::path& path) : source_(path) {
    if (inflateInit2(&z_, 16 + MAX_WBITS) != Z_OK) fail("{}: cannot start zlib", path.string());
  }
  ~GzipStream() override { inflateEnd(&z_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  size_t read(char* out, size_t size) override {
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = static_cast<uInt>(std::min<size_t>(size, 1u << 30));
    const uInt wanted = z_.avail_out;
    while (z_.avail_out == wanted && more_input()) {
      const int rc = inflate(&z_, Z_NO_FLUSH);
      if (rc == Z_STREAM_END) {
        inside_ = false;
        inflateReset(&z_);
      } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
        fail_damaged(source_.path, "gzip", z_.msg ? z_.msg : "unknown error");
      }
    }
    return wanted - z_.avail_out;
  }

 private:
  // True while there is data to inflate; members may follow each other, and zero padding after the last is
  // ignored as gzip does.
  bool more_input() {
    for (;;) {
      if (z_.avail_in == 0) {
        if (!source_.refill()) {
          if (inside_ || !source_.any) fail_truncated(source_.path, "gzip");
          return false;
        }
        z_.next_in = reinterpret_cast<Bytef*>(source_.block.data());
        z_.avail_in = static_cast<uInt>(source_.size);
      }
      if (inside_ || *z_.next_in != 0) break;
      ++z_.next_in;
      --z_.avail_in;
    }
    inside_ = true;
    return true;
  }

  Source source_;
  z_stream z_{};
  bool inside_ = true;  // within a member, or before the first
};

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(const fs::path& path) : source_(path), z_(ZSTD_createDStream()) {
    if (!z_) fail("{}: cannot start zstd", path.string());
  }
  ~ZstdStream() override { ZSTD_freeDStream(z_); }
  ZstdStream(const ZstdStream&) = delete;
  ZstdStream& operator=(const ZstdStream&) = delete;

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer to{out, size, 0};
    while (to.pos == 0) {
      // An empty input still flushes what the decoder holds, unless the last frame is complete.
      if (source_.used == source_.size && !source_.refill()) {
        if (!source_.any) fail_truncated(source_.path, "zstd");
        if (pending_ == 0) return 0;
      }
      ZSTD_inBuffer from{source_.block.data(), source_.size, source_.used};
      pending_ = ZSTD_decompressStream(z_, &to, &from);
      if (ZSTD_isError(pending_)) fail_damaged(source_.path, "zstd", ZSTD_getErrorName(pending_));
      if (source_.size == 0 && to.pos == 0 && pending_ != 0) fail_truncated(source_.path, "zstd");
      source_.used = from.pos;
    }
    return to.pos;
  }

 private:
  Source source_;
  ZSTD_DStream* z_;
  size_t pending_ = 1;  // 0 at the end of a frame
};

class XzStream final : public ByteStream {
 public:
  explicit XzStream(const fs::path& path) : source_(path) {
    constexpr uint64_t kMemory = uint64_t{128} << 20;  // xz -9, the highest preset, needs 65 MiB
    if (lzma_stream_decoder(&z_, kMemory, LZMA_CONCATENATED) != LZMA_OK) {
      fail("{}: cannot start xz", path.string());
    }
  }
  ~XzStream() override { lzma_end(&z_); }
  XzStream(const XzStream&) = delete;
  XzStream& operator=(const XzStream&) = delete;

  size_t read(char* out, size_t size) override {
    z_.next_out = reinterpret_cast<uint8_t*>(out);
    z_.avail_out = size;
    while (z_.avail_out == size && !ended_) {
      if (z_.avail_in == 0 && source_.refill()) {
        z_.next_in = reinterpret_cast<const uint8_t*>(source_.block.data());
        z_.avail_in = source_.size;
      }
      const lzma_ret rc = lzma_code(&z_, z_.avail_in == 0 ? LZMA_FINISH : LZMA_RUN);
      if (rc == LZMA_STREAM_END) {
        ended_ = true;
      } else if (rc == LZMA_BUF_ERROR) {
        fail_truncated(source_.path, "xz");
      } else if (rc != LZMA_OK) {
        fail_damaged(source_.path, "xz", reason(rc));
      }
    }
    return size - z_.avail_out;
  }

 private:
  static const char* reason(lzma_ret rc) {
    switch (rc) {
      case LZMA_FORMAT_ERROR:
        return "not an xz file";
      case LZMA_MEMLIMIT_ERROR:
        return "needs more than 128 MiB to decompress";
      case LZMA_OPTIONS_ERROR:
        return "unsupported options";
      default:
        return "the data does not check";
    }
  }

  Source source_;
  lzma_stream z_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

// A text: its byte order mark is dropped, an encoding other than UTF-8 that shows in the first bytes is
// refused. All readers of text pass through here, whatever the format or compression of the file.
class TextStream final : public ByteStream {
 public:
  TextStream(std::unique_ptr<ByteStream> bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {}

  size_t read(char* out, size_t size) override {
    if (!started_) start();
    if (used_ == head_.size()) return bytes_->read(out, size);
    const size_t n = std::min(size, head_.size() - used_);
    std::memcpy(out, head_.data() + used_, n);
    used_ += n;
    return n;
  }

 private:
  static constexpr std::string_view kMark = "\xEF\xBB\xBF";

  // Reads no more than one piece beyond a mark that may still come: a pipe may hold no more than a short
  // line.
  void start() {
    started_ = true;
    std::string piece(512, '\0');
    do {
      const size_t n = bytes_->read(piece.data(), piece.size());
      if (n == 0) break;
      head_.append(piece, 0, n);
    } while (head_.size() < kMark.size() && kMark.substr(0, head_.size()) == head_);
    if (head_.compare(0, kMark.size(), kMark) == 0) used_ = kMark.size();
    if (const char* encoding = other_encoding()) {
      fail_with(fmt::format("convert it: iconv -f {} -t UTF-8 IN > OUT", encoding),
                "{}: the text is {}, UTF-8 was expected", name_, encoding);
    }
  }

  // By its mark, else by zeros: in UTF-16 every other byte of ASCII letters is one.
  const char* other_encoding() const {
    const auto starts = [&](std::string_view mark) { return head_.compare(0, mark.size(), mark) == 0; };
    if (starts({"\xFF\xFE\0\0", 4}) || starts({"\0\0\xFE\xFF", 4})) return "UTF-32";
    if (starts("\xFF\xFE") || starts("\xFE\xFF")) return "UTF-16";
    const size_t n = std::min<size_t>(head_.size(), 64) & ~size_t{1};
    if (n < 4) return nullptr;
    size_t zeros[2] = {0, 0};
    for (size_t i = 0; i < n; ++i) zeros[i % 2] += head_[i] == '\0';
    if (zeros[0] == 0 && zeros[1] == n / 2) return "UTF-16LE";
    if (zeros[1] == 0 && zeros[0] == n / 2) return "UTF-16BE";
    return nullptr;
  }

  std::unique_ptr<ByteStream> bytes_;
  std::string name_, head_;
  size_t used_ = 0;  // of head_
  bool started_ = false;
};

// What an invalid byte at the start of a file most likely means.
std::string encoding_hint(std::string_view line, int64_t line_number) {
  const auto starts = [&](std::string_view magic) {
    return line_number == 1 && line.substr(0, magic.size()) == magic;
  };
  if (starts("\x1F\x8B")) return "the file is compressed by gzip: let its name end in .gz";
  if (starts("\x28\xB5\x2F\xFD")) return "the file is compressed by zstd: let its name end in .zst";
  if (starts("\xFD"
             "7zXZ"))
    return "the file is compressed by xz: let its name end in .xz";
  return "save the file as UTF-8 (for example: iconv -f LATIN1 -t UTF-8 IN > OUT)";
}

std::unique_ptr<ByteStream> open_bytes(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (extension == ".gz") return std::make_unique<GzipStream>(path);
  if (extension == ".zst") return std::make_unique<ZstdStream>(path);
  if (extension == ".xz") return std::make_unique<XzStream>(path);
  return std::make_unique<FileStream>(path);
}

}  // namespace

std::string name_of(const fs::path& path) { return path == "-" ? "standard input" : path.string(); }

std::unique_ptr<ByteStream> open_stream(const fs::path& path) {
  return std::make_unique<TextStream>(open_bytes(path), name_of(path));
}

std::unique_ptr<ByteStream> memory_stream(std::string_view bytes) {
  return std::make_unique<TextStream>(std::make_unique<MemoryStream>(bytes), "the text in memory");
}

LineReader::LineReader(const fs::path& path, bool strip_cr) : LineReader(open_stream(path), path, strip_cr) {}

LineReader::LineReader(std::unique_ptr<ByteStream> stream, const fs::path& path, bool strip_cr)
    : stream_(std::move(stream)), name_(name_of(path)), strip_cr_(strip_cr) {}

LineReader::~LineReader() = default;

bool LineReader::fill() {
  buffer_.erase(0, pos_);
  pos_ = 0;
  const size_t kept = buffer_.size();
  buffer_.resize(kept + kBlock);
  const size_t n = stream_->read(buffer_.data() + kept, kBlock);
  buffer_.resize(kept + n);
  ended_ = n == 0;
  return n > 0;
}

void LineReader::check(std::string_view line) const {
  const size_t bad = utf8::find_invalid(line);
  if (bad == std::string_view::npos) return;
  fail_with(encoding_hint(line, line_), "{}: line {}: not valid UTF-8 (byte 0x{:02X} at byte {} of the line)",
            name_, line_, static_cast<unsigned char>(line[bad]), bad + 1);
}

bool LineReader::next(std::string& line) { return take_line(line, true); }
bool LineReader::next_bytes(std::string& line) { return take_line(line, false); }

bool LineReader::take_line(std::string& line, bool checked) {
  size_t searched = pos_;
  size_t end;
  while ((end = buffer_.find('\n', searched)) == std::string::npos && !ended_) {
    if (buffer_.size() - pos_ > kMaxRowBytes) {
      fail_with("text is one row a line: check that the file has line ends (U+000A)",
                "{}: line {}: longer than {} MiB", name_, line_ + 1, kMaxRowBytes >> 20);
    }
    const size_t seen = buffer_.size() - pos_;
    fill();
    searched = seen;
  }
  if (end == std::string::npos && pos_ == buffer_.size()) return false;
  const size_t stop = end == std::string::npos ? buffer_.size() : end;
  std::string_view found = std::string_view(buffer_).substr(pos_, stop - pos_);
  ++line_;
  if (checked) check(found);
  if (strip_cr_ && !found.empty() && found.back() == '\r') found.remove_suffix(1);
  line.assign(found);
  pos_ = end == std::string::npos ? stop : end + 1;
  return true;
}

}  // namespace graft::data
