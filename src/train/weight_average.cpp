#include "train/weight_average.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/threads.h"

namespace graft::train {

using engine::Parameter;

namespace {

constexpr int64_t kFloatsPerTask = 1 << 16;

// f(i) for all n floats.
template <class F>
void each_float(int64_t n, const F& f) {
  parallel_blocks(n, kFloatsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(static_cast<size_t>(i));
  });
}

// Whether a run may have more places than the average counts. Evaluations at each r-th part of the steps,
// rounded up to whole steps, are at most 1 / r.
bool keeps_last(const TrainingArguments& a) {
  constexpr double kRounding = 1e-9;
  const bool by_ratio = a.eval_strategy == "steps" && a.eval_steps && *a.eval_steps < 1;
  return !by_ratio || 1 > *a.eval_steps * (static_cast<double>(a.average_checkpoints) + kRounding);
}

}  // namespace

AverageKind average_kind(const TrainingArguments& a) {
  const int asked =
      (a.ema_decay > 0 ? 1 : 0) + (a.swa_start > 0 ? 1 : 0) + (a.average_checkpoints > 0 ? 1 : 0);
  if (asked > 1)
    throw UsageError("--ema_decay, --swa_start and --average_checkpoints exclude each other",
                     "give one of them");
  return a.ema_decay > 0             ? AverageKind::ema
         : a.swa_start > 0           ? AverageKind::swa
         : a.average_checkpoints > 0 ? AverageKind::last
                                     : AverageKind::none;
}

int64_t average_bytes(const engine::ParameterStore& store, const TrainingArguments& a) {
  const AverageKind kind = average_kind(a);
  if (kind == AverageKind::none) return 0;
  int64_t floats = 0;
  for (const Parameter& p : store.parameters()) floats += p.trainable ? p.size : 0;
  return 4 * floats * (kind == AverageKind::last && keeps_last(a) ? 1 + a.average_checkpoints : 1);
}

WeightAverage::WeightAverage(engine::ParameterStore& store, const TrainingArguments& a, int64_t swa_start)
    : store_(store),
      kind_(average_kind(a)),
      decay_(a.ema_decay),
      window_(a.average_checkpoints),
      swa_start_(swa_start),
      at_evaluations_(a.eval_strategy != "no"),
      keeps_last_(kind_ == AverageKind::last && keeps_last(a)) {
  for (Parameter& p : store.parameters())
    if (p.trainable) averaged_.push_back({&p, std::vector<float>(static_cast<size_t>(p.size)), {}});
}

bool WeightAverage::counts(int64_t step, bool epoch_ends, bool evaluated) const {
  switch (kind_) {
    case AverageKind::ema:
      return true;
    case AverageKind::swa:
      return epoch_ends && step >= swa_start_;
    case AverageKind::last:
      return at_evaluations_ ? evaluated : epoch_ends;
    case AverageKind::none:
      return false;
  }
  return false;
}

const char* WeightAverage::unit() const {
  return kind_ == AverageKind::ema                       ? "steps"
         : kind_ == AverageKind::last && at_evaluations_ ? "evaluations"
                                                         : "epochs";
}

void WeightAverage::add() {
  if (kind_ == AverageKind::last) {
    added_ = std::min(added_ + 1, window_);
  } else {
    ++added_;
  }
  // The first weights are the average; torch.optim.swa_utils.AveragedModel starts so.
  const double rest = added_ == 1                 ? 1
                      : kind_ == AverageKind::ema ? 1 - decay_
                                                  : 1 / static_cast<double>(added_);
  for (Averaged& a : averaged_) {
    const engine::HostRead w = store_.read_value(*a.parameter);
    if (!keeps_last_) {
      each_float(w.size(), [&](size_t i) {
        a.mean[i] +=
            static_cast<float>(rest * (static_cast<double>(w.data()[i]) - static_cast<double>(a.mean[i])));
      });
      continue;
    }
    if (a.last.size() == static_cast<size_t>(window_)) a.last.erase(a.last.begin());
    a.last.emplace_back(w.begin(), w.end());
    each_float(w.size(), [&](size_t i) {
      double sum = 0;
      for (const std::vector<float>& one : a.last) sum += static_cast<double>(one[i]);
      a.mean[i] = static_cast<float>(sum / static_cast<double>(a.last.size()));
    });
  }
}

void WeightAverage::swap() {
  if (added_ == 0) return;
  for (Averaged& a : averaged_) {
    const engine::HostRead w = store_.read_value(*a.parameter);
    std::vector<float> other(w.begin(), w.end());
    {
      const engine::HostWrite to = store_.write_value(*a.parameter);
      std::copy(a.mean.begin(), a.mean.end(), to.data());
    }
    a.mean = std::move(other);
  }
  swapped_ = !swapped_;
  store_.touch_values();
}

Json WeightAverage::values() const {
  Json json = Json::object();
  json["num_averaged"] = added_;
  json["model_is_average"] = swapped_;
  return json;
}

std::vector<StateTensor> WeightAverage::tensors() {
  std::vector<StateTensor> out;
  if (added_ == 0) return out;
  for (const Averaged& a : averaged_) {
    const Parameter& p = *a.parameter;
    out.push_back({(swapped_ ? "weights." : "average.") + p.name, p.shape, DType::f32, a.mean.data()});
    for (size_t k = 0; k < a.last.size(); ++k)
      out.push_back({fmt::format("last.{}.{}", k, p.name), p.shape, DType::f32, a.last[k].data()});
  }
  return out;
}

void WeightAverage::load(const Json& values, std::span<const StateTensor> tensors) {
  const auto added = values.at("num_averaged").get<int64_t>();
  const bool model_is_average = values.at("model_is_average").get<bool>();
  const auto find = [&](const std::string& name, const Parameter& p) {
    const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StateTensor& t) {
      return t.name == name && t.shape == p.shape && t.dtype == DType::f32;
    });
    if (it == tensors.end()) fail("the average of the weights lacks {}", name);
    const auto* from = static_cast<const float*>(it->data);
    return std::vector<float>(from, from + p.size);
  };
  std::vector<Averaged> read;
  for (const Averaged& a : averaged_) {
    if (added == 0) break;
    const Parameter& p = *a.parameter;
    Averaged one{a.parameter, find((model_is_average ? "weights." : "average.") + p.name, p), {}};
    for (int64_t k = 0; keeps_last_ && k < added; ++k)
      one.last.push_back(find(fmt::format("last.{}.{}", k, p.name), p));
    read.push_back(std::move(one));
  }
  added_ = added;
  swapped_ = false;
  if (added == 0) return;
  averaged_ = std::move(read);
  if (!model_is_average) return;
  swapped_ = true;
  swap();  // the weights back into the store
}

}  // namespace graft::train
