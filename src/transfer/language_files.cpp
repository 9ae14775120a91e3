#include "transfer/language_files.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/shown.h"
#include "transfer/languages.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

std::vector<std::string> split(const std::string& value) {
  std::vector<std::string> items;
  for (size_t begin = 0; begin <= value.size();) {
    const size_t end = std::min(value.find(',', begin), value.size());
    items.push_back(value.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

LanguageFile parse(const std::string& item, const std::string& option) {
  const std::string hint = fmt::format(
      "write a language code, \"=\" and a file, separated by commas: --{} de=test.de.csv,fr=test.fr.csv",
      option);
  const size_t equals = item.find('=');
  if (item.empty()) throw UsageError(fmt::format("--{}: there is an empty item", option), hint);
  if (equals == std::string::npos)
    throw UsageError(fmt::format("--{} {}: the item names no language", option, shown(item)), hint);
  if (equals == 0 || equals + 1 == item.size())
    throw UsageError(fmt::format("--{} {}: the item has no {}", option, shown(item),
                                 equals == 0 ? "language before \"=\"" : "file behind \"=\""),
                     hint);
  LanguageFile out = {item.substr(0, equals), item.substr(equals + 1)};
  check_language(out.language, fmt::format("--{} {}", option, shown(item)));
  out.language = usual_code(out.language);
  return out;
}

void check_file(const LanguageFile& f, const std::string& option) {
  if (!path_exists(f.file))
    fail_with("check the path; it is relative to the folder that graft runs in",
              "--{} {}={}: there is no such file", option, f.language, f.file.string());
  if (is_folder(f.file))
    fail_with("name the file in it", "--{} {}={}: is a folder", option, f.language, f.file.string());
  if (MappedFile(f.file).size() == 0)
    fail_with(fmt::format("write labelled rows of {} into it, or leave the language out",
                          language_name(f.language)),
              "--{} {}={}: the file is empty, so that {} cannot be scored or trained on", option, f.language,
              f.file.string(), f.language);
}

}  // namespace

std::vector<LanguageFile> language_files(const std::vector<std::string>& values, const std::string& option) {
  std::vector<LanguageFile> out;
  for (const std::string& value : values) {
    for (const std::string& item : split(value)) {
      LanguageFile one = parse(item, option);
      for (const LanguageFile& other : out)
        if (other.language == one.language)
          throw UsageError(fmt::format("--{}: the language {} is given twice: {} and {}", option,
                                       one.language, other.file.string(), one.file.string()),
                           "a language has one file; variants have codes of their own: de-AT, de-CH");
      check_file(one, option);
      out.push_back(std::move(one));
    }
  }
  return out;
}

bool same_content(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  if (fs::equivalent(a, b, ignored)) return true;
  const MappedFile one(a), other(b);
  return one.text() == other.text();
}

void check_different_files(const std::vector<LanguageFile>& files, const std::string& option) {
  for (size_t i = 0; i < files.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (same_content(files[i].file, files[j].file))
        throw UsageError(
            fmt::format("--{}: {}={} and {}={} hold the same bytes, so that one of them is not a file of its "
                        "language",
                        option, files[j].language, files[j].file.string(), files[i].language,
                        files[i].file.string()),
            "name the file of each language");
}

std::string enumeration(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 < names.size() ? ", " : " and ") + names[i];
  return out;
}

}  // namespace graft::transfer
