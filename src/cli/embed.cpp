// graft embed: embeddings of texts, as .npy or jsonl.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/npy_writer.h"
#include "cli/options.h"
#include "cli/output_stream.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "data/example_reader.h"
#include "graft/embedder.h"
#include "graft/error.h"
#include "train/inference.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

struct EmbedOptions {
  std::string model, input = "-", output = "-", text_column, pooling, prompt_name, prompt;
  int64_t batch_size = 32, max_seq_length = 0;
  std::optional<bool> bf16;
  bool normalize = false, profile = false;
};

Options declare(EmbedOptions& o) {
  Options options(
      "embed", "embeddings of texts, as .npy or jsonl",
      {"graft embed --model all-MiniLM-L6-v2 --input texts.txt --output embeddings.npy",
       "echo 'a fine film' | graft embed --model all-MiniLM-L6-v2",
       "graft embed --model bert-base-uncased --pooling cls --normalize true --input pages.csv \\",
       "    --text_column body --output pages.jsonl",
       "graft embed --model e5 --prompt 'query: ' --input queries.txt --output queries.npy"});
  options.text("model", o.model,
               "sentence encoder or any encoder: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("input", o.input,
               "a text a line (- = standard input), or .csv .tsv .jsonl .json, each also .gz .zst .xz");
  options.text("output", o.output, ".npy (float32, a row a text) or .jsonl; - = jsonl on standard output");
  options.text("text_column", o.text_column, "column of the text; default: text, sentence, ...");
  options.text("pooling", o.pooling,
               "mean, cls, max, mean_sqrt_len_tokens, weightedmean or lasttoken; default: the folder's own, "
               "else mean");
  options.flag("normalize", o.normalize, "embeddings of length 1; default: as the folder has it, else false");
  options.text("prompt_name", o.prompt_name, "a prompt of the folder's config_sentence_transformers.json");
  options.any_text("prompt", o.prompt, "put before every text; default: the folder's default prompt");
  options.integer("per_device_eval_batch_size", o.batch_size, "texts in a batch; results do not depend on it",
                  {1, 1e6});
  options.integer("max_seq_length", o.max_seq_length, "tokens of a text; default: as the folder has it",
                  {1, 1e9});
  options.precision(o.bf16, "as in training, fp32 where graft did not train the model");
  options.threads();
  options.flag("profile", o.profile, "also show time, rates and share of each operation");
  return options;
}

EmbedderOptions embedder_options(const Options& options, const EmbedOptions& o) {
  EmbedderOptions out;
  out.batch_size = static_cast<int>(o.batch_size);
  out.max_seq_length = static_cast<int>(o.max_seq_length);
  out.bf16 = o.bf16;
  out.pooling = o.pooling;
  if (options.given("normalize")) out.normalize = o.normalize;
  if (options.given("prompt")) out.prompt = o.prompt;
  out.prompt_name = o.prompt_name;
  return out;
}

void check_options(const Options& options, const EmbedOptions& o) {
  if (options.given("prompt") && options.given("prompt_name"))
    throw UsageError("give --prompt or --prompt_name, one of the two");
  const std::string extension = std::filesystem::path(o.output).extension().string();
  if (o.output != "-" && extension != ".npy" && extension != ".jsonl" && extension != ".json")
    throw UsageError(fmt::format("--output {}: the name must end in .npy or .jsonl", o.output));
}

// The rows of either file format.
class Sink {
 public:
  Sink(const std::string& output, int64_t columns) : columns_(columns) {
    if (std::filesystem::path(output).extension() == ".npy")
      npy_.emplace(output, columns);
    else
      lines_.emplace(output);
  }
  void write(const std::vector<float>& values) {
    const auto rows = static_cast<int64_t>(values.size()) / columns_;
    if (npy_) return npy_->write(values.data(), rows);
    std::string text;
    for (int64_t r = 0; r < rows; ++r) {
      // The shortest decimal that is the same float.
      text += "{\"embedding\": [";
      for (int64_t c = 0; c < columns_; ++c)
        text += fmt::format("{}{}", c == 0 ? "" : ", ", values[static_cast<size_t>(r * columns_ + c)]);
      text += "]}\n";
    }
    lines_->write(text);
    lines_->flush();
  }
  void finish() { npy_ ? npy_->finish() : lines_->finish(); }

 private:
  int64_t columns_;
  std::optional<NpyWriter> npy_;
  std::optional<OutputStream> lines_;
};

// In windows with bounded memory, of which the embedder sorts the texts by length. All rows that have arrived
// are answered before it waits for more.
int64_t embed_rows(const Embedder& embedder, const EmbedOptions& o) {
  constexpr size_t kWindow = 4096;
  DatasetOptions columns;
  columns.text_column = o.text_column;
  columns.ignore_label = true;
  data::ExampleReader reader(o.input, columns);
  if (reader.has_pairs()) throw UsageError("the rows are pairs of texts; name one column with --text_column");
  Sink sink(o.output, embedder.dimension());
  std::vector<std::string> texts;
  std::vector<int64_t> lines;
  int64_t count = 0;
  const auto answer = [&] {
    try {
      sink.write(embedder.embed(texts));
    } catch (const train::TextError& e) {
      throw Error(fmt::format("{}: line {}: {}", data::name_of(o.input), lines[e.index()], e.reason()),
                  e.hint());
    }
    count += static_cast<int64_t>(texts.size());
    texts.clear();
    lines.clear();
  };
  const bool waits = o.input == "-";
  for (Example row; reader.next(row);) {
    texts.push_back(std::move(row.text));
    lines.push_back(row.line);
    if (texts.size() == kWindow || (waits && !reader.has_buffered_row())) answer();
  }
  if (!texts.empty()) answer();
  sink.finish();
  return count;
}

}  // namespace

int embed(int argc, char** argv) {
  EmbedOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  check_options(options, o);
  refuse_same_file(o.input, o.output);
  const std::filesystem::path folder = find_model(o.model);
  const train::Precision precision = train::inference_precision(o.bf16, train::saved_arguments(folder));
  Profile profile(o.profile);
  const Embedder embedder(folder, embedder_options(options, o));
  say_loaded(embedder.model(), o.model, precision);
  say_unused(embedder.model().load_report());
  if (!embedder.prompt().empty()) say(fmt::format("prompt before each text: '{}'", embedder.prompt()));
  const int64_t count = embed_rows(embedder, o);
  if (o.output != "-")
    say(fmt::format("{}: {} embeddings of {} numbers", o.output, count, embedder.dimension()));
  if (embedder.num_truncated() > 0)
    say(fmt::format("warning: {} of {} texts were truncated at {} tokens; --max_seq_length keeps more",
                    embedder.num_truncated(), count, embedder.max_seq_length()));
  profile.stop();
  if (profile.on()) profile.print(stderr);
  return 0;
}

}  // namespace graft::cli
