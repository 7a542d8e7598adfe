// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A user's own metrics over one validation.

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/train/sample_metric.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {

struct NamedSampleMetric {
  std::string name;  ///< without "valid_"
  SampleMetric metric;
  SampleMetricOptions options = {};
};

/// @throws ConfigError for a name that is no word, or that another one has; for a second that decides.
void require_can_be_added(const NamedSampleMetric& metric, std::span<const NamedSampleMetric> others);

/// Sums over the samples of this rank. Not thread-safe.
class SampleMetricSums {
 public:
  explicit SampleMetricSums(std::span<const NamedSampleMetric> metrics)
      : metrics_(metrics), sums_(metrics.size(), 0.0) {}
  /// @throws ConfigError naming the metric that does not give a number per sample.
  void add(const NamedTensors& outputs, const Batch& batch);
  /// Collective. Adds the means over the samples of all ranks to what a validation found.
  /// @throws ConfigError if that has a metric of the same name.
  void finish(comm::Communicator& ranks, ValidationResult& found) const;

 private:
  std::span<const NamedSampleMetric> metrics_;
  std::vector<double> sums_;
  double samples_ = 0;
};

}  // namespace bunchtrain::train
