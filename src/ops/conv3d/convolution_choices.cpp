// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/convolution_choices.hpp"

#include <utility>

#include "bunchtrain/device/device_time.hpp"

namespace bunchtrain::ops {
namespace {

constexpr double kWorthwhile = 29.0 / 30;
constexpr int kWarmUps = 2, kCalls = 5;

double time_on_device(c10::Device device, const std::function<void()>& work) {
  for (int i = 0; i < kWarmUps; ++i) work();
  const device::Moment begin(device);
  for (int i = 0; i < kCalls; ++i) work();
  return device::Moment(device).seconds_since(begin) / kCalls;
}

}  // namespace

ConvolutionWay faster_way(double library_seconds, double direct_seconds) noexcept {
  return direct_seconds < kWorthwhile * library_seconds ? ConvolutionWay::direct : ConvolutionWay::library;
}

ConvolutionChoices::ConvolutionChoices(Timer timer) : timer_(timer ? std::move(timer) : time_on_device) {}

void ConvolutionChoices::measure(bool on) {
  const std::lock_guard lock(mutex_);
  measures_ = on;
}

void ConvolutionChoices::always(std::optional<ConvolutionWay> way) {
  const std::lock_guard lock(mutex_);
  always_ = way;
}

ConvolutionWay ConvolutionChoices::choose(const std::string& name, c10::Device device,
                                          const std::function<void()>& library,
                                          const std::function<void()>& direct) {
  const std::lock_guard lock(mutex_);
  if (always_) return *always_;
  const auto known = choices_.find(name);
  if (known != choices_.end()) return known->second.way;
  if (!measures_) return ConvolutionWay::library;
  ConvolutionChoice choice{.library_seconds = timer_(device, library),
                           .direct_seconds = timer_(device, direct)};
  choice.way = faster_way(choice.library_seconds, choice.direct_seconds);
  choices_.emplace(name, choice);
  return choice.way;
}

std::map<std::string, ConvolutionChoice> ConvolutionChoices::all() const {
  const std::lock_guard lock(mutex_);
  return choices_;
}

void ConvolutionChoices::keep(std::map<std::string, ConvolutionChoice> choices) {
  const std::lock_guard lock(mutex_);
  choices_ = std::move(choices);
}

ConvolutionChoices& convolution_choices() {
  static ConvolutionChoices choices;
  return choices;
}

}  // namespace bunchtrain::ops
