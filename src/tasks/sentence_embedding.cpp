#include "tasks/sentence_embedding.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/embedding_metrics.h"
#include "tasks/vocabulary.h"
#include "text/unicode.h"

namespace graft::tasks {
namespace {

std::string place_of_row(const Dataset& dataset, size_t i) {
  const int64_t line = dataset[i].line;
  return fmt::format("{}: {} {}", dataset.origin().empty() ? "the data" : dataset.origin(),
                     line > 0 ? "line" : "example", line > 0 ? line : static_cast<int64_t>(i));
}

// Every row has two texts and as many negatives as the first one.
void check_tuples(const Dataset& dataset) {
  for (size_t i = 0; i < dataset.size(); ++i) {
    const Example& e = dataset[i];
    if (!e.has_pair)
      fail_with("name two columns of texts with --text_column and --text_pair_column",
                "{}: a pair of texts is needed", place_of_row(dataset, i));
    if (e.negatives.size() != dataset.num_negatives())
      fail_with(fmt::format("give every row {} negatives, or remove it", dataset.num_negatives()),
                "{}: {} negatives, but the first row has {}", place_of_row(dataset, i), e.negatives.size(),
                dataset.num_negatives());
  }
}

void check_scores(const Dataset& dataset, EmbeddingLossKind loss) {
  for (size_t i = 0; i < dataset.size(); ++i) {
    if (!dataset[i].has_score)
      fail_with("give every row a number in the column 'score', or choose another --loss",
                "{}: {} needs a score", place_of_row(dataset, i), embedding_loss_name(loss));
    if (dataset[i].score >= -1 && dataset[i].score <= 1) continue;
    fail_with("divide the scores by their largest value",
              "{}: the score {} is outside of [-1, 1], where a cosine lies", place_of_row(dataset, i),
              dataset[i].score);
  }
}

// The loss that the settings name, else the one that fits the data.
EmbeddingLossOptions loss_of(const FeatureSettings& s, const Dataset& data, bool trains) {
  EmbeddingLossOptions o;
  o.scale = s.scale;
  o.triplet_margin = s.triplet_margin;
  o.cosine_distance = s.distance_metric == "cosine";
  if (!o.cosine_distance && s.distance_metric != "euclidean")
    throw UsageError(
        fmt::format("--distance_metric {} is not known; there are: euclidean, cosine", s.distance_metric));
  if (!s.loss.empty()) {
    o.kind = parse_embedding_loss(s.loss);
    return o;
  }
  if (data.has_scores()) o.kind = EmbeddingLossKind::cosent;
  if (trains)
    log_info("loss: {} ({}); --loss chooses another", embedding_loss_name(o.kind),
             data.has_scores() ? "the pairs have scores" : "the data has no scores");
  return o;
}

void check_training(const EmbeddingLossOptions& o, const Dataset& train, const FeatureSettings& s) {
  if (o.reads_scores()) check_scores(train, o.kind);
  if (!o.reads_scores() && train.has_scores())
    fail_with("remove the column, name another one with --label_column, or choose --loss CoSENTLoss",
              "{}: the pairs have scores, which {} does not read", train.origin(),
              embedding_loss_name(o.kind));
  if (o.kind == EmbeddingLossKind::triplet && train.num_negatives() != 1)
    fail_with("give every row one text in the column 'negative'",
              "{}: TripletLoss needs 1 negative, the rows have {}",
              train.origin().empty() ? "the data" : train.origin(), train.num_negatives());
  if (o.reads_scores() && train.num_negatives() > 0)
    fail("{}: {} reads no negatives", train.origin(), embedding_loss_name(o.kind));
  if (!o.has_batch_negatives()) return;
  if (s.max_tokens_per_batch > 0)
    return log_info("in-batch negatives: those of a batch; --max_tokens_per_batch {} decides how many it has",
                    s.max_tokens_per_batch);
  const int64_t whole = s.batch_size * s.gradient_accumulation_steps,
                seen = s.gradient_cache ? whole : s.batch_size;
  if (std::min<int64_t>(seen, static_cast<int64_t>(train.size())) < 2 && train.num_negatives() == 0)
    throw UsageError(fmt::format("{} compares the examples of a batch, and a batch has {}",
                                 embedding_loss_name(o.kind), 1),
                     "use a larger --per_device_train_batch_size");
  if (s.gradient_cache)
    log_info("in-batch negatives: those of the {} examples of a step (--gradient_cache)", whole);
  else if (s.gradient_accumulation_steps > 1)
    log_info(
        "in-batch negatives: those of a batch of {} examples; gradient accumulation adds none "
        "(--gradient_cache true takes those of all {})",
        s.batch_size, whole);
  const auto rest = static_cast<int64_t>(train.size()) % s.batch_size;
  if (rest == 1 && !s.drop_last && !s.gradient_cache && train.num_negatives() == 0)
    log_warning(
        "the last batch of an epoch has 1 example, which has no negatives and a loss of 0; "
        "--dataloader_drop_last true leaves it out");
}

}  // namespace

std::unique_ptr<Metrics> SentenceEmbedding::metrics() const { return std::make_unique<EmbeddingMetrics>(); }

TupleFeatures::TupleFeatures(const Dataset& dataset, const Model& model, const Tokenizer& tokenizer,
                             int32_t max_seq_length)
    : texts_(2 + static_cast<int64_t>(dataset.num_negatives())) {
  EncodeOptions options;
  options.ids_only = true;
  options.truncation = Truncation::longest_first;
  options.max_length = max_seq_length;
  constexpr size_t kPiece = 4096;  // examples in flight
  std::vector<std::string> texts;
  for (size_t begin = 0; begin < dataset.size(); begin += kPiece) {
    const size_t end = std::min(dataset.size(), begin + kPiece);
    texts.clear();
    for (size_t i = begin; i < end; ++i) {
      texts.push_back(dataset[i].text);
      texts.push_back(dataset[i].text_pair);
      texts.insert(texts.end(), dataset[i].negatives.begin(), dataset[i].negatives.end());
    }
    if (model.state().config.modules.do_lower_case)
      for (std::string& text : texts) text = text::lower_case(text);
    const std::vector<Encoding> encodings = tokenizer.encode_batch(texts, {}, options);
    for (size_t t = 0; t < encodings.size(); ++t) {
      const std::string where = place_of_row(dataset, begin + t / static_cast<size_t>(texts_));
      if (encodings[t].input_ids.empty())
        fail_with("remove the row, or write a text", "{}: the text '{}' gives no tokens", where,
                  shown(texts[t]));
      check_ids(encodings[t].input_ids.data(), encodings[t].input_ids.size(), model, tokenizer, where);
      add(encodings[t]);
    }
  }
  for (const Example& e : dataset.examples())
    if (dataset.has_scores()) scores_.push_back(static_cast<float>(e.score));
}

void TupleFeatures::add(const Encoding& e) {
  ids_.insert(ids_.end(), e.input_ids.begin(), e.input_ids.end());
  types_.insert(types_.end(), e.token_type_ids.begin(), e.token_type_ids.end());
  types_.resize(ids_.size(), 0);
  offsets_.push_back(static_cast<int64_t>(ids_.size()));
  truncated_ += e.num_truncated > 0;
}

void TupleFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                     int64_t /*epoch*/) const {
  for (int64_t t = 0; t < texts_; ++t) {
    const int64_t begin = offset(i * texts_ + t), n = offset(i * texts_ + t + 1) - begin;
    batch.append_sequence(ids_.data() + begin, types_.data() + begin, static_cast<int32_t>(n),
                          data::sequence_key(index, t));
  }
  if (!scores_.empty()) batch.float_labels.push_back(scores_[static_cast<size_t>(i)]);
}

