// The options of `graft adapt`: what contradicts what.
#pragma once
#include <filesystem>
#include <string>

#include "transfer/adapt.h"
#include "transfer/language_files.h"

namespace graft::transfer {

struct Stages {
  bool dapt = false, tapt = false, task = false;
};

// Throws UsageError for no seed and for one that is there twice.
void check_seeds(const std::vector<uint64_t>& seeds);

// "dapt,tapt,task", a part of it in this order. Throws UsageError, as all below.
Stages parse_stages(const std::string& list);
// The items of an option whose values are de=FILE,fr=FILE; empty where they are files without languages.
std::vector<LanguageFile> files_by_language(const std::vector<std::string>& values,
                                            const std::string& option);
// Files that are missing, or that no stage reads.
void check_options(const AdaptJob& job, const Stages& stages);
// "name=value,name=value", or a json file of arguments. `option`: its name, for messages.
void set_arguments(TrainingArguments& arguments, const std::string& option, const std::string& values);

}  // namespace graft::transfer
