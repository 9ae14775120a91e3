#include "transfer/pruned_student.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "graft/train_tokenizer.h"
#include "models/state.h"
#include "text/vocabulary_files.h"
#include "train/trained_model.h"
#include "transfer/folders.h"
#include "transfer/quiet_log.h"
#include "transfer/word_alignment.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr const char* kContinuingPrefix = "##";

// The sentences as a file, which lives as long as this.
class TextFile {
 public:
  TextFile(fs::path path, const std::vector<std::string>& sentences) : path_(std::move(path)) {
    std::string text;
    for (const std::string& sentence : sentences) text += sentence + "\n";
    write_file(path_, text);
  }
  ~TextFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The first `n` pieces of a vocabulary trained on `texts` that `files` does not have.
std::vector<std::string> new_pieces(const std::vector<fs::path>& texts, int64_t n,
                                    const text::VocabularyFiles& files, const Tokenizer& teacher) {
  constexpr int32_t kAlphabet = 5000;
  TrainTokenizerOptions options;
  options.vocab_size = static_cast<int32_t>(2 * n + kAlphabet);  // many are there already
  options.limit_alphabet = kAlphabet;
  options.lowercase = teacher.normalize("A") == "a";
  const auto trained = [&] {
    const QuietLog quiet;  // of a size that nobody asked for
    return train_tokenizer(texts, options);
  }();
  std::vector<std::string> pieces;
  for (int32_t id = 0; id < trained->vocab_size() && std::ssize(pieces) < n; ++id)
    if (!trained->is_special(id) && !files.has(trained->id_to_token(id)))
      pieces.push_back(trained->id_to_token(id));
  if (std::ssize(pieces) < n)
    log_warning("the text has {} new pieces, fewer than the {} that were asked for", pieces.size(), n);
  return pieces;
}

// A weighted mean of rows of an embedding.
class MeanOfRows {
 public:
  MeanOfRows(const float* rows, int64_t width) : rows_(rows), sum_(static_cast<size_t>(width)) {}
  void add(int32_t id, double weight) {
    const float* row = rows_ + int64_t{id} * std::ssize(sum_);
    for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += weight * double{row[i]};
    weight_ += weight;
  }
  bool empty() const { return weight_ <= 0; }
  // Scaled to `length`; 0 = the mean as it is.
  void write(float* out, double length) const {
    double squares = 0;
    for (const double x : sum_) squares += x * x;
    const double factor = length > 0 ? (squares > 0 ? length / std::sqrt(squares) : 0) : 1 / weight_;
    for (size_t i = 0; i < sum_.size(); ++i) out[i] = static_cast<float>(sum_[i] * factor);
  }

 private:
  const float* rows_;
  std::vector<double> sum_;
  double weight_ = 0;
};

double mean_length(const float* rows, int64_t n, int64_t width) {
  double sum = 0;
  for (int64_t r = 0; r < n; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += double{rows[r * width + i]} * rows[r * width + i];
    sum += std::sqrt(squares);
  }
  return sum / static_cast<double>(n);
}

PieceSentences pieces_of_sentences(const Tokenizer& tokenizer, const std::vector<std::string>& sentences) {
  constexpr size_t kLongest = 48, kPiece = 4096;
  EncodeOptions options;
  options.add_special_tokens = false;
  options.ids_only = true;
  PieceSentences out;
  for (size_t begin = 0; begin < sentences.size(); begin += kPiece) {
    const size_t end = std::min(sentences.size(), begin + kPiece);
    const std::vector<std::string> some(sentences.begin() + static_cast<std::ptrdiff_t>(begin),
                                        sentences.begin() + static_cast<std::ptrdiff_t>(end));
    for (const Encoding& e : tokenizer.encode_batch(some, {}, options)) out.add(e.input_ids, kLongest);
  }
  return out;
}

// The rows of new pieces, from the teacher's embedding.
class NewRows {
 public:
  NewRows(const fs::path& teacher, const Tokenizer& student, const ParallelText& pairs, bool align)
      : tokenizer_(Tokenizer::from_pretrained(teacher)), model_(load(teacher)), student_(student) {
    const engine::Parameter& words = *model_.state().network.encoder->word_embeddings();
    width_ = words.cols();
    values_.emplace(model_.state().parameters.read_value(words));
    length_ = mean_length(values_->data(), words.rows(), width_);
    unknown_ = tokenizer_->special_id("unk_token").value_or(-1);
    if (!align) return;
    const Stopwatch stopwatch;
    translations_ =
        align_pieces(pieces_of_sentences(*tokenizer_, pairs.source), static_cast<int32_t>(words.rows()),
                     pieces_of_sentences(student, pairs.target), student.vocab_size());
    log_info("{} pairs aligned in {:.1f} s", pairs.source.size(), stopwatch.seconds());
  }

