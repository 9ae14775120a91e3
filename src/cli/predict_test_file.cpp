#include "cli/predict_test_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "cli/console.h"
#include "cli/verbs.h"

namespace graft::cli {
namespace fs = std::filesystem;

void predict_test_file(const std::string& output_dir, const std::string& test_file,
                       const DatasetOptions& columns) {
  const std::string output = (fs::path(output_dir) / "predict_results.jsonl").string();
  std::error_code ignored;
  const std::string model = fs::absolute(output_dir, ignored).string();  // no name on the hub
  std::vector<std::string> args = {"graft",   "predict", "--model",  model,
                                   "--input", test_file, "--output", output};
  for (const auto& [name, value] : {std::pair{"--text_column", &columns.text_column},
                                    {"--text_pair_column", &columns.text_pair_column},
                                    {"--source_lang", &columns.source_lang}})
    if (!value->empty()) args.insert(args.end(), {name, *value});
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  predict(static_cast<int>(argv.size()), argv.data());
  say(fmt::format("the predictions for {} are in {}", test_file, output));
}

}  // namespace graft::cli
