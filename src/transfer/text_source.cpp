#include "transfer/text_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/utf8.h"
#include "data/text_reader.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

// The first byte that no text has: invalid UTF-8, or a control character that is not white space.
size_t find_junk(std::string_view line) {
  size_t bad = utf8::find_invalid(line);
  for (size_t i = 0; i < line.size() && i < bad; ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    if ((c < 0x20 && !(c >= '\t' && c <= '\r')) || c == 0x7F) bad = i;
  }
  return bad;
}

}  // namespace

std::vector<fs::path> corpus_files(const std::vector<std::string>& paths, const char* option) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (path == "-")
      fail_with("write the text to a file", "--{} -: standard input can be read only once", option);
    if (!path_exists(path))
      fail_with(path_exists(path.substr(0, path.find(',')))
                    ? fmt::format("write a space between files: --{} FILE FILE", option)
                    : "check the path; it is relative to the folder that graft runs in",
                "--{} {}: no such file", option, path);
    if (!is_folder(path)) {
      data::format_of(path);  // an unknown extension is an error before anything is computed
      files.emplace_back(path);
      continue;
    }
    size_t found = 0;
    std::vector<std::string> others;
    for (const fs::path& file : list_folder(path)) {
      if (is_folder(file)) {
        others.push_back(file.filename().string() + "/");
      } else if (data::known_format(file)) {
        files.push_back(file);
        ++found;
      } else {
        others.push_back(file.filename().string());
      }
    }
    if (found == 0)
      fail_with("texts are in files .txt .jsonl .json .csv .tsv, each also .gz .zst .xz",
                "--{} {}: the folder holds no file of text", option, path);
    log_info("{}: {} files of text{}", path, found,
             others.empty() ? "" : "; not read: " + data::join_names(others));
  }
  return files;
}

TextSource::TextSource(std::vector<fs::path> files, DatasetOptions columns)
    : files_(std::move(files)), columns_of_files_(data::text_columns(std::move(columns))) {}

bool TextSource::open_next() {
  if (file_ == files_.size()) return false;
  const fs::path& path = files_[file_++];
  lines_of_file_ = junk_of_file_ = 0;
  first_junk_of_file_.clear();
  if (data::format_of(path) == data::Format::txt) {
    lines_ = std::make_unique<data::LineReader>(path);
    return true;
  }
  rows_ = data::open_rows(path);
  columns_ = data::choose_columns(rows_->columns(), columns_of_files_, path.string(), rows_->separator());
  second_text_ = false;
  return true;
}

void TextSource::end_file() {
  lines_.reset();
  if (junk_of_file_ * 10 <= lines_of_file_) return;
  fail_with("give files of text in UTF-8; compressed ones must end in .gz, .zst or .xz",
            "{}: {} of {} lines are no text, the first is {}: the file is binary or in another encoding",
            files_[file_ - 1].string(), junk_of_file_, lines_of_file_, first_junk_of_file_);
}

bool TextSource::next_line(SourceText& out) {
  while (lines_->next_bytes(out.text)) {
    ++counts_.lines;
    ++lines_of_file_;
    if (const size_t bad = find_junk(out.text); bad != std::string::npos) {
      ++counts_.junk_lines;
      if (junk_of_file_++ == 0)
        first_junk_of_file_ =
            fmt::format("line {} (byte 0x{:02X} at byte {} of the line)", lines_->line_number(),
                        static_cast<unsigned char>(out.text[bad]), bad + 1);
      if (counts_.first_junk.empty())
        counts_.first_junk = fmt::format("{}: {}", files_[file_ - 1].string(), first_junk_of_file_);
      constexpr int64_t kEnough = 10000;  // a large binary file is refused before its end
      if (lines_of_file_ >= kEnough && junk_of_file_ * 10 > lines_of_file_) end_file();
      continue;
    }
    if (data::is_blank(out.text)) {
      ++counts_.empty_lines;
      continue;
    }
    out.line = lines_->line_number();
    return true;
  }
  end_file();
  return false;
}

bool TextSource::next_row(SourceText& out) {
  while (second_text_ || rows_->next(row_)) {
    const size_t column = second_text_ ? columns_.pair : columns_.text;
    second_text_ = !second_text_ && columns_.pair != data::Columns::kNone;
    ++counts_.lines;
    const std::string place = fmt::format("{}: line {}", files_[file_ - 1].string(), row_.line);
    out.text = column < row_.cells.size()
                   ? data::take_text(row_.cells[column], place, rows_->columns()[column])
                   : "";
    for (char& c : out.text)
      if (c == '\n' || c == '\r') c = ' ';
    const bool junk = find_junk(out.text) != std::string::npos;
    counts_.junk_lines += junk;
    if (junk && counts_.first_junk.empty()) counts_.first_junk = place;
    const bool blank = !junk && data::is_blank(out.text);
    counts_.empty_lines += blank;
    if (junk || blank) continue;
    out.line = row_.line;
    return true;
  }
  rows_.reset();
  return false;
}

bool TextSource::next(SourceText& out) {
  for (;;) {
    if (!lines_ && !rows_ && !open_next()) return false;
    out.file = file_ - 1;
    if (lines_ ? next_line(out) : next_row(out)) return true;
  }
}

}  // namespace graft::transfer
