// SPDX-License-Identifier: Apache-2.0
#include "sample_metrics.hpp"

#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "plain_name.hpp"

namespace bunchtrain::train {

void require_can_be_added(const NamedSampleMetric& metric, std::span<const NamedSampleMetric> others) {
  require_plain_name("metric", metric.name);
  const bool taken = metric.name == "loss" ||
                     std::ranges::find(others, metric.name, &NamedSampleMetric::name) != others.end();
  if (taken) throw ConfigError("metric", metric.name, "a name that no other metric of the validation has");
  if (!metric.options.decides_best) return;
  for (const auto& other : others)
    if (other.options.decides_best)
      throw ConfigError("metric", metric.name,
                        fmt::format("no second one that decides what is best: {} does", other.name));
}

void SampleMetricSums::add(const NamedTensors& outputs, const Batch& batch) {
  samples_ += static_cast<double>(batch.size());
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    const at::Tensor values = metrics_[i].metric(outputs, batch);
    const bool fits = values.defined() && (values.dim() == 1 || (values.dim() == 2 && values.size(1) == 1)) &&
                      values.size(0) == batch.size();
    if (!fits)
      throw ConfigError(
          "metric", metrics_[i].name,
          fmt::format("a function that gives one number per sample, [{}]; it gave {}", batch.size(),
                      values.defined() ? fmt::format("[{}]", fmt::join(values.sizes(), ", ")) : "none"));
    sums_[i] += at::sum(values.detach(), at::kDouble).item<double>();
  }
}

void SampleMetricSums::finish(comm::Communicator& ranks, ValidationResult& found) const {
  if (metrics_.empty()) return;
  std::vector<double> mine = sums_;
  mine.push_back(samples_);
  at::Tensor shared = at::tensor(mine, at::kDouble);
  ranks.all_reduce(shared).wait();
  const double* sums = shared.const_data_ptr<double>();
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    const auto& [name, metric, options] = metrics_[i];
    const std::string key = "valid_" + name;
    if (std::ranges::find(found.metrics, key, &report::NamedValue::name) != found.metrics.end())
      throw ConfigError("metric", name, fmt::format("another name: the validation itself finds {}", key));
    const double mean = sums[i] / sums[metrics_.size()];
    found.metrics.push_back({key, mean});
    if (!options.decides_best) continue;
    found.score =
        std::isfinite(mean) ? std::optional(options.smaller_is_better ? -mean : mean) : std::nullopt;
    found.score_name = options.smaller_is_better ? "negative " + key : key;
  }
}

}  // namespace bunchtrain::train