  // False: nothing is known of the piece, and its row stays.
  bool write(int32_t piece, float* out) const {
    MeanOfRows mean(values_->data(), width_);
    constexpr float kSmallest = 0.04F;  // of a probability
    if (!translations_.empty()) {
      for (const auto& [id, p] : translations_[static_cast<size_t>(piece)])
        if (p >= kSmallest && !tokenizer_->is_special(id)) mean.add(id, double{p});
      if (!mean.empty()) {
        mean.write(out, length_);
        return true;
      }
    }
    std::string text = student_.id_to_token(piece);
    if (text.starts_with(kContinuingPrefix)) text.erase(0, 2);
    EncodeOptions options;
    options.add_special_tokens = false;
    const std::vector<int32_t> ids = tokenizer_->encode(text, options).input_ids;
    if (ids.empty() || std::find(ids.begin(), ids.end(), unknown_) != ids.end()) return false;
    for (const int32_t id : ids) mean.add(id, 1);
    mean.write(out, 0);
    return true;
  }
  int64_t width() const { return width_; }

 private:
  static Model load(const fs::path& folder) {
    ModelOptions options;
    options.task = train::trained_task(folder);
    return Model::from_pretrained(folder, options);
  }
  std::shared_ptr<Tokenizer> tokenizer_;
  Model model_;
  const Tokenizer& student_;
  int64_t width_ = 0;
  double length_ = 0;
  int32_t unknown_ = -1;
  std::optional<engine::HostRead> values_;
  Translations translations_;
};

void add_new_pieces(const DistillOptions& o, const ParallelText& pairs, const std::vector<fs::path>& texts,
                    const fs::path& folder) {
  const auto teacher = Tokenizer::from_pretrained(o.teacher);
  if (teacher->kind() != "WordPiece")
    fail_with("leave out --add_pieces: such a vocabulary is not extended",
              "{}: its vocabulary is {}; pieces are added to WordPiece only", o.teacher.string(),
              teacher->kind());
  ModelOptions options;
  options.task = train::trained_task(folder);
  const Model former = Model::from_pretrained(folder, options);
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  const fs::path files_folder = folder.string() + ".pieces";
  tokenizer->save(files_folder);
  text::VocabularyFiles files(files_folder);
  const int32_t first = files.num_ids();
  files.append({new_pieces(texts, o.add_pieces, files, *teacher)});
  const auto extended = Tokenizer::from_pretrained(files_folder);
  remove_tree(files_folder);
  const Model model = former.with_task(options, files.num_ids());
  const NewRows rows(o.teacher, *extended, pairs, o.align);
  models::State& state = model.state();
  int64_t written = 0;
  {
    const engine::Parameter& words = *state.network.encoder->word_embeddings();
    const engine::HostWrite values = state.parameters.write_value(words);
    for (int32_t id = first; id < files.num_ids(); ++id)
      written += rows.write(id, values.data() + int64_t{id} * rows.width());
  }
  state.parameters.touch_values();
  state.config.modules = former.state().config.modules;
  save_derived(model, folder, *extended, folder);
  log_info("{} pieces are added; {} of them start from pieces of the teacher{}", files.num_ids() - first,
           written, o.align ? " with which they are aligned" : "");
}

}  // namespace

void make_pruned_student(const DistillOptions& o, const ParallelText& pairs, const fs::path& folder) {
  make_folders(folder);
  PruneOptions options;
  options.model = o.teacher;
  options.output_dir = folder;
  options.layers = o.layers;
  options.vocabulary = o.vocabulary;
  options.columns = o.columns;
  options.vocabulary_size = o.vocabulary_size;
  options.min_count = o.min_count;
  std::optional<TextFile> source, target;
  std::vector<fs::path> texts = o.pieces_file;
  if (o.add_pieces > 0 && options.vocabulary.empty()) {
    log_warning(
        "of the teacher's own pieces the student keeps those of the first sentences of --parallel alone; "
        "--vocabulary FILES keeps those of more text");
    options.vocabulary = {source.emplace(folder.string() + ".source.txt", pairs.source).path()};
  }
  if (o.add_pieces > 0 && texts.empty())
    texts = {target.emplace(folder.string() + ".target.txt", pairs.target).path()};
  const PruneReport report = prune(options);
  log_info("student: {} layers, {} pieces, {} parameters; the teacher has {}, {}, {}", report.after.layers,
           report.after.vocabulary, report.after.parameters, report.before.layers, report.before.vocabulary,
           report.before.parameters);
  if (o.add_pieces > 0) add_new_pieces(o, pairs, texts, folder);
}

}  // namespace graft::transfer
