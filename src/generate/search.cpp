#include "generate/search.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/philox.h"
#include "generate/beams.h"
#include "generate/processors.h"

namespace graft::generate {
namespace {

std::vector<float> row_of(const engine::Tensor& logits, size_t row) {
  const float* x = logits.row(static_cast<int64_t>(row));
  return {x, x + logits.cols};
}

// A sequence that is continued token by token.
struct Line {
  size_t prompt, number;  // which sequence of which prompt
  size_t row;             // of the last logits
  Generated* to;
};

int32_t choose(std::vector<float> scores, const Line& line, const GenerationOptions& o,
               const SearchHooks& hooks) {
  const Generated& text = *line.to;
  process_scores(scores, text.tokens, text.prompt_length, o);
  if (!o.do_sample) return largest(scores);
  warp_scores(scores, o);
  const uint64_t step = text.tokens.size() - text.prompt_length;
  const std::string name =
      fmt::format("generate.{}.{}", hooks.first_prompt + static_cast<int64_t>(line.prompt), line.number);
  return draw(scores, PhiloxStream(philox_key(o.seed, step, name)).uniform());
}

using Found = std::vector<std::vector<Generated>>;

void search_lines(Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
                  const GenerationOptions& o, const std::vector<int64_t>& max_new_tokens,
                  const SearchHooks& hooks, Found& out) {
  std::vector<Line> lines;
  const auto copies = static_cast<size_t>(o.num_return_sequences);
  for (size_t p = 0; p < prompts.size(); ++p) {
    out[p].assign(copies, {prompts[p], prompts[p].size(), 0});
    for (size_t c = 0; c < copies; ++c) lines.push_back({p, c, p, &out[p][c]});
  }
  engine::Tensor logits = decoder.start(prompts);
  while (true) {
    std::vector<Line> going;
    std::vector<int32_t> parents, tokens;
    for (Line& line : lines) {
      std::vector<int32_t>& text = line.to->tokens;
      const int32_t token = choose(row_of(logits, line.row), line, o, hooks);
      text.push_back(token);
      if (hooks.on_token) hooks.on_token(line.prompt * copies + line.number, token);
      const bool ends =
          std::find(o.eos_token_id.begin(), o.eos_token_id.end(), token) != o.eos_token_id.end() ||
          static_cast<int64_t>(text.size() - line.to->prompt_length) >= max_new_tokens[line.prompt] ||
          (hooks.stops && hooks.stops(text));
      if (ends) continue;
      parents.push_back(static_cast<int32_t>(line.row));
      tokens.push_back(token);
      line.row = going.size();
      going.push_back(line);
    }
    if (going.empty()) return;
    lines = std::move(going);
    logits = decoder.step(parents, tokens);
  }
}

void search_beams(Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
                  const GenerationOptions& o, const std::vector<int64_t>& max_new_tokens,
                  const SearchHooks& hooks, Found& out) {
  std::vector<Beams> beams;
  std::vector<std::vector<size_t>> rows;  // of the last logits, of each beam
  for (size_t p = 0; p < prompts.size(); ++p) {
    beams.emplace_back(prompts[p], o, max_new_tokens[p]);
    rows.emplace_back(static_cast<size_t>(o.num_beams), p);
  }
  engine::Tensor logits = decoder.start(prompts);
  while (true) {
    std::vector<int32_t> parents, tokens;
    for (size_t p = 0; p < prompts.size(); ++p) {
      Beams& group = beams[p];
      if (group.done()) continue;
      std::vector<std::vector<float>> scores;
      for (size_t b = 0; b < group.size(); ++b) {
        scores.push_back(row_of(logits, rows[p][b]));
        log_softmax(scores.back());
        process_scores(scores.back(), group.running(b), prompts[p].size(), o);
      }
      group.extend(scores, hooks.stops);
      if (group.done()) continue;
      std::vector<size_t> next;
      for (size_t b = 0; b < group.size(); ++b) {
        next.push_back(parents.size());
        parents.push_back(static_cast<int32_t>(rows[p][group.parent(b)]));
        tokens.push_back(group.running(b).back());
      }
      rows[p] = std::move(next);
    }
    if (parents.empty()) break;
    logits = decoder.step(parents, tokens);
  }
  for (size_t p = 0; p < prompts.size(); ++p) out[p] = beams[p].best();
}

}  // namespace

Found search(Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
             const GenerationOptions& options, const std::vector<int64_t>& max_new_tokens,
             const SearchHooks& hooks) {
  Found out(prompts.size());
  if (prompts.empty()) return out;
  (options.num_beams > 1 ? search_beams : search_lines)(decoder, prompts, options, max_new_tokens, hooks,
                                                        out);
  return out;
}

}  // namespace graft::generate
