#include "train/parity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "data/labels.h"
#include "hub/state_dict.h"
#include "models/decoder.h"
#include "models/registry.h"
#include "models/weights.h"
#include "tasks/task_table.h"
#include "train/adamw.h"
#include "train/runner.h"

namespace graft::train {
namespace fs = std::filesystem;
using engine::Parameter;
using engine::Tape;
using engine::Var;

namespace {

// All numbers of a fixture's tensor; an error when there are fewer than `needed`.
std::vector<float> floats_of(const hub::TensorView& t, int64_t needed = 0) {
  if (t.num_elements() < needed)
    fail("the fixture's tensor {} has {} numbers; {} are needed", t.name, t.num_elements(), needed);
  std::vector<float> out(static_cast<size_t>(t.num_elements()));
  hub::copy_to_float(t, out.data());
  return out;
}

// A fixture's tensor of a parameter, in the parameter's own layout.
std::vector<float> values_of(const hub::TensorView& t, const Parameter& p) {
  std::vector<float> out(static_cast<size_t>(p.size));
  models::load_values(t, p, out.data());
  return out;
}

// The layer in a name like hidden_states.2 (`start`: "hidden_states."); -1: another name.
int64_t layer_of(std::string_view name, std::string_view start) {
  if (!name.starts_with(start)) return -1;
  name.remove_prefix(start.size());
  int64_t layer = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  return error == std::errc() && end == name.data() + name.size() ? layer : -1;
}

// How many rows a tensor must have in which these are looked up.
int64_t rows_up_to(const std::vector<int64_t>& rows) {
  return rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end()) + 1;
}

double median_of(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// Collects differences, each against its own limit.
class Comparison {
 public:
  ParityKind& kind(const std::string& name) {
    for (ParityKind& k : kinds_) {
      if (k.kind == name) return k;
    }
    kinds_.push_back({name, 0, 0, 0, ""});
    return kinds_.back();
  }
  void count(const std::string& kind_name) { ++kind(kind_name).tensors; }
  void add(const std::string& kind_name, const std::string& tensor, double got, double expected,
           double limit) {
    ParityKind& k = kind(kind_name);
    double error = std::fabs(got - expected), share = error / limit;
    if (!std::isfinite(share)) error = share = 1e30;  // a limit relative to a NaN is a NaN, too
    k.worst_error = std::max(k.worst_error, error);
    if (share > k.worst_of_limit) k.worst_of_limit = share, k.worst_tensor = tensor;
  }
  std::vector<ParityKind> take() { return std::move(kinds_); }

 private:
  std::vector<ParityKind> kinds_;
};

// The padded inputs of a fixture, as a ragged batch with labels.
struct FixtureInputs {
  data::RaggedBatch batch;
  std::vector<int64_t> padded_row;         // [T] row in the padded [B * L] layout
  std::vector<int64_t> padded_output_row;  // the same of the rows that the head may read
  bool float_labels = false;
  int num_label_columns = 1;
  bool padded = false;  // a row of the fixture is shorter than another
};

// The target is the decoder's input, one place to the right behind `start`; each of its rows has a label.
void read_target(const Json& labels, int32_t start, FixtureInputs& in) {
  for (size_t b = 0; b < labels.size(); ++b) {
    std::vector<int32_t> ids = {start};
    for (size_t i = 0; i < labels[b].size() && labels[b][i].get<int>() >= 0; ++i) {
      in.batch.label_rows.push_back(static_cast<int32_t>(in.padded_output_row.size()));
      in.batch.labels.push_back(labels[b][i].get<int32_t>());
      in.padded_output_row.push_back(static_cast<int64_t>(b * labels[b].size() + i));
      ids.push_back(in.batch.labels.back());
    }
    in.batch.decoder.add(ids.data(), nullptr, static_cast<int32_t>(ids.size()) - 1);
  }
}

// Of each row the first and the last token of the answer; beyond the row, whose width is that of the
// fixture: there is none.
void read_spans(const Json& inputs, FixtureInputs& in) {
  const auto width = inputs.at("input_ids").at("shape")[1].get<int32_t>();
  for (const auto& [name, to] :
       {std::pair{"start_positions", &in.batch.start_positions}, {"end_positions", &in.batch.end_positions}})
    for (const Json& at : inputs.at(name).at("data"))
      to->push_back(at.get<int32_t>() < width ? at.get<int32_t>() : -1);
}

// Appends a row of the fixture, the real tokens of `ids`, as a sequence.
void read_sequence(const Json& ids, const Json& mask, const Json& types, FixtureInputs& in) {
  std::vector<int32_t> row_ids, row_types;
  const auto first = static_cast<int64_t>(in.batch.size()) * static_cast<int64_t>(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (mask[i].get<int>() == 0) {
      in.padded = true;
      continue;
    }
    row_ids.push_back(ids[i].get<int32_t>());
    row_types.push_back(types.is_null() ? 0 : types[i].get<int32_t>());
    in.padded_row.push_back(first + static_cast<int64_t>(i));
  }
  in.batch.append_sequence(row_ids.data(), row_types.data(), static_cast<int32_t>(row_ids.size()),
                           in.batch.size());
}

// The label of each real token that has one; with `shift` it is predicted by the row before the token.
void read_token_labels(const Json& labels, const Json& mask, bool shift, FixtureInputs& in) {
  int32_t row = in.batch.rows();
  for (size_t i = 0, place = 0; i < labels.size(); ++i) {
    if (mask[i].get<int>() == 0) continue;
    if (labels[i].get<int>() >= 0 && !(shift && place == 0)) {
      in.batch.label_rows.push_back(row - (shift ? 1 : 0));
      in.batch.labels.push_back(labels[i].get<int>());
    }
    ++row, ++place;
  }
}

void read_example_label(const Json& label, FixtureInputs& in) {
  if (!in.float_labels) return in.batch.labels.push_back(label.get<int>());
  in.num_label_columns = label.is_array() ? static_cast<int>(label.size()) : 1;
  for (const Json& x : label.is_array() ? label : Json::array({label}))
    in.batch.float_labels.push_back(x.get<float>());
}

FixtureInputs read_inputs(const fs::path& folder, const models::State& state) {
  const bool reads_target = state.head->reads_target, spans = state.head->predicts_spans;
  const Json inputs = read_json(folder / "inputs.json");
  const auto grid = [&](const char* name) { return inputs.at(name).at("data"); };
  const Json ids = grid("input_ids"), mask = grid("attention_mask");
  const Json types = inputs.contains("token_type_ids") ? grid("token_type_ids") : Json();
  const Json labels = spans ? Json() : inputs.at("labels");
  FixtureInputs in;
  in.float_labels = !spans && labels.at("dtype").get<std::string>().starts_with("float");
  const bool per_token = !spans && !in.float_labels && labels.at("shape").size() == 2 && !reads_target;
  for (size_t b = 0; b < ids.size(); ++b) {
    in.batch.begin_example(static_cast<int64_t>(b));
    if (per_token) read_token_labels(labels.at("data")[b], mask[b], state.head->predicts_next, in);
    if (ids[b][0].is_array()) {  // the choices of an example
      for (size_t s = 0; s < ids[b].size(); ++s)
        read_sequence(ids[b][s], mask[b][s], types.is_null() ? types : types[b][s], in);
    } else {
      read_sequence(ids[b], mask[b], types.is_null() ? types : types[b], in);
    }
    if (!per_token && !reads_target && !spans) read_example_label(labels.at("data")[b], in);
  }
  if (reads_target)
    read_target(labels.at("data"), *state.network.encoder->decoder()->decoder_start_token_id(), in);
  else
    in.padded_output_row = in.padded_row;
  if (spans) read_spans(inputs, in);
  return in;
}

std::unique_ptr<tasks::Task> make_task(const Model& model, const FixtureInputs& in) {
  return tasks::task_of(model).make_task(model, in.float_labels ? LabelKind::floats : LabelKind::integers);
}

class Fixture {
 public:
  Fixture(const fs::path& folder, bool bf16)
      : folder_(folder),
        meta_(read_json(folder / "meta.json")),
        model_(load(folder)),
        state_(model_.state()),
        in_(read_inputs(folder, state_)),
        task_(make_task(model_, in_)) {
    state_.bf16 = bf16;
  }

  ParityReport run() {
    state_.bf16 ? compare_outputs_bf16() : compare_outputs();
    if (loss_reads_padding()) {
      of_padding("gradients");
      if (path_exists(folder_ / "after5.safetensors")) of_padding("step losses, trained weights");
    } else if (state_.bf16) {
      compare_gradients_bf16();
    } else {
      compare_gradients();
      if (path_exists(folder_ / "after5.safetensors")) compare_training();
    }
    return {folder_.string(), comparison_.take(), not_compared_, of_padding_};
  }

 private:
  static Model load(const fs::path& folder) {
    const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
    ModelOptions options;
    options.task = models::task_of_config(config);
    if (options.task.empty()) {
      fail("{}: architectures {} is not one that graft has", config.origin(),
           config.json().value("architectures", Json()).dump());
    }
    return Model::from_pretrained(folder, options);
  }

  // The reference's softmax over the positions of a row includes the padded ones.
  bool loss_reads_padding() const { return state_.head->predicts_spans && in_.padded; }
  void of_padding(const std::string& what) {
    of_padding_.push_back(what + ": the reference's softmax over positions includes padded ones");
  }

  // The column of the logits that a tensor of its own holds; -1: another tensor.
  int64_t column_of(const std::string& name) const {
    if (!state_.head->predicts_spans) return -1;
    return name == "start_logits" ? 0 : name == "end_logits" ? 1 : -1;
  }

  // One column of the logits, at real positions.
  void compare_column(const hub::TensorView& t, engine::Tensor got, int64_t column) {
    const std::vector<float> expected = floats_of(t, rows_up_to(in_.padded_output_row));
    comparison_.count("logits");
    for (int64_t r = 0; r < got.rows; ++r) {
      const double e = expected[static_cast<size_t>(in_.padded_output_row[static_cast<size_t>(r)])];
      comparison_.add("logits", t.name, got.row(r)[column], e, 5e-5 + 1e-5 * std::fabs(e));
    }
  }

  // Every row of the hidden states, at real positions.
  void compare_hidden(const std::string& name, const hub::TensorView& t, engine::Tensor got,
                      const std::vector<int64_t>& padded) {
    const std::vector<float> expected = floats_of(t, rows_up_to(padded) * got.cols);
    comparison_.count("hidden states");
    for (int64_t r = 0; r < got.rows; ++r) {
      for (int64_t c = 0; c < got.cols; ++c) {
        const size_t at = static_cast<size_t>(padded[static_cast<size_t>(r)] * got.cols + c);
        comparison_.add("hidden states", name, got.row(r)[c], expected[at], 1e-4);
      }
    }
  }

  void compare_decoder_ids(const hub::TensorView& t) {
    const auto needed = static_cast<size_t>(rows_up_to(in_.padded_output_row));
    if (t.dtype != DType::i64 || t.num_bytes < needed * sizeof(int64_t))
      fail("the fixture's tensor {} holds no {} ids of 64 bits", t.name, needed);
    std::vector<int64_t> expected(needed);
    std::memcpy(expected.data(), t.data, needed * sizeof(int64_t));
    comparison_.count("decoder ids");
    for (size_t r = 0; r < in_.padded_output_row.size(); ++r)
      comparison_.add("decoder ids", t.name, in_.batch.decoder.input_ids[r],
                      static_cast<double>(expected[static_cast<size_t>(in_.padded_output_row[r])]), 0.5);
  }

  // `padded` gives the row of the fixture's tensor for each row of `got`.
  void compare_logits(const std::string& name, const hub::TensorView& t, engine::Tensor got,
                      const std::vector<int64_t>* padded) {
    const std::vector<float> expected = floats_of(t, (padded ? rows_up_to(*padded) : got.rows) * got.cols);
    comparison_.count("logits");
    for (int64_t r = 0; r < got.rows; ++r) {
      const int64_t row = padded ? (*padded)[static_cast<size_t>(r)] : r;
      for (int64_t c = 0; c < got.cols; ++c) {
        const double e = expected[static_cast<size_t>(row * got.cols + c)];
        comparison_.add("logits", name, got.row(r)[c], e, 5e-5 + 1e-5 * std::fabs(e));
      }
    }
  }

  // Once with everything computed, for the hidden states; once as training computes it, for logits and loss.
  void compare_outputs() {
    const hub::StateDict outputs = hub::read_safetensors(folder_ / "outputs.safetensors");
    const bool per_token = !in_.batch.label_rows.empty();
    memory_.arena().reset();
    Tape tape(memory_.arena(), state_.parameters, {});
    const models::Forward every =
        state_.network.forward(tape, in_.batch, {.hidden_states = true, .every_row = true});
    const std::vector<Var>&hidden = every.hidden_states, &below = every.encoder_hidden_states;
    // What a release calls the last hidden state.
    const bool of_release_4 = meta_.value("library", "").starts_with("transformers 4.");
    const Var last = every.last_layer && of_release_4 ? every.last_layer : hidden.back();
    Var full_logits = nullptr, pooled = nullptr;
    if (per_token && !state_.head->reads_target) {
      full_logits =
          state_.network.head->logits(tape, hidden.back(), models::make_inputs(tape, in_.batch).rows);
    } else {
      pooled = state_.network.head->pooled(tape, every.hidden);
    }
    const Var logits = state_.network.forward(tape, in_.batch).logits;
    const double loss = tape.scalar(task_->loss(tape, logits, in_.batch, task_->loss_terms(in_.batch)));
    for (const hub::TensorView& t : outputs.tensors()) {
      if (t.name == "loss" && loss_reads_padding()) {
        of_padding(t.name);
      } else if (t.name == "loss") {
        const double e = floats_of(t, 1)[0];
        comparison_.count("loss");
        comparison_.add("loss", "loss", loss, e, 1e-5 * std::max(1.0, std::fabs(e)));
      } else if (t.name == "logits" && per_token) {
        if (full_logits) compare_logits(t.name, t, tape.on_host(full_logits->data), &in_.padded_row);
        std::vector<int64_t> label_rows;
        for (const int32_t r : in_.batch.label_rows)
          label_rows.push_back(in_.padded_output_row[static_cast<size_t>(r)]);
        compare_logits("logits of the rows with labels", t, tape.on_host(logits->data), &label_rows);
      } else if (t.name == "logits") {
        compare_logits(t.name, t, tape.on_host(logits->data), nullptr);
      } else if (const int64_t column = column_of(t.name); column >= 0) {
        compare_column(t, tape.on_host(logits->data), column);
      } else if (t.name == "last_hidden_state" || t.name == "decoder_last_hidden_state") {
        compare_hidden(t.name, t, tape.on_host(last->data), in_.padded_output_row);
      } else if (t.name == "encoder_last_hidden_state" && !below.empty()) {
        compare_hidden(t.name, t, tape.on_host(below.back()->data), in_.padded_row);
      } else if (t.name == "decoder_input_ids" && state_.head->reads_target) {
        compare_decoder_ids(t);
      } else if (t.name == "pooler_output" && pooled) {
        compare_logits(t.name, t, tape.on_host(pooled->data), nullptr);
      } else if (const int64_t layer = layer_of(t.name, "hidden_states.");
                 layer >= 0 && layer < static_cast<int64_t>(hidden.size())) {
        const Var got =
            layer + 1 == static_cast<int64_t>(hidden.size()) ? last : hidden[static_cast<size_t>(layer)];
        compare_hidden(t.name, t, tape.on_host(got->data), in_.padded_output_row);
      } else if (const int64_t lower = layer_of(t.name, "encoder_hidden_states.");
                 lower >= 0 && lower < static_cast<int64_t>(below.size())) {
        compare_hidden(t.name, t, tape.on_host(below[static_cast<size_t>(lower)]->data), in_.padded_row);
      } else {
        not_compared_.push_back("outputs: " + t.name);
      }
    }
  }

  // The fixture's logits in the order of `got`, row by row.
  std::vector<float> expected_logits(const hub::StateDict& outputs, engine::Tensor got) const {
    const bool spans = state_.head->predicts_spans;
    const hub::TensorView* first = outputs.find(spans ? "start_logits" : "logits");
    const hub::TensorView* second = spans ? outputs.find("end_logits") : nullptr;
    if (!first || (spans && !second)) fail("{}: outputs.safetensors has no logits", folder_.string());
    const bool per_token = !in_.batch.label_rows.empty();
    const int64_t needed = per_token || spans ? rows_up_to(in_.padded_output_row) : got.rows;
    const std::vector<float> one = floats_of(*first, needed * (spans ? 1 : got.cols)),
                             two = spans ? floats_of(*second, needed) : std::vector<float>();
    std::vector<float> out;
    for (int64_t r = 0; r < got.rows; ++r) {
      int64_t row = r;
      if (per_token) row = in_.batch.label_rows[static_cast<size_t>(r)];
      if (per_token || spans) row = in_.padded_output_row[static_cast<size_t>(row)];
      if (spans) out.insert(out.end(), {one[static_cast<size_t>(row)], two[static_cast<size_t>(row)]});
      for (int64_t c = 0; !spans && c < got.cols; ++c)
        out.push_back(one[static_cast<size_t>(row * got.cols + c)]);
    }
    return out;
  }

  // Loss and logits as training computes them, against the limits for bf16.
  void compare_outputs_bf16() {
    const hub::StateDict outputs = hub::read_safetensors(folder_ / "outputs.safetensors");
    const hub::TensorView* loss = outputs.find("loss");
    if (!loss) fail("{}: outputs.safetensors has no loss", folder_.string());
    memory_.arena().reset();
    Tape tape(memory_.arena(), state_.parameters, {.bf16 = true});
    const Var got = state_.network.forward(tape, in_.batch).logits;
    const double value = tape.scalar(task_->loss(tape, got, in_.batch, task_->loss_terms(in_.batch)));
    const engine::Tensor got_logits = tape.on_host(got->data);
    if (loss_reads_padding()) {
      of_padding("loss");
    } else {
      const double expected_loss = floats_of(*loss, 1)[0];
      comparison_.count("loss");
      comparison_.add("loss", "loss", value, expected_loss, 0.04 * std::max(1.0, std::fabs(expected_loss)));
    }
    const std::vector<float> expected = expected_logits(outputs, got_logits);
    std::vector<double> errors;
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const double e = expected[i], logit = got_logits.row(at / got_logits.cols)[at % got_logits.cols];
      errors.push_back(std::fabs(logit - e) / (1 + std::fabs(e)));
      comparison_.add("logits, worst", "logits", errors.back(), 0, 0.25);
    }
    comparison_.count("logits, worst");
    comparison_.count("logits, median");
    comparison_.add("logits, median", "logits", median_of(errors), 0, 0.02);
  }

  // 1 - cosine with the fp32 gradient, for parameters whose gradient is above 1e-3 of the global norm.
  void compare_gradients_bf16() {
    gradients();
    state_.parameters.settle_grads();
    const hub::StateDict dict = hub::read_safetensors(folder_ / "grads.safetensors");
    const double norm = meta_.at("grad_norm").get<double>();
    std::vector<double> distances;
    for (const hub::TensorView& t : dict.tensors()) {
      const Parameter* p = state_.parameters.find(t.name);
      if (!p || models::stored_shape(*p) != t.shape) {
        not_compared_.push_back("grads: " + t.name);
        continue;
      }
      const std::vector<float> expected = values_of(t, *p), got = dense_gradient(*p);
      double ab = 0, aa = 0, bb = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        ab += double{expected[i]} * got[i];
        aa += double{expected[i]} * expected[i];
        bb += double{got[i]} * got[i];
      }
      if (std::sqrt(aa) <= 1e-3 * norm) continue;
      distances.push_back(1 - ab / std::sqrt(aa * bb));
      comparison_.count("gradients, 1 - cosine");
      comparison_.add("gradients, 1 - cosine", t.name, distances.back(), 0, 0.04);
    }
    comparison_.count("gradients, median");
    comparison_.add("gradients, median", "all", median_of(distances), 0, 0.002);
  }

