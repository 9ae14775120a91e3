#include "train/plateau.h"

#include <algorithm>
#include <limits>

namespace graft::train {
namespace {

double worst(const PlateauSettings& settings) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return settings.larger_is_better ? -kInfinity : kInfinity;
}

}  // namespace

Plateau::Plateau(const PlateauSettings& settings, double learning_rate)
    : settings_(settings), rate_(learning_rate), best_(worst(settings)) {}

bool Plateau::improves(double metric) const {
  const double sign = settings_.larger_is_better ? 1 : -1;
  const double limit =
      settings_.relative ? best_ * (1 + sign * settings_.threshold) : best_ + sign * settings_.threshold;
  return settings_.larger_is_better ? metric > limit : metric < limit;
}

bool Plateau::update(double metric) {
  if (improves(metric)) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooldown_left_ > 0) {
    --cooldown_left_;
    bad_ = 0;
  }
  if (bad_ <= settings_.patience) return false;
  cooldown_left_ = settings_.cooldown;
  bad_ = 0;
  const double lower = std::max(rate_ * settings_.factor, settings_.min_lr);
  if (rate_ - lower <= settings_.eps) return false;
  rate_ = lower;
  return true;
}

Json Plateau::values() const {
  Json json = Json::object();
  json["learning_rate"] = rate_;
  json["best"] = best_;  // null before the first evaluation
  json["num_bad_evaluations"] = bad_;
  json["cooldown_counter"] = cooldown_left_;
  return json;
}

void Plateau::load(const Json& values, std::span<const StateTensor> /*tensors*/) {
  Plateau read(settings_, values.at("learning_rate").get<double>());
  if (!values.at("best").is_null()) read.best_ = values.at("best").get<double>();
  read.bad_ = values.at("num_bad_evaluations").get<int64_t>();
  read.cooldown_left_ = values.at("cooldown_counter").get<int64_t>();
  *this = read;
}

}  // namespace graft::train
