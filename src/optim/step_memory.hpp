// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the kernels of one update read and do on one device.

#include <c10/core/DeviceGuard.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <vector>

#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/device/step_scalars.hpp"
#include "clip_scale.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

/// An update is planned as a whole before any of it runs, so that one upload brings what all of its kernels read. The order of
/// plans is the order of kernels; a step that plans as the one before finds its rules at the same addresses.
class StepMemory {
 public:
  explicit StepMemory(c10::Device device)
      : scalars_(device), gradient_scale_(scalars_.add<double>()), scale_rule_(scalars_.add<ScaleRule>()) {}

  c10::Device device() const noexcept { return scalars_.device(); }
  void begin() { updates_.clear(); }
  template <template <class> class Rule, class T>
  void plan(const Rule<T>& rule, const FlatRange<T>& range);
  void upload(const ScaleRule& rule) {
    scalars_.set(scale_rule_, rule);
    scalars_.set(gradient_scale_, rule.gradient_scale);
    scalars_.upload();
  }
  const ScaleRule* scale_rule() const { return scalars_.address(scale_rule_); }
  std::int64_t uploads() const noexcept { return scalars_.uploads(); }

  /// The planned updates, with a scale that the host knows or that is on the device.
  void run(double gradient_scale) {
    scalars_.set(gradient_scale_, gradient_scale);
    if (!device().is_cpu()) scalars_.upload();
    run(scalars_.address(gradient_scale_));
  }
  void run(const double* gradient_scale) {
    for (const auto& update : updates_) update(gradient_scale);
  }

 private:
  struct alignas(16) RuleBytes {
    std::byte bytes[96];
  };

  device::StepScalars scalars_;
  device::StepScalar<double> gradient_scale_;
  device::StepScalar<ScaleRule> scale_rule_;
  std::vector<device::StepScalar<RuleBytes>> rules_;  ///< by the number of the update
  std::vector<std::function<void(const double* gradient_scale)>> updates_;
};

template <template <class> class Rule, class T>
void StepMemory::plan(const Rule<T>& rule, const FlatRange<T>& range) {
  static_assert(sizeof(Rule<T>) <= sizeof(RuleBytes));
  const std::size_t number = updates_.size();
  if (number == rules_.size()) rules_.push_back(scalars_.add<RuleBytes>());
  RuleBytes bytes{};
  std::memcpy(&bytes, &rule, sizeof(rule));
  scalars_.set(rules_[number], bytes);
  updates_.emplace_back([this, number, range](const double* gradient_scale) {
    FlatRange<T> scaled = range;
    scaled.gradient_scale = gradient_scale;
    const auto* in_memory = reinterpret_cast<const Rule<T>*>(scalars_.address(rules_[number]));
    if (device().is_cpu()) return update_on_cpu(in_memory, scaled);
    const c10::DeviceGuard guard(device());
    update_on_gpu(in_memory, scaled, device::current_stream(device()));
  });
}

}  // namespace bunchtrain::optim
