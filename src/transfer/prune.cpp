#include "transfer/prune.h"

#include <algorithm>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/folder.h"
#include "models/selection.h"
#include "train/argument_values.h"
#include "train/trained_model.h"
#include "transfer/folders.h"
#include "transfer/vocabulary_choice.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

void check_options(const PruneOptions& o) {
  if (o.layers.empty() && o.vocabulary.empty())
    throw UsageError("nothing to prune: give --layers, --vocabulary or both",
                     "graft prune --help shows examples");
  const char* needs_texts = o.vocabulary_size > 0                 ? "vocabulary_size"
                            : o.min_count > 1                     ? "min_count"
                            : !o.columns.text_column.empty()      ? "text_column"
                            : !o.columns.text_pair_column.empty() ? "text_pair_column"
                                                                  : nullptr;
  if (o.vocabulary.empty() && needs_texts)
    throw UsageError(fmt::format("--{} needs --vocabulary", needs_texts), "give the texts whose pieces stay");
  check_other_folder(o.model, o.output_dir);
}

// What the tokenizer's files hold, by way of a folder below `output_dir`.
text::VocabularyFiles tokenizer_files(const Tokenizer& tokenizer, const fs::path& output_dir) {
  const fs::path folder = output_dir / "tmp-tokenizer";
  tokenizer.save(folder);
  text::VocabularyFiles files(folder);
  remove_tree(folder);
  return files;
}

}  // namespace

std::vector<int64_t> parse_layers(const std::string& text, int64_t total) {
  std::vector<int64_t> layers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (begin == end)
      throw UsageError(fmt::format("--layers {}: a number is missing", text), "give a list such as 0,2,5");
    layers.push_back(train::parse_integer("layers", text.substr(begin, end - begin)));
    begin = end + 1;
  }
  const bool is_count = layers.size() == 1;
  if (is_count && (layers[0] < 1 || layers[0] > total))
    throw UsageError(fmt::format("--layers {}: the model has {} layers", text, total),
                     fmt::format("give a number from 1 to {}, or a list such as 0,{}", total, total - 1));
  if (is_count) return models::spread_layers(layers[0], total);
  for (size_t i = 0; i < layers.size(); ++i)
    if (layers[i] < 0 || layers[i] >= total || (i > 0 && layers[i] <= layers[i - 1]))
      throw UsageError(
          fmt::format("--layers {}: {} is not in order or not one of the model's layers, 0 to {}", text,
                      layers[i], total - 1),
          "name each layer once, in ascending order");
  return layers;
}

ModelSize size_of(const fs::path& folder, const Model& model) {
  const models::State& state = model.state();
  return {models::num_layers(state) + models::num_decoder_layers(state),
          state.network.encoder->word_embeddings()->rows(), model.num_parameters(), weight_bytes(folder)};
}

PruneReport prune(const PruneOptions& o) {
  check_options(o);
  check_whole_model(o.model);
  ModelOptions options;
  options.task = train::trained_task(o.model);
  const Model model = Model::from_pretrained(o.model, options);
  check_finite(model, o.model);
  const models::State& state = model.state();
  const std::shared_ptr<Tokenizer> tokenizer = Tokenizer::from_pretrained(o.model);
  PruneReport report;
  report.before = size_of(o.model, model);
  models::Selection selection;
  if (!o.layers.empty()) {
    selection.layers = parse_layers(o.layers, models::num_layers(state));
    if (models::num_decoder_layers(state) > 0)
      selection.decoder_layers = parse_layers(o.layers, models::num_decoder_layers(state));
  }
  std::function<void(const fs::path&)> cut;
  if (!o.vocabulary.empty()) {
    tokenizer->check_embedding(state.network.encoder->word_embeddings()->rows());
    const VocabularyChoice choice = choose_vocabulary(
        tokenizer_files(*tokenizer, o.output_dir),
        count_pieces(*tokenizer, o, state.config.modules.do_lower_case), models::fixed_ids(state), o);
    selection.rows = choice.ids;
    report.kept_tokens = static_cast<double>(choice.kept_tokens) / static_cast<double>(choice.tokens);
    cut = [&selection](const fs::path& folder) { text::VocabularyFiles(folder).keep(selection.rows); };
  }
  const Model pruned = models::select_parts(model, selection);
  save_derived(pruned, o.model, *tokenizer, o.output_dir, cut);
  report.after = size_of(o.output_dir, pruned);
  return report;
}

}  // namespace graft::transfer
