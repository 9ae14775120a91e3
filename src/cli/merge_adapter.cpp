#include "cli/merge_adapter.h"

#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "graft/adapter.h"
#include "graft/tokenizer.h"
#include "models/adapter_folder.h"
#include "models/state.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

void check_output(const fs::path& output, const fs::path& adapter, const fs::path& base) {
  std::error_code ignored;
  for (const auto& [other, what] : {std::pair{&adapter, "adapter"}, {&base, "base model"}})
    if (fs::equivalent(output, *other, ignored))
      throw UsageError(fmt::format("--output_dir {} is the folder of the {}, which would be overwritten",
                                   output.string(), what),
                       "choose another --output_dir");
}

}  // namespace

void merge_adapter_folder(const std::string& name, const std::string& output_dir) {
  const fs::path folder = find_model(name);
  if (!models::is_adapter_folder(folder))
    fail_with("--adapter names the folder that holds adapter_config.json", "{}: is no folder of adapters",
              folder.string());
  const fs::path base = models::open_adapter(folder).base, output = output_dir;
  check_output(output, folder, base);
  ModelOptions options;
  options.task = train::trained_task(folder);
  Model model = Model::from_pretrained(folder, options);
  const size_t modules = model.state().adapter->matrices.size();
  graft::merge_adapter(model);
  model.save_pretrained(output);
  Tokenizer::from_pretrained(models::tokenizer_folder(folder))->save(output);
  const char* arguments = "training_args.json";
  if (path_exists(folder / arguments)) write_file(output / arguments, read_file(folder / arguments));
  say(fmt::format("the adapters of {} modules are merged into the weights of {}; the model is in {}", modules,
                  base.string(), output.string()));
}

}  // namespace graft::cli
