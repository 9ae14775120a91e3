#include "graft/embedder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "tasks/vocabulary.h"
#include "text/unicode.h"
#include "train/inference.h"

namespace graft {

namespace {

Model load_encoder(const std::filesystem::path& folder, const EmbedderOptions& options) {
  ModelOptions o;
  o.task = models::kSentenceEmbedding.task;
  o.pooling = options.pooling;
  o.normalize = options.normalize;
  return Model::from_pretrained(folder, o);
}

PipelineOptions pass_options(const EmbedderOptions& options) {
  PipelineOptions o;
  o.batch_size = options.batch_size;
  o.max_seq_length = options.max_seq_length;
  o.num_threads = options.num_threads;
  o.bf16 = options.bf16;
  return o;
}

// As the reference resolves it: the text given, else the named one, else the folder's default.
std::string choose_prompt(const EmbedderOptions& options, const hub::SentenceTransformer& modules) {
  if (options.prompt) return *options.prompt;
  const bool named = !options.prompt_name.empty();
  const std::string& name = named ? options.prompt_name : modules.default_prompt_name;
  std::string known;
  for (const auto& [key, text] : modules.prompts) {
    if (key == name) return text;
    known += (known.empty() ? "" : ", ") + key;
  }
  if (named)
    throw UsageError(
        fmt::format("the folder has no prompt {} (it has: {})", name, known.empty() ? "none" : known),
        "give the text itself with --prompt");
  return "";
}

}  // namespace

struct Embedder::Parts {
  Parts(const std::filesystem::path& folder, const EmbedderOptions& options)
      : inference(load_encoder(folder, options), folder, pass_options(options)),
        modules(inference.model().state().config.modules),
        prompt(choose_prompt(options, modules)) {
    const models::State& state = inference.model().state();
    dimension =
        models::embedding_dimension(modules, state.config.size_or(state.family->sizes.hidden_size, 0));
    if (!prompt.empty() && !modules.include_prompt)
      fail("{}: \"include_prompt\" is false: a pooling without the tokens of the prompt is not implemented",
           modules.pooling_file.string());
  }

  // What the tokenizer reads.
  std::string prepared(const std::string& text) const {
    const std::string whole = prompt + text;
    return modules.do_lower_case ? text::lower_case(whole) : whole;
  }
  std::vector<Encoding> encode(const std::vector<std::string>& texts, size_t begin, size_t end) const;

  train::Inference inference;
  const hub::SentenceTransformer& modules;
  std::string prompt;
  int64_t dimension = 0;
};

// The encodings of texts [begin, end).
std::vector<Encoding> Embedder::Parts::encode(const std::vector<std::string>& texts, size_t begin,
                                              size_t end) const {
  EncodeOptions o;
  o.ids_only = true;
  o.truncation = Truncation::longest_first;
  o.max_length = inference.options().max_seq_length;
  std::vector<std::string> read;
  read.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) read.push_back(prepared(texts[i]));
  std::vector<Encoding> encodings = inference.tokenizer().encode_batch(read, {}, o);
  for (size_t i = begin; i < end; ++i) inference.check(encodings[i - begin], i, texts.size());
  return encodings;
}

Embedder::Embedder(const std::filesystem::path& folder, const EmbedderOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
} catch (...) {
  rethrow_as_error();
}

Embedder::~Embedder() = default;
Embedder::Embedder(Embedder&&) noexcept = default;

int64_t Embedder::dimension() const { return parts_->dimension; }
const std::string& Embedder::prompt() const { return parts_->prompt; }
const Model& Embedder::model() const { return parts_->inference.model(); }
int64_t Embedder::num_truncated() const { return parts_->inference.num_truncated(); }
int64_t Embedder::max_seq_length() const { return parts_->inference.options().max_seq_length; }

std::vector<float> Embedder::embed(const std::vector<std::string>& texts) const try {
  constexpr size_t kWindow = 4096;  // texts whose ids are held at once
  // Of a pass, whose memory is touched for the first time: a larger one gains nothing.
  constexpr size_t kTokens = 2048;
  const Parts& p = *parts_;
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  const auto width = static_cast<size_t>(p.dimension);
  const auto batch_size = static_cast<size_t>(p.inference.options().batch_size);
  std::vector<float> out(texts.size() * width);
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < texts.size(); begin += kWindow) {
    const size_t end = std::min(texts.size(), begin + kWindow);
    const std::vector<Encoding> encodings = p.encode(texts, begin, end);
    // Texts of like length share a pass, so that none waits for a long one; the longest come first, so that
    // memory grows once.
    std::vector<size_t> order(encodings.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return encodings[a].input_ids.size() > encodings[b].input_ids.size();
    });
    for (size_t first = 0, last = 0; first < order.size(); first = last) {
      batch.clear();
      for (size_t tokens = 0; last < order.size() && last - first < batch_size; ++last) {
        const Encoding& e = encodings[order[last]];
        tokens += e.input_ids.size();
        if (last > first && tokens > kTokens) break;
        batch.append(e, static_cast<int64_t>(begin + order[last]));
      }
      p.inference.run(batch, [&](engine::Tensor rows) {
        for (size_t i = first; i < last; ++i)
          std::copy_n(rows.row(static_cast<int64_t>(i - first)), width,
                      out.data() + (begin + order[i]) * width);
      });
    }
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
