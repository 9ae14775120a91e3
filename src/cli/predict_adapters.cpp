#include "cli/predict_adapters.h"

#include <algorithm>

#include "base/error.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/prediction_stream.h"
#include "cli/rerank.h"
#include "models/state.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

std::vector<NamedAdapter> parse_adapters(const std::vector<std::string>& values) {
  std::vector<NamedAdapter> out;
  for (const std::string& value : values) {
    const size_t at = value.find('=');
    if (at == std::string::npos || at == 0 || at + 1 == value.size())
      throw UsageError(fmt::format("--adapter {}: is not NAME=DIR", value),
                       fmt::format("--adapter spam={} gives the adapter the name spam",
                                   at == std::string::npos ? value : "DIR"));
    const std::string name = value.substr(0, at);
    if (std::any_of(out.begin(), out.end(), [&](const NamedAdapter& a) { return a.name == name; }))
      throw UsageError(fmt::format("--adapter: the name {} is given twice", name),
                       "the name tells the lines of output apart: give each adapter one of its own");
    out.push_back({name, value.substr(at + 1)});
  }
  for (NamedAdapter& a : out) a.folder = find_model(a.folder.string());
  return out;
}

// A line {"adapter": ..., "label": ..., "score": ...}.
std::string line_of(const std::string& adapter, const Prediction& prediction, bool all_scores) {
  Json line = {{"adapter", adapter}};
  const Json rest = prediction_json(prediction, all_scores);
  for (const auto& [key, value] : rest.items()) line[key] = value;
  return dump(line);
}

}  // namespace

void predict_with_adapters(const AdaptersToPredict& what) {
  const std::vector<NamedAdapter> adapters = parse_adapters(what.adapters);
  Pipeline pipeline(what.base, adapters, what.pipeline);
  for (const NamedAdapter& a : adapters) {
    pipeline.set_adapter(a.name);
    say_loaded(pipeline.model(),
               fmt::format("{} with the adapter {} of {}", what.base_name, a.name, a.folder.string()),
               train::inference_precision(what.pipeline.bf16, train::saved_arguments(a.folder)));
    say_unused(pipeline.model().load_report());
  }
  auto rows = data::open_rows(what.input);
  if (has_candidates(*rows))
    throw UsageError("--adapter is refused for rows with a query and candidates: one model ranks them",
                     "--model names the folder of that adapter");
  PredictionStream stream(std::move(rows), what.input, what.columns, what.output,
                          static_cast<size_t>(what.pipeline.batch_size));
  stream.run([&](const Texts& texts, const Texts& pairs) {
    std::vector<std::vector<Prediction>> found;
    found.reserve(adapters.size());
    for (const NamedAdapter& a : adapters) found.push_back(pipeline.predict(texts, pairs, a.name));
    std::string lines;
    for (size_t i = 0; i < texts.size(); ++i)
      for (size_t k = 0; k < adapters.size(); ++k)
        lines += line_of(adapters[k].name, found[k][i], what.all_scores);
    return lines;
  });
  say_truncated(pipeline.num_truncated());
}

}  // namespace graft::cli
