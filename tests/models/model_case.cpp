#include "models/model_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "base/threads.h"
#include "models/registry.h"
#include "tasks/causal_lm.h"
#include "tasks/masked_lm.h"
#include "tasks/sequence_classification.h"
#include "tasks/token_classification.h"

namespace graft::test {
namespace fs = std::filesystem;

void keep_available(std::vector<std::string>& names) {
  std::erase_if(names, [](const std::string& name) {
    return !fs::exists(shared_root()) && !fs::exists(fixture_folder(name));
  });
}

const std::vector<std::string>& fixture_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const char* a : {"bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "mpnet", "deberta-v2",
                          "electra", "albert"}) {
      for (const char* h : {"seqcls_single", "seqcls_multi", "seqcls_regression", "mlm"}) {
        all.push_back(std::string(a) + "/" + h);
      }
    }
    for (const char* h : {"seqcls_single", "seqcls_multi", "seqcls_regression", "causal_lm"})
      all.push_back(std::string("gpt2/") + h);
    for (const char* h : {"seqcls_single", "seqcls_multi", "seqcls_regression", "seq2seq"})
      all.push_back(std::string("t5/") + h);
    all.push_back("t5-v1_1/seq2seq");
    all.push_back("modernbert/seqcls_mean");
    keep_available(all);
    return all;
  }();
  return names;
}

const std::vector<std::string>& single_and_mlm_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> some;
    for (const std::string& n : fixture_names()) {
      if (n.ends_with("single") || n.ends_with("lm") || n.ends_with("seq2seq")) some.push_back(n);
    }
    return some;
  }();
  return names;
}

fs::path fixture_folder(const std::string& name) { return fixture_path("golden/" + name); }

Model load_model(const fs::path& folder, ModelOptions options) {
  options.task = models::task_of_config(models::ModelConfig::from_file(folder / "config.json"));
  return Model::from_pretrained(folder, options);
}

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path file = to / entry.path().filename();
    fs::copy_file(entry.path(), file, fs::copy_options::overwrite_existing);
    fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  }
}

void copy_with_config(const fs::path& from, const fs::path& to, const std::function<void(Json&)>& edit) {
  fs::create_directories(to);
  Json config = read_json(from / "config.json");
  edit(config);
  write_json(to / "config.json", config);
  fs::copy_file(from / "model.safetensors", to / "model.safetensors", fs::copy_options::overwrite_existing);
}

void copy_with_names(const fs::path& from, const fs::path& to,
                     const std::function<std::string(const std::string&)>& rename) {
  fs::create_directories(to);
  fs::copy_file(from / "config.json", to / "config.json", fs::copy_options::overwrite_existing);
  OwnedTensors owned(from / "model.safetensors");
  std::vector<hub::TensorToWrite> kept;
  for (hub::TensorToWrite& t : owned.tensors) {
    t.name = rename(t.name);
    if (!t.name.empty()) kept.push_back(t);
  }
  hub::write_safetensors(to / "model.safetensors", kept);
}

void set_dropout(Json& config, double p) {
  for (const char* key :
       {"hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout",
        "attention_dropout", "seq_classif_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout_rate",
        "embedding_dropout", "mlp_dropout", "classifier_dropout_prob"}) {
    if (config.contains(key)) config[key] = p;
  }
}

OwnedTensors::OwnedTensors(const fs::path& file) {
  const hub::StateDict dict = hub::read_safetensors(file);
  for (const hub::TensorView& t : dict.tensors()) {
    values.emplace_back(static_cast<size_t>(t.num_elements()));
    hub::copy_to_float(t, values.back().data());
    tensors.push_back({t.name, t.shape, t.dtype, nullptr});
  }
  for (size_t i = 0; i < values.size(); ++i) tensors[i].data = values[i].data();
}

float* OwnedTensors::find(const std::string& name) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name == name) return values[i].data();
  }
  return nullptr;
}

std::unique_ptr<tasks::Task> make_task(const Model& model) {
  if (model.state().head->generates()) return std::make_unique<tasks::CausalLm>();
  if (model.task() == "masked-lm") return std::make_unique<tasks::MaskedLm>();
  if (model.task() == "token-classification")
    return std::make_unique<tasks::TokenClassification>(model.labels());
  const int n = static_cast<int>(model.labels().size());
  const std::string type =
      model.problem_type().empty() ? "single_label_classification" : model.problem_type();
  return std::make_unique<tasks::SequenceClassification>(n, type);
}

class Draws : public PhiloxStream {
 public:
  explicit Draws(uint64_t seed) : PhiloxStream(philox_key(seed, 0, "random examples")) {}
  int32_t in(int32_t low, int32_t high) {  // both included
    return low + static_cast<int32_t>(below(static_cast<uint64_t>(high - low + 1)));
  }
};

RandomFeatures::RandomFeatures(const Model& model, int64_t n, int32_t max_length, uint64_t seed) {
  Draws draws(seed);
  for (int64_t i = 0; i < n; ++i) add(model, draws.in(1, max_length), draws);
}

RandomFeatures RandomFeatures::of_length(const Model& model, int64_t n, int32_t length, uint64_t seed) {
  RandomFeatures out;
  Draws draws(seed);
  for (int64_t i = 0; i < n; ++i) out.add(model, length, draws);
  return out;
}

