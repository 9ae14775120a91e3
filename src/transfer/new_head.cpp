#include "transfer/new_head.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "models/family.h"
#include "models/state.h"

namespace graft::transfer {
namespace {

constexpr size_t kReadBytes = size_t{4} << 20;  // of all files together

void count_tokens(const std::filesystem::path& lines, size_t bytes, const Tokenizer& tokenizer,
                  std::vector<double>& counts) {
  EncodeOptions options;
  options.add_special_tokens = false;
  options.ids_only = true;
  const MappedFile file(lines);
  std::string_view rest = file.text().substr(0, bytes);
  std::vector<std::string> texts;
  while (!rest.empty()) {
    texts.clear();
    constexpr size_t kPiece = 4096;
    while (texts.size() < kPiece && !rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      texts.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
    for (const Encoding& e : tokenizer.encode_batch(texts, {}, options))
      for (const int32_t id : e.input_ids)
        if (id >= 0 && static_cast<size_t>(id) < counts.size()) ++counts[static_cast<size_t>(id)];
  }
}

}  // namespace

bool has_new_head(const Model& model) {
  const auto& missing = model.load_report().missing;
  return std::any_of(missing.begin(), missing.end(), [&](const std::string& name) {
    return !models::is_backbone(*model.state().family, name);
  });
}

void start_from_frequencies(const Model& model, const Tokenizer& tokenizer,
                            const std::vector<std::filesystem::path>& files) {
  models::State& state = model.state();
  const int64_t vocabulary = state.network.encoder->word_embeddings()->rows();
  const auto& missing = model.load_report().missing;
  for (const engine::Parameter& p : state.parameters.parameters()) {
    if (p.shape != std::vector<int64_t>{vocabulary} || models::is_backbone(*state.family, p.name)) continue;
    if (std::find(missing.begin(), missing.end(), p.name) == missing.end()) continue;
    std::vector<double> counts(static_cast<size_t>(vocabulary), 0);
    for (const std::filesystem::path& file : files)
      count_tokens(file, kReadBytes / files.size(), tokenizer, counts);
    double total = 0;
    for (const double c : counts) total += c + 1;  // one more each: no token is impossible
    const engine::HostWrite bias = state.parameters.write_value(p);
    for (size_t i = 0; i < counts.size(); ++i)
      bias.data()[i] = static_cast<float>(std::log((counts[i] + 1) / total));
  }
  state.parameters.touch_values();
}

}  // namespace graft::transfer