namespace {

std::unique_ptr<Task> make_sentence_embedding(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<SentenceEmbedding>(EmbeddingLossOptions(), false);
}

PreparedTask prepare_sentence_embedding(Model& model, const TaskData& data, const FeatureSettings& settings) {
  for (const Dataset* set : {&data.train, &data.eval, &data.test}) check_tuples(*set);
  const Dataset& scored = data.eval.size() > 0 ? data.eval : data.test;
  const bool trains = data.train.size() > 0;
  const EmbeddingLossOptions loss = loss_of(settings, trains ? data.train : scored, trains);
  if (trains) {
    check_training(loss, data.train, settings);
    model.state().config.modules.max_seq_length = settings.max_seq_length;
  }
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<Features> {
    if (set.size() == 0) return nullptr;
    auto features = std::make_unique<TupleFeatures>(set, model, *data.tokenizer,
                                                    static_cast<int32_t>(settings.max_seq_length));
    if (features->num_truncated() > 0)
      log_warning("{}: {} of {} texts were truncated at {} tokens; --max_seq_length keeps more", part,
                  features->num_truncated(), features->num_texts(), settings.max_seq_length);
    return features;
  };
  PreparedTask out;
  out.task = std::make_unique<SentenceEmbedding>(loss, scored.has_scores());
  out.train = encode("train", data.train);
  out.eval = encode("eval", data.eval);
  out.test = encode("test", data.test);
  return out;
}

// Neighbours become pairs.
void pair_sequences(data::RaggedBatch& batch, const Model& /*model*/) {
  const int32_t pairs = batch.size() / 2;
  batch.examples.resize(static_cast<size_t>(pairs));
  batch.cu_examples.assign(1, 0);
  for (int32_t e = 1; e <= pairs; ++e) batch.cu_examples.push_back(2 * e);
}

}  // namespace

const TaskEntry& sentence_embedding_task() {
  static const TaskEntry entry = {&models::kSentenceEmbedding,
                                  Input::text_tuples,
                                  Answer::embeddings,
                                  0,
                                  {"loss", "scale", "triplet_margin", "distance_metric", "gradient_cache",
                                   "mini_batch_size", "pooling", "normalize"},
                                  nullptr,
                                  make_sentence_embedding,
                                  prepare_sentence_embedding,
                                  pair_sequences};
  return entry;
}

}  // namespace graft::tasks
