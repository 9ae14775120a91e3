// How a Trainer comes to its parts: labels, features, and what is to be said about them.
#include "base/error.h"
#include "base/log.h"
#include "train/arguments.h"
#include "train/parts.h"
#include "train/saved_arguments.h"

namespace graft {
namespace {

constexpr int32_t kClassificationLength = 128;  // run_glue's max_seq_length

int32_t sequence_length(const TrainingArguments& args, const Model& model, const Tokenizer& tokenizer) {
  int64_t limit = model.max_positions();
  if (tokenizer.model_max_length() > 0) limit = std::min<int64_t>(limit, tokenizer.model_max_length());
  if (args.max_seq_length > model.max_positions()) {
    fail_with(fmt::format("use --max_seq_length {} or less", model.max_positions()),
              "--max_seq_length {} is longer than the model's {} positions", args.max_seq_length,
              model.max_positions());
  }
  if (args.max_seq_length > 0) return static_cast<int32_t>(args.max_seq_length);
  return static_cast<int32_t>(model.task() == "masked-lm" ? limit
                                                          : std::min<int64_t>(limit, kClassificationLength));
}

void check_vocabulary(const Model& model, const Tokenizer& tokenizer) {
  const int64_t rows = model.state().network.encoder->word_embeddings()->rows();
  if (tokenizer.vocab_size() <= rows) return;
  fail_with("the tokenizer does not belong to this checkpoint; use the one of its folder",
            "the tokenizer has {} tokens but the model's embedding has {} rows ({})", tokenizer.vocab_size(),
            rows, model.state().origin.string());
}

// What every task begins with: arguments checked and completed, precision decided, tokenizer and model
// matched.
void begin_setup(Trainer::Parts& p, TrainingArguments& arguments, std::shared_ptr<Tokenizer> tokenizer) {
  train::settle(arguments);
  if (!tokenizer) fail("a Trainer needs the checkpoint's tokenizer");
  check_vocabulary(p.model, *tokenizer);
  arguments.bf16 = train::training_precision(arguments.bf16).bf16;  // saved with the model
  train::use_precision(p.model, *arguments.bf16);
  arguments.max_seq_length = sequence_length(arguments, p.model, *tokenizer);
  p.tokenizer = std::move(tokenizer);
}

void report_encoding(const char* part, const tasks::TextFeatures& features, int32_t length) {
  const tasks::EncodingCounts& c = features.counts();
  const double examples = static_cast<double>(std::max<int64_t>(1, features.size()));
  if (c.truncated_examples > 0) {
    log_warning(
        "{}: {} of {} examples ({:.1f} %) were cut at {} tokens, {} tokens in all; --max_seq_length keeps "
        "more",
        part, c.truncated_examples, features.size(),
        100.0 * static_cast<double>(c.truncated_examples) / examples, length, c.truncated_tokens);
  }
  if (c.unknown_tokens > 0) {
    log_warning("{}: {} of {} tokens ({:.2f} %) are unknown to the tokenizer", part, c.unknown_tokens,
                c.tokens, 100.0 * static_cast<double>(c.unknown_tokens) / static_cast<double>(c.tokens));
  }
}

}  // namespace

Trainer::Trainer(Model model, TrainingArguments arguments, const Dataset& train, const Dataset& eval,
                 std::shared_ptr<Tokenizer> tokenizer)
    : parts_(std::make_unique<Parts>(std::move(model))) {
  Parts& p = *parts_;
  begin_setup(p, arguments, std::move(tokenizer));
  data::CheckpointLabels checkpoint;
  checkpoint.names = p.model.labels();
  checkpoint.has_head = true;
  checkpoint.problem_type = p.model.problem_type();
  checkpoint.decided = p.model.state().labels_given;
  const data::LabelMap labels = train.size() > 0
                                    ? data::LabelMap::for_training(train, checkpoint)
                                    : data::LabelMap::from_checkpoint(checkpoint, eval.label_kind());
  p.model.state().config.set_labels(labels.names());
  p.model.state().config.json()["problem_type"] = labels.problem_type();
  p.task = std::make_unique<tasks::SequenceClassification>(labels.num_labels(), labels.problem_type());
  const auto length = static_cast<int32_t>(arguments.max_seq_length);
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<tasks::Features> {
    if (set.size() == 0) return nullptr;
    labels.check(set);
    auto features = std::make_unique<tasks::TextFeatures>(set, *p.tokenizer, &labels, length);
    report_encoding(part, *features, length);
    return features;
  };
  p.train = encode("train", train);
  p.eval = encode("eval", eval);
  p.arguments = std::move(arguments);
}

Trainer::Trainer(Model model, TrainingArguments arguments,
                 const std::vector<std::filesystem::path>& train_files,
                 const std::vector<std::filesystem::path>& eval_files, std::shared_ptr<Tokenizer> tokenizer,
                 bool line_by_line)
    : parts_(std::make_unique<Parts>(std::move(model))) {
  Parts& p = *parts_;
  begin_setup(p, arguments, std::move(tokenizer));
  data::TextBlockOptions options;
  options.line_by_line = line_by_line;
  options.max_seq_length = static_cast<int32_t>(arguments.max_seq_length);
  options.word_starts = arguments.whole_word_mask;
  options.seed = arguments.seed;
  options.validation_split_percentage = eval_files.empty() && arguments.do_eval ? 5 : 0;  // run_mlm's share
  if (!train_files.empty()) p.blocks = data::read_text_blocks(train_files, *p.tokenizer, options);
  if (!eval_files.empty()) {
    options.validation_split_percentage = 0;
    p.blocks.validation = data::read_text_blocks(eval_files, *p.tokenizer, options).train;
  }
  const data::TextBlockCounts& c = p.blocks.counts;
  log_info(
      "text: {} lines, {} tokens in {} sequences of at most {}; left out: {} empty lines, {} tokens cut or "
      "left over",
      c.lines, c.tokens, p.blocks.train.size(), options.max_seq_length, c.empty_lines,
      c.truncated_tokens + c.dropped_tokens);
  data::MlmOptions mlm;
  mlm.mlm_probability = arguments.mlm_probability;
  mlm.whole_word = arguments.whole_word_mask;
  mlm.seed = arguments.seed;
  const data::MlmMasker masker(*p.tokenizer, mlm);
  p.task = std::make_unique<tasks::MaskedLm>();
  if (p.blocks.train.size() > 0) p.train = std::make_unique<tasks::MaskedFeatures>(p.blocks.train, masker);
  if (p.blocks.validation.size() > 0)
    p.eval = std::make_unique<tasks::MaskedFeatures>(p.blocks.validation, masker);
  p.arguments = std::move(arguments);
}

}  // namespace graft