  double gradients() {
    state_.parameters.allocate_grads();
    state_.parameters.clear_grads();
    return accumulate_gradients(state_, *task_, in_.batch, task_->loss_terms(in_.batch), 42, 0, true,
                                memory_);
  }

  std::vector<float> dense_gradient(const Parameter& p) {
    if (!p.row_sparse) {
      const engine::HostRead all = state_.parameters.read_grad(p);
      return {all.begin(), all.end()};
    }
    std::vector<float> out(static_cast<size_t>(p.size), 0.0f);
    const engine::SparseGrad& g = state_.parameters.sparse_grad(p);
    const engine::HostRead rows(state_.parameters.device(), g.rows.data(), g.rows.size());
    for (size_t i = 0; i < g.ids.size(); ++i)
      std::copy_n(rows.begin() + static_cast<int64_t>(i) * p.cols(), p.cols(),
                  out.begin() + g.ids[i] * p.cols());
    return out;
  }

  template <class Get>
  void compare_parameters(const char* file, const std::string& kind, Get get,
                          const std::function<double(const std::string&)>& limit) {
    const hub::StateDict dict = hub::read_safetensors(folder_ / file);
    std::set<std::string> seen;
    for (const hub::TensorView& t : dict.tensors()) {
      const Parameter* p = state_.parameters.find(t.name);
      if (!p || models::stored_shape(*p) != t.shape) {
        not_compared_.push_back(std::string(file) + ": " + t.name);
        continue;
      }
      seen.insert(t.name);
      const std::vector<float> expected = values_of(t, *p), got = get(*p);
      comparison_.count(kind);
      for (size_t i = 0; i < expected.size(); ++i)
        comparison_.add(kind, t.name, got[i], expected[i], limit(t.name));
    }
    for (const Parameter& p : state_.parameters.parameters()) {
      if (!seen.count(p.name)) not_compared_.push_back(std::string(file) + " lacks " + p.name);
    }
  }

