// Data files by language, as options name them: de=test.de.csv,fr=test.fr.csv
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace graft::transfer {

struct LanguageFile {
  std::string language;
  std::filesystem::path file;
};

// The items of an option, in their order. Throws UsageError for one that is no CODE=FILE, for a code that is
// no language, and for a language that is given twice; Error for a file that does not exist or is empty.
std::vector<LanguageFile> language_files(const std::vector<std::string>& values, const std::string& option);

// Throws UsageError if two languages have the same file, or files of equal bytes.
void check_different_files(const std::vector<LanguageFile>& files, const std::string& option);

// Whether two paths are one file, or two of equal bytes.
bool same_content(const std::filesystem::path& a, const std::filesystem::path& b);

// "de, fr and ru"
std::string enumeration(const std::vector<std::string>& names);

}  // namespace graft::transfer
