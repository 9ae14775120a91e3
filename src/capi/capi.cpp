// The C interface over Pipeline and Trainer: no exception leaves it, the last failure of a thread stays
// readable.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "graft/embed.h"
#include "graft/embedder.h"
#include "graft/error.h"
#include "graft/graft.h"
#include "graft/hub.h"
#include "graft/log.h"
#include "graft/pipeline.h"

#include "capi/generate.h"
#include "capi/train.h"

struct graft_pipeline {
  explicit graft_pipeline(const char* folder) : pipeline(folder) {
    for (size_t i = 0; i < pipeline.labels().size(); ++i) ids.emplace(pipeline.labels()[i], i);
  }
  const char* label(const std::string& name) const { return pipeline.labels()[ids.at(name)].c_str(); }

  graft::Pipeline pipeline;
  std::map<std::string, size_t> ids;  // from the text of a prediction to the name that lives as long as this
};

struct graft_generator {
  graft::TextGenerationPipeline pipeline;
};

struct graft_embedder {
  graft::Embedder embedder;
};

namespace {

thread_local std::string last_error;

// Runs f; what it throws becomes the thread's last error.
template <class F>
graft_status guarded(F&& f) noexcept {
  try {
    try {
      f();
      return GRAFT_OK;
    } catch (const graft::Error& e) {
      last_error = e.hint().empty() ? e.what() : std::string(e.what()) + "\nhint: " + e.hint();
    } catch (const std::bad_alloc&) {
      last_error = "out of memory";
    } catch (const std::exception& e) {
      last_error = e.what();
    }
  } catch (...) {  // no memory for the message either
    last_error.clear();
  }
  return GRAFT_ERROR;
}

graft_status refuse_null(const char* function, const char* argument) noexcept {
  guarded([&] { throw graft::Error(std::string(function) + ": " + argument + " is NULL"); });
  return GRAFT_INVALID_ARGUMENT;
}

}  // namespace

extern "C" {

graft_pipeline* graft_load(const char* folder) {
  if (!folder) return refuse_null("graft_load", "folder"), nullptr;
  graft_pipeline* out = nullptr;
  guarded([&] { out = new graft_pipeline(folder); });
  return out;
}

graft_status graft_predict(const graft_pipeline* pipeline, const char* text, graft_prediction* prediction) {
  if (!text) return refuse_null("graft_predict", "text");
  return graft_predict_batch(pipeline, &text, nullptr, 1, prediction);
}

graft_status graft_predict_batch(const graft_pipeline* pipeline, const char* const* texts,
                                 const char* const* pairs, size_t count, graft_prediction* predictions) {
  if (!pipeline) return refuse_null("graft_predict", "pipeline");
  if (count == 0) return GRAFT_OK;
  if (!texts || std::count(texts, texts + count, nullptr) > 0)
    return refuse_null("graft_predict_batch", "a text");
  if (pairs && std::count(pairs, pairs + count, nullptr) > 0)
    return refuse_null("graft_predict_batch", "a pair");
  if (!predictions) return refuse_null("graft_predict", "predictions");
  return guarded([&] {
    const std::vector<std::string> first(texts, texts + count);
    const auto second = pairs ? std::vector<std::string>(pairs, pairs + count) : std::vector<std::string>();
    const std::vector<graft::Prediction> found = pipeline->pipeline.predict(first, second);
    for (size_t i = 0; i < count; ++i) predictions[i] = {pipeline->label(found[i].label), found[i].score};
  });
}

size_t graft_num_labels(const graft_pipeline* pipeline) {
  return pipeline ? pipeline->pipeline.labels().size() : 0;
}

const char* graft_label(const graft_pipeline* pipeline, size_t id) {
  return id < graft_num_labels(pipeline) ? pipeline->pipeline.labels()[id].c_str() : nullptr;
}

graft_status graft_train(const char* options, const graft_train_callbacks* callbacks) {
  if (!options) return refuse_null("graft_train", "options");
  return guarded([&] { graft::train_from_json(options, callbacks ? *callbacks : graft_train_callbacks()); });
}

graft_generator* graft_generator_open(const char* folder) {
  if (!folder) return refuse_null("graft_generator_open", "folder"), nullptr;
  graft_generator* out = nullptr;
  guarded([&] { out = new graft_generator{graft::TextGenerationPipeline(graft::resolve_model(folder))}; });
  return out;
}

graft_status graft_generator_generate(const graft_generator* generator, const char* prompt,
                                      const char* options, char** text) {
  if (!generator || !prompt || !text)
    return refuse_null("graft_generator_generate", "generator, prompt or text");
  return guarded([&] {
    const std::string found =
        graft::generate_from_json(generator->pipeline, prompt, options ? options : "{}");
    *text = static_cast<char*>(std::malloc(found.size() + 1));
    if (!*text) throw std::bad_alloc();
    std::copy_n(found.c_str(), found.size() + 1, *text);
  });
}

void graft_generator_close(graft_generator* generator) { delete generator; }

graft_status graft_generate(const char* folder, const char* prompt, const char* options, char** text) {
  if (!folder || !prompt || !text) return refuse_null("graft_generate", "folder, prompt or text");
  graft_generator* generator = graft_generator_open(folder);
  if (!generator) return GRAFT_ERROR;
  const graft_status status = graft_generator_generate(generator, prompt, options, text);
  graft_generator_close(generator);
  return status;
}

void graft_free_text(char* text) { std::free(text); }

graft_embedder* graft_embedder_open(const char* folder) {
  if (!folder) return refuse_null("graft_embedder_open", "folder"), nullptr;
  graft_embedder* out = nullptr;
  guarded([&] { out = new graft_embedder{graft::Embedder(graft::resolve_model(folder))}; });
  return out;
}

size_t graft_embedder_dimension(const graft_embedder* embedder) {
  return embedder ? static_cast<size_t>(embedder->embedder.dimension()) : 0;
}

graft_status graft_embed(const graft_embedder* embedder, const char* const* texts, size_t count,
                         float* values) {
  if (!embedder) return refuse_null("graft_embed", "embedder");
  if (count == 0) return GRAFT_OK;
  if (!texts || std::count(texts, texts + count, nullptr) > 0) return refuse_null("graft_embed", "a text");
  if (!values) return refuse_null("graft_embed", "values");
  return guarded([&] {
    const std::vector<float> found = embedder->embedder.embed({texts, texts + count});
    std::copy(found.begin(), found.end(), values);
  });
}

void graft_embedder_close(graft_embedder* embedder) { delete embedder; }

const char* graft_last_error(void) { return last_error.c_str(); }

void graft_set_log(graft_log_function function, void* user) {
  guarded([&] {
    graft::set_log_sink(!function ? graft::LogSink() : [=](graft::LogLevel level, const std::string& text) {
      function(level == graft::LogLevel::warning ? 1 : 0, text.c_str(), user);
    });
  });
}

void graft_free(graft_pipeline* pipeline) { delete pipeline; }

}  // extern "C"
