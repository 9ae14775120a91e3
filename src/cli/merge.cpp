// graft merge: a whole model of a base model and its adapters.
#include "cli/merge_adapter.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace graft::cli {

int merge(int argc, char** argv) {
  std::string adapter, output_dir;
  Options options("merge", "the adapters of a folder in the weights of their base model",
                  {"graft merge --adapter lora --output_dir merged"});
  options.text("adapter", adapter, "folder of adapters: adapter_config.json and adapter_model.safetensors",
               true);
  options.text("output_dir", output_dir, "folder of the merged model", true);
  options.threads();
  if (!options.parse(argc, argv, 2)) return 0;
  merge_adapter_folder(adapter, output_dir);
  return 0;
}

}  // namespace graft::cli
