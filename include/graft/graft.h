/* The C interface of graft: fine-tune; load a fine-tuned folder, predict, free. C99.
 *
 * All functions except graft_free and graft_generator_close are thread-safe, also on one pipeline. Results do
 * not depend on other threads, bit for bit. A failed call returns NULL or a status other than GRAFT_OK;
 * graft_last_error() then returns the reason and what to do. Strings are UTF-8 and end in a zero byte. */
#ifndef GRAFT_GRAFT_H
#define GRAFT_GRAFT_H

#include <stddef.h>

#include "graft/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum graft_status {
  GRAFT_OK = 0,
  GRAFT_ERROR = 1,           /* the file, the model or the text: graft_last_error() names it */
  GRAFT_INVALID_ARGUMENT = 2 /* a required pointer is NULL */
} graft_status;

/* A loaded sequence-classification model with its tokenizer. */
typedef struct graft_pipeline graft_pipeline;

typedef struct graft_prediction {
  const char* label; /* owned by the pipeline, valid until graft_free */
  double score;      /* probability of the label; for regression the number itself */
} graft_prediction;

/* Loads a folder that `graft train` or Python wrote. NULL on failure. */
GRAFT_API graft_pipeline* graft_load(const char* folder);

/* The best label of one text. */
GRAFT_API graft_status graft_predict(const graft_pipeline* pipeline, const char* text,
                                     graft_prediction* prediction);

/* The same for `count` texts, faster than one by one. `pairs` is NULL, or the second text of each. Nothing is
 * written to `predictions` (room for `count`) on failure. */
GRAFT_API graft_status graft_predict_batch(const graft_pipeline* pipeline, const char* const* texts,
                                           const char* const* pairs, size_t count,
                                           graft_prediction* predictions);

/* Number of labels, and their names in the order of ids; NULL beyond them. */
GRAFT_API size_t graft_num_labels(const graft_pipeline* pipeline);
GRAFT_API const char* graft_label(const graft_pipeline* pipeline, size_t id);

/* What a training calls, on the thread of graft_train. Any pointer may be NULL. `json` is valid during the
 * call. */
typedef struct graft_train_callbacks {
  void (*on_log)(const char* json, void* user); /* a line of the log: {"loss": 0.4, "epoch": 1.5, ...} */
  int (*should_stop)(void* user);               /* after each step; not 0: saves the model and returns */
  void* user;
} graft_train_callbacks;

/* Fine-tunes as `graft train` does. `options` is a JSON object with its options: {"model":
 * "bert-base-uncased", "train_file": "train.csv", "output_dir": "results", "learning_rate": 2e-5, ...}. The
 * model is saved to output_dir; its metrics are the last line of the log and in all_results.json. `callbacks`
 * may be NULL. */
GRAFT_API graft_status graft_train(const char* options, const graft_train_callbacks* callbacks);

/* A loaded model that generates, with its tokenizer and its generation_config.json. */
typedef struct graft_generator graft_generator;

/* Loads a folder, or a model by its name. NULL on failure. */
GRAFT_API graft_generator* graft_generator_open(const char* folder);

/* Continues a text as `graft generate` does. `options` is NULL or a JSON object in the form of
 * generation_config.json, also with "seed": {"max_new_tokens": 40, "num_beams": 4}; they change those of the
 * folder, and an unknown key is an error. `*text` receives prompt and continuation; free it with
 * graft_free_text. */
GRAFT_API graft_status graft_generator_generate(const graft_generator* generator, const char* prompt,
                                                const char* options, char** text);
/* Frees a generator; NULL is allowed. */
GRAFT_API void graft_generator_close(graft_generator* generator);

/* The three calls for a single text: loads the model each time. */
GRAFT_API graft_status graft_generate(const char* folder, const char* prompt, const char* options,
                                      char** text);
/* Frees a generated text; NULL is allowed. */
GRAFT_API void graft_free_text(char* text);

/* The last error of this thread; a second line holds the hint, if there is one. Never NULL; "" before the
 * first failure. Valid until the next failure on this thread. */
GRAFT_API const char* graft_last_error(void);

/* Receives log messages (truncated texts, unknown tokens). `level` is 0 for information, 1 for a warning.
 * `text` is valid during the call. Calls may come from any thread. NULL drops messages, which is the
 * default. */
typedef void (*graft_log_function)(int level, const char* text, void* user);
GRAFT_API void graft_set_log(graft_log_function function, void* user);

/* Frees a pipeline; NULL is allowed. */
GRAFT_API void graft_free(graft_pipeline* pipeline);

#ifdef __cplusplus
}
#endif

#endif