  void compare_gradients() {
    gradients();
    state_.parameters.settle_grads();
    const double norm = meta_.at("grad_norm").get<double>();
    compare_parameters(
        "grads.safetensors", "gradients", [&](const Parameter& p) { return dense_gradient(p); },
        [&](const std::string&) { return 3e-6 * norm; });
  }

  // Five steps of AdamW as the fixtures' README gives them.
  void compare_training() {
    AdamWOptions options;
    options.weight_decay = 0.01;
    AdamW optimizer(state_.parameters, options);
    Parameter& words = *state_.network.encoder->word_embeddings();
    double rates = 0;
    for (size_t step = 0; step < meta_.at("steps").size(); ++step) {
      const Json& expected = meta_.at("steps")[step];
      optimizer.catch_up(words, in_.batch.input_ids.data(), in_.batch.rows());
      const double loss = gradients();
      const double reference = expected.at("loss").get<double>();
      comparison_.count("step losses");
      comparison_.add("step losses", fmt::format("step {}", step), loss, reference,
                      2e-5 * std::max(1.0, reference));
      const double norm = grad_norm(state_.parameters);
      optimizer.step(expected.at("lr").get<double>(), static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6))));
      rates += expected.at("lr").get<double>();
    }
    optimizer.flush();
    const Json& unstable = meta_.at("after5_unstable");
    compare_parameters(
        "after5.safetensors", "trained weights",
        [&](const Parameter& p) {
          const engine::HostRead w = state_.parameters.read_value(p);
          return std::vector<float>(w.begin(), w.end());
        },
        [&](const std::string& name) { return unstable.contains(name) ? 2 * rates + 5e-5 : 3e-5; });
  }

  fs::path folder_;
  Json meta_;
  Model model_;
  models::State& state_;
  FixtureInputs in_;
  std::unique_ptr<tasks::Task> task_;
  StepMemory memory_{state_.parameters.device()};
  Comparison comparison_;
  std::vector<std::string> not_compared_, of_padding_;
};

}  // namespace

