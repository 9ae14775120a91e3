#include "transfer/teacher_outputs.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "hub/sha256.h"
#include "report/growing_file.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kPiece = 4096;  // rows that are computed between two writes
constexpr const char *kOutputs = "outputs.f32", *kProgress = "progress.json";

// What is wrong with stored outputs; "" = nothing.
std::string complaint_of(const fs::path& folder, const Json& key, int64_t rows, int64_t columns) try {
  if (!(read_json(folder / "key.json") == key)) return "key.json is not that of these outputs";
  const Json manifest = read_json(folder / "manifest.json");
  if (manifest.at("rows") != Json(rows) || manifest.at("columns") != Json(columns))
    return "manifest.json has other sizes";
  if (hub::sha256_of_file(folder / kOutputs) != manifest.at("sha256").get<std::string>())
    return "outputs.f32 is damaged";
  return "";
} catch (const Error& e) {
  return e.what();
}

// How many rows an interrupted run left in the folder: whole pieces that were on the disk when it said so.
int64_t rows_done(const fs::path& folder, const Json& key, int64_t rows, int64_t columns) try {
  if (!path_exists(folder / kProgress) || !(read_json(folder / "key.json") == key)) return 0;
  const Json progress = read_json(folder / kProgress);
  const auto done = progress.at("rows").get<int64_t>();
  const bool fits = progress.at("columns") == Json(columns) && done % kPiece == 0 && done < rows;
  const uint64_t bytes = static_cast<uint64_t>(done * columns) * sizeof(float);
  return fits && MappedFile(folder / kOutputs).size() >= bytes ? done : 0;
} catch (const Error&) {
  return 0;
}

void compute_outputs(const fs::path& folder, const Json& key, int64_t rows, int64_t columns,
                     const std::function<void(int64_t, int64_t, float*)>& compute) {
  const int64_t done = rows_done(folder, key, rows, columns);
  if (done == 0) {
    remove_tree(folder);
    make_folders(folder);
    write_json(folder / "key.json", key);
  } else {
    log_info("teacher: {} of {} texts were computed before", done, rows);
  }
  report::GrowingFile file(folder / kOutputs, static_cast<uint64_t>(done * columns) * sizeof(float));
  std::vector<float> piece;
  auto said = std::chrono::steady_clock::now();
  for (int64_t first = done; first < rows; first += kPiece) {
    const int64_t last = std::min(rows, first + kPiece);
    piece.resize(static_cast<size_t>((last - first) * columns));
    compute(first, last, piece.data());
    file.append({reinterpret_cast<const char*>(piece.data()), piece.size() * sizeof(float)});
    file.sync();
    if (last < rows) write_json(folder / kProgress, {{"rows", last}, {"columns", columns}});
    if (const auto now = std::chrono::steady_clock::now(); now - said > std::chrono::seconds(15)) {
      log_info("teacher: {} of {} texts", last, rows);
      said = now;
    }
  }
  write_json(folder / "manifest.json",
             {{"rows", rows}, {"columns", columns}, {"sha256", hub::sha256_of_file(folder / kOutputs)}});
  remove_file(folder / kProgress);
}

}  // namespace

TeacherOutputs::TeacherOutputs(const fs::path& folder, const Json& key, int64_t rows, int64_t columns,
                               const std::function<void(int64_t, int64_t, float*)>& compute)
    : rows_(rows), columns_(columns) {
  const fs::path place = folder / hub::sha256_of(key.dump());
  if (path_exists(place)) {
    const std::string complaint = complaint_of(place, key, rows, columns);
    was_there_ = complaint.empty();
    if (!was_there_)
      log_warning("{}: {}; the outputs of the teacher are computed again", place.string(), complaint);
  }
  if (!was_there_) {
    const fs::path fresh = place.string() + ".tmp";
    compute_outputs(fresh, key, rows, columns, compute);
    replace_folder(fresh, place);
  }
  file_.emplace(place / kOutputs);
}

std::string fingerprint_of(const std::vector<std::string>& texts) {
  std::string digests;
  std::string piece;
  const auto add = [&] {
    digests += hub::sha256_of(piece);
    piece.clear();
  };
  for (const std::string& text : texts) {
    const auto size = static_cast<uint64_t>(text.size());
    piece.append(reinterpret_cast<const char*>(&size), sizeof size);
    piece += text;
    if (piece.size() > size_t{16} << 20) add();
  }
  add();
  return hub::sha256_of(digests);
}

}  // namespace graft::transfer
