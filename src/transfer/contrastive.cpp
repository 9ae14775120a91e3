#include "transfer/contrastive.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "transfer/line_file.h"

namespace graft::transfer {
namespace {

Example pair_of(std::string_view text, std::string_view other) {
  Example example;
  example.text = std::string(text);
  example.text_pair = std::string(other);
  example.has_pair = true;
  return example;
}

// Where the second half begins: behind the space nearest to the middle. npos for fewer than six words.
size_t middle_of(std::string_view text) {
  constexpr int64_t kFewestWords = 6;
  if (std::count(text.begin(), text.end(), ' ') + 1 < kFewestWords) return std::string_view::npos;
  const size_t right = text.find(' ', text.size() / 2), left = text.rfind(' ', text.size() / 2);
  if (right == std::string_view::npos) return left;
  return left != std::string_view::npos && text.size() / 2 - left < right - text.size() / 2 ? left : right;
}

Dataset halves(const std::filesystem::path& file) {
  std::vector<Example> examples;
  for_each_line(file, [&](std::string_view text) {
    const size_t middle = middle_of(text);
    if (middle == std::string_view::npos || middle == 0 || middle + 1 == text.size()) return;
    examples.push_back(pair_of(text.substr(0, middle), text.substr(middle + 1)));
  });
  if (examples.size() < 2)
    fail_with("give more text, or --held_out_file with longer texts",
              "{}: {} of the held-out texts have six words or more; halves of two are compared",
              file.string(), examples.size());
  return Dataset(std::move(examples), file.string());
}

}  // namespace

TaskData contrastive_data(const std::filesystem::path& train, const std::filesystem::path& held_out,
                          const std::filesystem::path& general_held_out) {
  TaskData data;
  std::vector<Example> examples;
  for_each_line(train, [&](std::string_view text) { examples.push_back(pair_of(text, text)); });
  data.train = Dataset(std::move(examples), train.string());
  if (general_held_out.empty()) {
    data.eval = halves(held_out);
    return data;
  }
  for (const auto& [name, file] : {std::pair{kDomain, &held_out}, {kGeneral, &general_held_out}}) {
    EvaluationSet set{name};
    set.data = halves(*file);
    data.eval_sets.push_back(std::move(set));
  }
  return data;
}

}  // namespace graft::transfer
