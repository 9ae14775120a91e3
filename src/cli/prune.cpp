// graft prune: fewer layers and a smaller vocabulary.
#include "transfer/prune.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "train/output.h"
#include "transfer/folders.h"

namespace graft::cli {

namespace {

Json json_of(const transfer::ModelSize& size) {
  return {{"layers", size.layers},
          {"vocabulary", size.vocabulary},
          {"parameters", size.parameters},
          {"bytes", size.bytes}};
}

void print_sizes(const transfer::PruneReport& report) {
  fmt::print("{:12} {:>12} {:>12}\n", "", "before", "after");
  const auto row = [](const char* name, int64_t before, int64_t after) {
    fmt::print("{:12} {:>12} {:>12}\n", name, before, after);
  };
  row("layers", report.before.layers, report.after.layers);
  row("vocabulary", report.before.vocabulary, report.after.vocabulary);
  row("parameters", report.before.parameters, report.after.parameters);
  fmt::print("{:12} {:>12.1f} {:>12.1f}\n", "MB", static_cast<double>(report.before.bytes) / 1e6,
             static_cast<double>(report.after.bytes) / 1e6);
}

}  // namespace

int prune(int argc, char** argv) {
  transfer::PruneOptions o;
  std::string model, output_dir;
  std::vector<std::string> vocabulary;
  bool json = false, overwrite = false;
  Options options(
      "prune", "a smaller copy of a model: fewer layers, a smaller vocabulary",
      {"graft prune --model DIR --layers 3 --output_dir small",
       "graft prune --model DIR --layers 0,2,5 --vocabulary domain.txt.xz --output_dir small",
       "graft prune --model DIR --vocabulary a.txt b.csv --vocabulary_size 8_000 --output_dir small"});
  options.text("model", model, "checkpoint: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("layers", o.layers, "the layers that stay, such as 0,2,5; one number: so many, evenly spread");
  options.list("vocabulary", vocabulary,
               "texts whose pieces stay: .txt .csv .tsv .jsonl .json, each also .gz .zst .xz");
  options.text("text_column", o.columns.text_column, "column of the text, where the files have columns");
  options.text("text_pair_column", o.columns.text_pair_column, "column of a second text");
  options.integer("vocabulary_size", o.vocabulary_size,
                  "pieces that stay, the most frequent ones; default: every piece that occurs", {1, 1e8});
  options.integer("min_count", o.min_count, "rarer pieces are left out", {1, 1e12});
  options.text("output_dir", output_dir, "folder of the smaller model", true);
  options.flag("overwrite_output_dir", overwrite, "write into a folder that holds files");
  options.flag("json", json, "the sizes on stdout as json");
  options.threads();
  if (!options.parse(argc, argv, 2)) return 0;
  o.model = find_model(model);
  o.output_dir = output_dir;
  transfer::check_other_folder(o.model, o.output_dir);
  train::check_free_folder(o.output_dir, overwrite);
  o.vocabulary.assign(vocabulary.begin(), vocabulary.end());
  const transfer::PruneReport report = transfer::prune(o);
  if (!vocabulary.empty())
    say(fmt::format("the pieces that stay are {:.2f} % of the tokens of the given texts",
                    100 * report.kept_tokens));
  if (json) {
    const Json out = {{"before", json_of(report.before)},
                      {"after", json_of(report.after)},
                      {"kept_tokens", report.kept_tokens}};
    fmt::print("{}\n", out.dump());
  } else {
    print_sizes(report);
  }
  return 0;
}

}  // namespace graft::cli
