// The parts of a loaded model.
#pragma once
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "graft/model.h"
#include "models/adapter.h"
#include "models/config.h"
#include "models/family.h"
#include "models/generator.h"

namespace graft::models {

struct State {
  ModelConfig config;
  std::string labels_in_config;  // ModelConfig::labels_in_words of the file, before options changed `config`
  std::string task;
  const Family* family = nullptr;
  const HeadKind* head = nullptr;
  Json generation_config;                 // of generation_config.json, kept on saving; null if there is none
  bool labels_given = false;              // by ModelOptions, not by config.json
  bool bf16 = false;                      // matrix products of linear layers in bf16
  std::atomic<bool> packed_fp32 = false;  // predictions in fp32 keep their weights packed, too
  bool gradient_checkpointing = false;  // training computes the activations of a layer twice (Tape::segment)
  float neftune_noise_alpha = 0;        // noise on embeddings in training
  engine::ParameterStore parameters;
  Network network;
  std::unique_ptr<ModelAdapter> adapter;    // null: a whole model
  std::optional<LanguageAdapter> language;  // frozen, below them; none: there is none
  std::unique_ptr<Model> base;              // whose weights the parameters share; null: they have their own
  LoadReport report;
  // Whether it is saved as adapters of its base model.
  bool saves_adapter() const { return adapter && adapter->merged.empty(); }
  std::filesystem::path origin;          // the folder or config.json it came from
  std::unique_ptr<Generator> generator;  // of a discriminator that is pretrained
};

}  // namespace graft::models