void RandomFeatures::add(const Model& model, int32_t length, Draws& draws) {
  const auto vocabulary = static_cast<int32_t>(model.state().network.encoder->word_embeddings()->rows());
  const int64_t types = model.state().config.integer_or("type_vocab_size", 1);
  Example e;
  for (int32_t p = 0; p < length; ++p) {
    e.ids.push_back(draws.in(5, vocabulary - 1));
    e.types.push_back(types > 1 && 2 * p >= length ? 1 : 0);
  }
  if (model.model_type().ends_with("t5")) e.ids.back() = 1;  // the end token, which the head reads
  const auto labels = static_cast<int32_t>(model.labels().size());
  if (model.task() == "causal-lm") {
    for (int32_t p = 0; p + 1 < length; ++p) {
      e.label_positions.push_back(p);
      e.labels.push_back(e.ids[static_cast<size_t>(p) + 1]);
    }
  } else if (model.task() == "seq2seq-lm") {
    const int32_t n =
        draws.in(1, length);  // the target: one token more than the decoder reads behind its start
    for (int32_t p = 0; p < n; ++p) {
      e.label_positions.push_back(p);
      e.labels.push_back(draws.in(5, vocabulary - 1));
      e.decoder_ids.push_back(p == 0 ? 0 : e.labels[static_cast<size_t>(p) - 1]);
    }
  } else if (model.task() == "masked-lm") {
    for (int32_t p = 0; p < length; ++p) {
      if (draws.below(6) != 0) continue;
      e.label_positions.push_back(p);
      e.labels.push_back(draws.in(5, vocabulary - 1));
    }
  } else if (model.task() == "token-classification") {  // special tokens at the ends have none
    for (int32_t p = 1; p < length; ++p) {
      if (draws.below(3) == 0) continue;
      e.label_positions.push_back(p);
      e.labels.push_back(draws.in(0, labels - 1));
    }
  } else if (model.problem_type() == "regression") {
    e.float_labels.push_back(static_cast<float>(draws.normal()));
  } else if (model.problem_type() == "multi_label_classification") {
    for (int32_t c = 0; c < labels; ++c) e.float_labels.push_back(static_cast<float>(draws.below(2)));
  } else {
    e.labels.push_back(draws.in(0, labels - 1));
  }
  examples_.push_back(std::move(e));
}

void RandomFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t) const {
  const Example& e = at(i);
  const int32_t first = e.decoder_ids.empty() ? batch.rows() : batch.decoder.rows();
  if (!e.decoder_ids.empty())
    batch.decoder.add(e.decoder_ids.data(), nullptr, static_cast<int32_t>(e.decoder_ids.size()));
  batch.append_sequence(e.ids.data(), e.types.data(), static_cast<int32_t>(e.ids.size()), index);
  for (const int32_t p : e.label_positions) batch.label_rows.push_back(first + p);
  batch.labels.insert(batch.labels.end(), e.labels.begin(), e.labels.end());
  batch.float_labels.insert(batch.float_labels.end(), e.float_labels.begin(), e.float_labels.end());
}

data::RaggedBatch RandomFeatures::batch(int64_t n) const {
  data::RaggedBatch out;
  for (int64_t i = 0; i < n; ++i) append(out, i, i, 0);
  return out;
}

std::vector<float> logits_of(const Model& model, const data::RaggedBatch& batch) {
  static thread_local engine::Arena arena;  // its pages stay from call to call
  arena.reset();
  engine::Tape tape(engine::cpu_kernels(), arena, model.state().parameters, {.bf16 = model.state().bf16});
  const engine::Tensor t = model.state().network.forward(tape, batch).logits->data;
  std::vector<float> out;
  for (int64_t r = 0; r < t.rows; ++r) out.insert(out.end(), t.row(r), t.row(r) + t.cols);
  return out;
}

std::vector<float> all_gradients(models::State& state) {
  std::vector<float> out;
  state.parameters.settle_grads();
  for (const engine::Parameter& p : state.parameters.parameters()) {
    const size_t at = out.size();
    out.resize(at + static_cast<size_t>(p.size), 0.0f);
    float* to = out.data() + at;
    if (!p.row_sparse) {
      std::copy_n(state.parameters.grad(p), p.size, to);
      continue;
    }
    const engine::SparseGrad& g = state.parameters.sparse_grad(p);
    for (size_t i = 0; i < g.ids.size(); ++i) {
      std::copy_n(g.rows.data() + static_cast<int64_t>(i) * p.cols(), p.cols(), to + g.ids[i] * p.cols());
    }
  }
  return out;
}

Pass run_pass(const Model& model, const tasks::Task& task, const data::RaggedBatch& batch, bool dropout,
              uint64_t seed) {
  models::State& state = model.state();
  Pass pass;
  pass.logits = logits_of(model, batch);
  if (!state.parameters.has_grads()) state.parameters.allocate_grads();
  state.parameters.clear_grads();
  train::StepMemory memory;
  pass.loss = train::accumulate_gradients(state, task, batch, std::max(1.0, task.loss_terms(batch)), seed, 0,
                                          dropout, memory);
  pass.gradients = all_gradients(state);
  return pass;
}

double l2_norm(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
    worst = std::isfinite(d) ? std::max(worst, d) : HUGE_VAL;
  }
  return worst;
}

std::vector<float> all_values(const Model& model) {
  const engine::ParameterStore& store = model.state().parameters;
  std::vector<float> out;
  for (const engine::Parameter& p : store.parameters()) {
    out.insert(out.end(), store.value(p), store.value(p) + p.size);
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void expect_thread_free(const std::string& what, const std::function<std::vector<float>()>& f) {
  set_num_threads(1);
  const std::vector<float> one = f();
  EXPECT_FALSE(one.empty()) << what;
  for (const int n : {2, 3, 16}) {
    set_num_threads(n);
    EXPECT_TRUE(same_bits(one, f())) << what << " with " << n << " threads";
  }
  set_num_threads(0);
}

}  // namespace graft::test
