// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/regression.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <fmt/core.h>

#include <limits>

#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "residual_table.hpp"
#include "result_bytes.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr std::int64_t kColumns = 3;

/// [B] float64 on the host.
at::Tensor as_column(const at::Tensor& tensor, std::int64_t samples, std::string_view what) {
  const bool fits = tensor.dim() == 1 || (tensor.dim() == 2 && tensor.size(1) == 1);
  if (!fits || tensor.size(0) != samples)
    throw ConfigError(
        fmt::format("{} must be [{}] or [{}, 1], one number per target", what, samples, samples));
  return tensor.detach().to(at::kCPU, at::kDouble).reshape({samples});
}

std::int64_t count(const at::Tensor& wrong) { return wrong.sum().item<std::int64_t>(); }

void require_finite(const at::Tensor& column, std::string_view what) {
  if (const auto wrong = count(at::isfinite(column).logical_not()); wrong > 0)
    throw NotFiniteScores(
        fmt::format("{} of {} {} are not finite: the training has diverged (lower the learning rate) or the "
                    "data hold NaN",
                    wrong, column.size(0), what));
}

RegressionResult evaluate_rows(const at::Tensor& rows, const RegressionOptions& options) {
  std::vector<Residual> residuals(static_cast<std::size_t>(rows.size(0)));
  const double* value = rows.const_data_ptr<double>();
  for (Residual& residual : residuals) {
    residual = {.target = value[0], .value = value[1], .pull = value[2]};
    value += kColumns;
  }
  return evaluate(std::move(residuals), options);
}

}  // namespace

void RegressionOptions::validate() const {
  if (bins < 1) throw ConfigError("bins", std::to_string(bins), "1 or more");
  if (histogram_bins < 1) throw ConfigError("histogram_bins", std::to_string(histogram_bins), "1 or more");
}

RegressionMetrics::RegressionMetrics(RegressionOptions options) : options_(options) { options_.validate(); }

void RegressionMetrics::add(const at::Tensor& estimates, const at::Tensor& targets,
                            const at::Tensor& widths) {
  expects(targets.dim() >= 1, "targets must be [B]");
  expects(rows_.empty() || widths.defined() == has_widths_,
          "widths must be given for all estimates or for none");
  has_widths_ = widths.defined();
  const std::int64_t samples = targets.size(0);
  const at::Tensor target = as_column(targets, samples, "targets"),
                   estimate = as_column(estimates, samples, "estimates");
  require_finite(target, "targets");
  require_finite(estimate, "estimates");
  const at::Tensor difference = estimate - target;
  at::Tensor pull = at::full_like(difference, std::numeric_limits<double>::quiet_NaN());
  if (widths.defined()) {
    const at::Tensor width = as_column(widths, samples, "widths");
    require_finite(width, "widths");
    if (const auto wrong = count(width <= 0); wrong > 0)
      throw DataError(fmt::format("{} of {} widths are not positive", wrong, samples));
    pull = difference / width;
  }
  const std::int64_t zeros = options_.relative ? count(target == 0) : 0;
  if (zeros > 0)
    throw DataError(
        fmt::format("{} of {} targets are 0, and residuals relative to them have no value", zeros, samples));
  rows_.push_back(at::stack({target, options_.relative ? difference / target : difference, pull}, 1));
  size_ += samples;
}

void RegressionMetrics::reset() {
  rows_.clear();
  size_ = 0;
}

at::Tensor RegressionMetrics::all_rows() const {
  return rows_.empty() ? at::empty({0, kColumns}, at::kDouble) : at::cat(rows_);
}

RegressionResult RegressionMetrics::compute() const { return evaluate_rows(all_rows(), options_); }

/// One rank holds the rows of all and computes; the others get its result.
RegressionResult RegressionMetrics::compute(comm::Communicator& communicator) const {
  if (communicator.size() == 1) return compute();
  constexpr int kRoot = 0;
  const at::Tensor rows = comm::gather_rows(all_rows(), communicator, kRoot);
  std::string computed;
  communicator.control().together([&] {
    if (communicator.rank() == kRoot) computed = to_bytes(evaluate_rows(rows, options_));
  });
  return from_bytes<RegressionResult>(communicator.control().all_gather(computed)[kRoot]);
}

}  // namespace bunchtrain::metrics
