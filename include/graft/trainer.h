// Fine-tuning: TrainingArguments with the names and defaults of Hugging Face, and the Trainer.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/export.h"
#include "graft/model.h"
#include "graft/task_data.h"

namespace graft {

struct TrainingArguments {
  std::string output_dir = "trainer_output";
  bool do_train = false;
  std::optional<bool> do_eval{};  // evaluate at the end; default: where there is evaluation data
  int64_t per_device_train_batch_size = 8, per_device_eval_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;  // > 0 overrides num_train_epochs
  double learning_rate = 5e-5;
  std::string lr_scheduler_type = "linear";
  std::string lr_scheduler_kwargs{};     // settings of the schedule: a json object
  std::string optim = "adamw_torch";     // the optimizer
  std::string optim_args{};              // its own settings: "momentum=0.9,nesterov=true"
  double warmup_steps = 0;               // below 1: a ratio of all steps
  std::optional<double> warmup_ratio{};  // ratio of all steps; overrides warmup_steps
  double weight_decay = 0;               // not on biases and normalisation layers
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;  // 0 = no clipping
  std::optional<bool> bf16{};  // matrix products in bf16; default: where that is faster
  uint64_t seed = 42;
  std::optional<uint64_t> data_seed{};             // default: seed
  std::string train_sampling_strategy = "random";  // random, sequential, group_by_length
  bool dataloader_drop_last = false;
  std::string logging_strategy = "steps";  // no, steps, epoch
  double logging_steps = 500;              // below 1: a ratio of all steps
  bool logging_first_step = false;
  std::optional<bool> disable_tqdm{};     // no progress
  std::string log_level = "passive";      // of the process: debug, info, warning, error, critical, passive
  std::string report_to = "none";         // tensorboard, jsonl, all, none; several with commas
  std::string run_name{}, logging_dir{};  // of the event files: output_dir/runs/RUN_NAME, or LOGGING_DIR
  std::string include_num_input_tokens_seen = "no";  // all, non_padding, no: counted in the log
  bool include_tokens_per_second = false;            // train_tokens_per_second in the results
  bool skip_memory_metrics = true;                   // false: the results hold the memory of each stage
  std::string debug{};                 // underflow_overflow: each operation is checked for NaN and infinity
  double skip_grad_spikes = 0;         // skips a step whose gradient norm exceeds N times the running median
  int64_t max_skipped_steps = 10;      // in a row, before the run stops
  std::string eval_strategy = "no";    // no, steps, epoch
  std::optional<double> eval_steps{};  // default: logging_steps
  bool eval_on_start = false;
  double eval_delay = 0;  // steps, or epochs with eval_strategy epoch, before the first evaluation
  bool prediction_loss_only = false, bf16_full_eval = false;  // of evaluation
  bool do_predict = false;              // of `graft train`: predictions for the test file
  std::string label_names{};            // of `graft train`: the column of the labels
  std::string save_strategy = "steps";  // no, steps, epoch, best
  double save_steps = 500;
  std::optional<int64_t> save_total_limit{};
  std::optional<int64_t> save_total_bytes{};  // of this run's checkpoint-N folders; the newest always stays
  bool save_only_model = false;               // no optimizer: such a checkpoint cannot be resumed
  bool enable_jit_checkpoint = false;         // an interrupted run is saved with save_strategy no too
  std::optional<bool> background_save{};      // training goes on during a save; default: where that pays
  std::string resume_from_checkpoint{};       // "" or false, true or last (of output_dir), or a folder
  bool ignore_data_skip = false;              // a resumed run starts the data of its epoch anew
  // Of a resumed run: early stopping and averages go on; false: they begin anew. Default: true.
  std::optional<bool> restore_callback_states_from_checkpoint{};
  bool load_best_model_at_end = false;
  std::string metric_for_best_model{};               // with or without "eval_"; "" = loss
  std::optional<bool> greater_is_better{};           // default: not where the metric is a loss or an error
  std::optional<int64_t> early_stopping_patience{};  // evaluations without improvement
  double early_stopping_threshold = 0;               // an improvement is larger
  int64_t max_seq_length = 0;                        // 0 = the task's default, within the model's limit
  double mlm_probability = 0.15;
  bool whole_word_mask = false;
  bool span_mask = false;     // masked-lm: spans of whole words, as SpanBERT
  double geometric_p = 0.2;   // of their lengths in words
  int64_t span_upper = 10;    // the longest
  bool line_by_line = false;  // language models: each line of text is a sequence; default: text is packed
  bool join_texts = false;    // causal-lm: attention crosses the texts of a block, as in run_clm
  int64_t max_target_length = 128;     // tokens of a target (seq2seq-lm); max_seq_length is for the source
  std::string source_prefix{};         // put before every source: "summarize: "
  double label_smoothing_factor = 0;   // share of each label that is spread over all classes, in training
  bool span_corruption = false;        // seq2seq-lm on text: the model learns to write missing spans, as T5
  double mean_noise_span_length = 3;   // of span_corruption, tokens; mlm_probability is the share in spans
  bool predict_with_generate = false;  // seq2seq-lm: evaluation generates and scores the texts
  int64_t generation_max_length = 0;   // of its tokens; 0 = max_target_length
  int64_t generation_num_beams = 0;    // 0 = as generation_config.json says, else 1
  std::string loss{};         // sentence-embedding: as in sentence-transformers; "" = as the data has it
  double scale = 20;          // of the similarities in the losses with in-batch negatives and in CoSENT
  double triplet_margin = 5;  // of TripletLoss
  std::string distance_metric = "euclidean";  // of TripletLoss; or cosine
  bool gradient_cache = false;      // the loss couples all examples of a step, in the memory of a mini-batch
  int64_t mini_batch_size = 32;     // examples of a mini-batch of gradient_cache
  std::string pooling{};            // of embeddings: mean, cls, ...; "" = that of the checkpoint, else mean
  std::optional<bool> normalize{};  // embeddings of length 1; default: as the checkpoint has it, else no
  // question-answering, as in run_qa:
  int64_t doc_stride = 128;              // tokens that neighbouring windows of a context share
  int64_t n_best_size = 20;              // starts, ends and answers that are kept
  int64_t max_answer_length = 30;        // tokens
  bool version_2_with_negative = false;  // some questions have no answer (SQuAD 2)
  double null_score_diff_threshold = 0;  // no answer where its score exceeds the best answer's by more
  std::string language = "en";    // of the rules that compare answers: en, de, es, ar, hi, vi, zh, other
  bool drop_bad_answers = false;  // leaves out answers that are not where their offset says
  bool label_all_tokens =
      false;  // token-classification: every token of a word has a label, not only the first
  std::optional<int64_t>
      stride{};                  // tokens that two windows of a long text share; default: 128, at most half
  bool strict_entities = false;  // entities count only as the tag scheme defines them
  bool return_entity_level_metrics = false;  // metrics of each type too
  std::string freeze{};           // patterns of parameter names, separated by commas; * ? [0-3] as in a shell
  int64_t freeze_layers = 0;      // the embeddings and the lowest N layers are frozen
  double layerwise_lr_decay = 1;  // factor of the learning rate from each layer to the one below it
  int64_t reinit_layers = 0;      // the top N layers start from random weights
  // Memory:
  bool auto_find_batch_size = false;  // batches that do not fit are computed in pieces, with the same result
  bool gradient_checkpointing = false;  // a layer's activations are computed again in the backward pass
  std::string
      tokenized_path{};  // folder for a cache of tokenised text; "" = the user's, for large files only
  bool overwrite_cache = false;      // tokenises again
  int64_t max_tokens_per_batch = 0;  // training batches are filled to so many tokens; 0 = with examples
  // Regularisation.
  std::string weight_decay_patterns{};  // "pattern=value,...": weight decay of parameters by name
  double neftune_noise_alpha = 0;       // noise on embeddings in training; 0 = none
  double r_drop_alpha = 0;              // weight of the divergence between two passes with their own dropout
  std::string class_weights{};          // balanced, effective_number[:BETA], a list, or a json file
  double focal_gamma = 0;               // of the focal loss; 0 = cross entropy
  double mixout = 0;                    // share of the layers' weights that are the pretrained ones in a step
  int64_t gradual_unfreezing = 0;       // layers that join the trained ones in each epoch; 0 = all at once
  double ema_decay = 0;                 // exponential moving average of the weights; 0 = none
  double swa_start = 0;                 // epoch from which weights are averaged; below 1: a ratio of the run
  double swa_lr = 0;                    // learning rate from there on; 0 = the schedule's
  int64_t average_checkpoints = 0;      // last evaluations, or epochs, whose weights are averaged
  // Parameter-efficient tuning, with the names and defaults of peft.
  std::string peft_type{};            // lora, ia3, seq_bn, bitfit, linear_probing, ...; "" = full fine-tuning
  int64_t lora_r = 8;                 // rank
  double lora_alpha = 8;              // the product is scaled by alpha / r
  double lora_dropout = 0;            // on the input of the product
  std::string target_modules{};       // endings of module names, all-linear, or a pattern; "" = by family
  std::string modules_to_save{};      // modules that are trained whole, beside the head
  std::string layers_to_transform{};  // numbers of layers; "" = all
  bool use_rslora = false;            // scaled by alpha / sqrt(r)
  bool use_dora = false;              // the lengths of the weights' rows are trained apart
  std::string init_lora_weights = "true";     // true, gaussian, pissa
  int64_t num_virtual_tokens = 20;            // of prompt_tuning and prefix_tuning
  std::string prompt_tuning_init = "RANDOM";  // RANDOM, TEXT
  std::string prompt_tuning_init_text{};      // of TEXT: its tokens' embeddings are the first values
  // Bottleneck adapters (peft_type seq_bn, double_seq_bn, par_bn, seq_bn_inv, double_seq_bn_inv), with the
  // names of AdapterHub's library; without a value as that peft_type has it.
  std::optional<double> reduction_factor{};  // hidden size / size of the bottleneck
  std::string non_linearity{};
  std::optional<bool> mh_adapter{}, output_adapter{};             // places: attention, feed-forward part
  std::optional<bool> original_ln_before{}, original_ln_after{};  // the layer's own norm around the adapter
  std::optional<bool> ln_before{}, ln_after{};                    // norms of the adapter's own
  std::string residual_before_ln{};                               // true, false, post_add
  std::optional<bool> adapter_residual_before_ln{};
  std::string adapter_scaling{};  // a number, learned or channel
  std::string init_weights{};     // bert, mam_adapter, houlsby
  std::string leave_out{};        // numbers of the layers without adapters
  double adapter_dropout = 0;     // on the adapter's output
  std::optional<double>
      inv_adapter_reduction_factor{};  // of _inv: half of the embeddings' size / its bottleneck
};

// One line of the log: names and values ("loss", "learning_rate", "epoch"; "eval_loss", "eval_accuracy",
// ...). NaN: undefined, null in json.
using LogEntry = std::vector<std::pair<std::string, double>>;

// What a progress bar shows.
struct TrainProgress {
  int64_t step = 0, total_steps = 0;
  double epoch = 0, loss = 0, learning_rate = 0;
  double tokens_per_second = 0, examples_per_second = 0, seconds_left = 0;
};

struct TrainResult {
  int64_t global_step = 0;
  double training_loss = 0;    // mean over the steps
  double last_epoch_loss = 0;  // mean over the steps of the last epoch
  double seconds = 0;
  bool interrupted = false;  // by request_stop(); the model of the last whole step is saved
  LogEntry metrics;          // of the last evaluation
  LogEntry train_metrics;    // of the training, as arguments ask for them: tokens per second, memory
};

// What a program sees of a run. Functions may be empty. train() calls them on its thread, between two steps;
// an exception of a function leaves train() unchanged.
struct Observer {
  std::function<void(const TrainProgress&)> on_step{};  // after each optimizer step
  std::function<void(const LogEntry&)> on_log{};        // a line of the log; lines of evaluations too
  std::function<void(const LogEntry& metrics, int64_t step)> on_evaluate{};
  // A folder that is complete: a checkpoint, or output_dir at the end.
  std::function<void(const std::filesystem::path& folder, int64_t step)> on_save{};
  std::function<bool()> should_stop{};  // asked after each step; true acts as request_stop()
};

namespace train {
struct TrainState;
}

class GRAFT_API Trainer {
 public:
  // `data` must be that of the model's task. The labels of `data.train` determine the label ids unless the
  // model has label names. Throws Error, or UsageError for an argument.
  Trainer(Model model, TrainingArguments arguments, TaskData data);
  ~Trainer();