bool ParityReport::ok() const {
  return not_compared.empty() && !kinds.empty() &&
         std::all_of(kinds.begin(), kinds.end(), [](const ParityKind& k) { return k.worst_of_limit <= 1; });
}

ParityReport run_parity(const fs::path& folder, bool bf16) {
  if (!path_exists(folder / "meta.json")) {
    fail_with(
        "give a folder of reference numbers: config.json, model.safetensors, inputs.json, "
        "outputs.safetensors, "
        "grads.safetensors, meta.json",
        "{}: not a fixture folder (meta.json is missing)", folder.string());
  }
  return Fixture(folder, bf16).run();
}

std::vector<fs::path> find_fixtures(const fs::path& folder) {
  std::vector<fs::path> out;
  if (!is_folder(folder)) fail("{}: no such folder", folder.string());
  if (path_exists(folder / "meta.json")) return {folder};
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().filename() == "meta.json") out.push_back(at->path().parent_path());
  if (error) fail("{}: cannot read this folder: {}", folder.string(), error.message());
  std::sort(out.begin(), out.end());
  if (out.empty()) fail("{}: no fixture folder at or below it (none has a meta.json)", folder.string());
  return out;
}

Json to_json(const ParityReport& report) {
  Json kinds = Json::array();
  for (const ParityKind& k : report.kinds) {
    kinds.push_back({{"kind", k.kind},
                     {"tensors", k.tensors},
                     {"worst_error", k.worst_error},
                     {"worst_of_limit", k.worst_of_limit},
                     {"worst_tensor", k.worst_tensor}});
  }
  return {{"fixture", report.fixture},
          {"ok", report.ok()},
          {"kinds", kinds},
          {"not_compared", report.not_compared},
          {"of_padding", report.of_padding}};
}

}  // namespace graft::train
