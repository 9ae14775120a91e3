// Builds the parts of a Trainer: labels, features, and the log lines about them.
#include "base/error.h"
#include "base/log.h"
#include "train/arguments.h"
#include "train/examples.h"
#include "train/parts.h"
#include "train/saved_arguments.h"
#include "train/sequence_length.h"
#include "train/vocabulary.h"

namespace graft {
namespace {

// The setup of every task: checks and completes the arguments, sets the precision, matches tokenizer and
// model.
void begin_setup(Trainer::Parts& p, TrainingArguments& arguments, std::shared_ptr<Tokenizer> tokenizer) {
  train::explain(arguments);
  train::settle(arguments);
  if (!tokenizer) fail("a Trainer needs the checkpoint's tokenizer");
  train::warn_of_excess_tokens(p.model, *tokenizer);
  arguments.bf16 = train::training_precision(arguments.bf16).bf16;  // saved with the model
  train::use_precision(p.model, *arguments.bf16);
  arguments.max_seq_length = train::training_length(arguments.max_seq_length, p.model, *tokenizer);
  p.tokenizer = std::move(tokenizer);
}

// Throws before the first step if evaluation is requested without data.
void check_evaluation(const Trainer::Parts& p, const TrainingArguments& a, const std::string& hint) {
  if (p.eval || !a.do_eval) return;
  const std::string asked = a.eval_strategy != "no" ? "--eval_strategy " + a.eval_strategy
                            : a.eval_on_start       ? "--eval_on_start true"
                                                    : "--do_eval true";
  throw UsageError(fmt::format("{}: there is no evaluation data", asked), hint);
}

void report_blocks(const char* part, const data::TokenStore& sequences, const data::TextBlockCounts& c,
                   const data::TextBlockOptions& options) {
  log_info(
      "{} corpus: {} lines -> {} sequences of <= {} tokens; skipped {} empty lines, dropped {} tokens{}",
      part, c.lines, sequences.size(), options.max_seq_length, c.empty_lines,
      c.truncated_tokens + c.dropped_tokens,
      c.validation_lines > 0 ? fmt::format("; {} lines held out for evaluation", c.validation_lines) : "");
}

// Random replacements are drawn from ids that have a row in the embedding.
data::MlmMasker make_masker(const Trainer::Parts& p, const TrainingArguments& arguments) {
  data::MlmOptions mlm;
  mlm.mlm_probability = arguments.mlm_probability;
  mlm.whole_word = arguments.whole_word_mask;
  mlm.seed = arguments.seed;
  const int64_t rows = train::embedding_rows(p.model);
  if (p.tokenizer->vocab_size() <= rows) return data::MlmMasker(*p.tokenizer, mlm);
  std::vector<uint8_t> special(static_cast<size_t>(rows));
  for (size_t id = 0; id < special.size(); ++id)
    special[id] = p.tokenizer->is_special(static_cast<int32_t>(id));
  const std::optional<int32_t> mask = p.tokenizer->special_id("mask_token");
  if (mask) train::check_ids(&*mask, 1, p.model, *p.tokenizer, "the tokenizer");
  return data::MlmMasker(mask, std::move(special), mlm);
}

}  // namespace

Trainer::Trainer(Model model, TrainingArguments arguments, const Dataset& train, const Dataset& eval,
                 std::shared_ptr<Tokenizer> tokenizer) try
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
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<tasks::Features> {
    if (set.size() == 0) return nullptr;
    labels.check(set);
    return train::encode_examples(part, set, labels, p.model, *p.tokenizer, arguments.max_seq_length);
  };
  train::warn_of_other_inputs(train, eval);
  p.train = encode("train", train);
  p.eval = encode("eval", eval);
  check_evaluation(p, arguments, "give an evaluation set (--validation_file)");
  p.arguments = std::move(arguments);
} catch (...) {
  rethrow_as_error();
}

Trainer::Trainer(Model model, TrainingArguments arguments,
                 const std::vector<std::filesystem::path>& train_files,
                 const std::vector<std::filesystem::path>& eval_files, std::shared_ptr<Tokenizer> tokenizer,
                 bool line_by_line, const DatasetOptions& columns) try
    : parts_(std::make_unique<Parts>(std::move(model))) {
  Parts& p = *parts_;
  begin_setup(p, arguments, std::move(tokenizer));
  data::TextBlockOptions options;
  options.line_by_line = line_by_line;
  options.columns = columns;
  options.max_seq_length = static_cast<int32_t>(arguments.max_seq_length);
  options.word_starts = arguments.whole_word_mask;
  options.seed = arguments.seed;
  options.validation_split_percentage = eval_files.empty() && arguments.do_eval ? 5 : 0;  // run_mlm's share
  if (!train_files.empty()) {
    p.blocks = data::read_text_blocks(train_files, *p.tokenizer, options);
    report_blocks("train", p.blocks.train, p.blocks.counts, options);
  }
  if (!eval_files.empty()) {
    options.validation_split_percentage = 0;
    data::TextBlocks blocks = data::read_text_blocks(eval_files, *p.tokenizer, options);
    report_blocks("eval", blocks.train, blocks.counts, options);
    p.blocks.validation = std::move(blocks.train);
  }
  for (const data::TokenStore* store : {&p.blocks.train, &p.blocks.validation})
    train::check_ids(store->ids.data(), store->ids.size(), p.model, *p.tokenizer, "the corpus");
  const data::MlmMasker masker = make_masker(p, arguments);
  p.task = std::make_unique<tasks::MaskedLm>();
  if (p.blocks.train.size() > 0) p.train = std::make_unique<tasks::MaskedFeatures>(p.blocks.train, masker);
  if (p.blocks.validation.size() > 0)
    p.eval = std::make_unique<tasks::MaskedFeatures>(p.blocks.validation, masker);
  check_evaluation(p, arguments,
                   "give --validation_file: the text is too short to put a share of its lines aside");
  p.line_by_line = line_by_line;
  p.arguments = std::move(arguments);
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