  // Trains, logs, evaluates and saves as configured, then saves the model to output_dir.
  TrainResult train(const Observer& observer = {});
  // The same from the place in the run where `state` (train/train_state.h) stands, which ends as the state of
  // the last whole step. With the weights and the moments of that step the bits are those of one run.
  TrainResult train(train::TrainState& state, const Observer& observer);
  // Metrics on the evaluation set, with the prefix "eval_". Throws Error if request_stop() interrupted it.
  LogEntry evaluate();
  // The same on the test set, with the prefix "test_".
  LogEntry evaluate_test();
  void save_model(const std::filesystem::path& folder) const;

  // May be called from any thread or signal handler. train() finishes its batch, saves the model of the last
  // whole step and returns. The request applies to the running train() or evaluate(), else to the next one.
  // The Trainer can be used again afterwards.
  void request_stop();

  struct Parts;
  Parts& parts() { return *parts_; }  // of the library's own (train/parts.h)

 private:
  std::unique_ptr<Parts> parts_;
};

// Loads a checkpoint folder, or a config.json with random weights, for fine-tuning on `data`: the training
// data decide the labels of the head, or must fit a trained head, unless `options` has labels. Throws Error
// as Model::from_pretrained does, and for labels that do not fit.
GRAFT_API Model load_for_training(const std::filesystem::path& folder_or_config, const TaskData& data,
                                  ModelOptions options = {});

}  // namespace graft
