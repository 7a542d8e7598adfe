// SPDX-License-Identifier: Apache-2.0
#include "batch_norm_statistics.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "row_cuda.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// running = (1 - momentum) running + momentum batch, in double, stored in the buffer's dtype.
void move_on(const at::Tensor& running, const at::Tensor& batch, double momentum, const at::Tensor& any_row) {
  const at::Tensor before = running.to(at::kDouble);
  const at::Tensor after = before.mul(1 - momentum).add(batch, momentum);
  running.copy_(at::where(any_row, after, before));
}

/// [1] float64: how many rows count, on their device.
at::Tensor count_rows(const at::Tensor& rows, const at::Tensor& mask) {
  if (mask.defined()) return mask.sum().to(at::kDouble).reshape({1});
  return at::full({1}, static_cast<double>(rows.size(0)), rows.options().dtype(at::kDouble));
}

/// Sums over blocks, and over ranks if there is a reducer.
at::Tensor reduced(const at::Tensor& partials, StatisticsReducer* reducer) {
  if (!reducer) return partials;
  at::Tensor sums = sum_partials_cuda(partials).reshape({-1});
  reducer->all_reduce_sum(sums);
  return sums.unsqueeze(0);
}

}  // namespace

Statistics batch_statistics(const BatchNormTensors& norm, const at::Tensor& moments,
                            const at::Tensor& count) {
  const c10::NoGradGuard no_grad;
  at::Tensor sums = at::cat({moments.reshape({-1}), count});
  if (norm.reducer) norm.reducer->all_reduce_sum(sums);

  const std::int64_t channels = moments.size(1);
  const at::Tensor total = sums.select(0, 2 * channels);
  const at::Tensor rows = total.clamp_min(1.0);
  const at::Tensor mean = sums.narrow(0, 0, channels).div(rows);
  const at::Tensor variance = sums.narrow(0, channels, channels).div(rows).sub(mean.square()).clamp_min(0.0);

  const Statistics statistics = {mean, variance.add(norm.epsilon).rsqrt(), rows};
  if (!norm.tracks) return statistics;
  const at::Tensor unbiased = variance.mul(rows.div(total.sub(1.0).clamp_min(1.0)));
  move_on(norm.running_mean, mean, norm.momentum, total.gt(0));
  move_on(norm.running_var, unbiased, norm.momentum, total.gt(0));
  norm.num_batches_tracked.add_(1);
  return statistics;
}

Statistics running_statistics(const BatchNormTensors& norm) {
  return {norm.running_mean.to(at::kDouble), norm.running_var.to(at::kDouble).add(norm.epsilon).rsqrt(), {}};
}

Normaliser make_normaliser(const Statistics& statistics, const at::Tensor& weight, const at::Tensor& bias,
                           bool relu, at::ScalarType type) {
  const at::Tensor scale = weight.to(at::kDouble).mul(statistics.inverse);
  const at::Tensor shift = bias.to(at::kDouble).sub(scale.mul(statistics.mean));
  return {scale.to(type).contiguous(), shift.to(type).contiguous(), relu};
}

NormGradients norm_gradients(const Statistics& statistics, const at::Tensor& weight,
                             const at::Tensor& moments, StatisticsReducer* reducer, at::ScalarType type) {
  const at::Tensor& mean = statistics.mean;
  const auto normalised = [&](const at::Tensor& sums) {  // sum of g * xhat
    return sums[1].sub(sums[0].mul(mean)).mul(statistics.inverse);
  };
  NormGradients gradients{.weight = normalised(moments).to(weight.scalar_type()),
                          .bias = moments[0].to(weight.scalar_type()),
                          .correction = {}};
  if (!statistics.count.defined()) {
    const at::Tensor none = at::zeros_like(mean, at::TensorOptions(type));
    gradients.correction = {none, none};
    return gradients;
  }
  at::Tensor sums = moments;
  if (reducer) {
    sums = moments.clone();
    reducer->all_reduce_sum(sums);
  }
  // dx = scale (g - mean(g) - xhat mean(g xhat)), written as scale g - offset - slope x.
  const at::Tensor scale = weight.to(at::kDouble).mul(statistics.inverse);
  const at::Tensor slope = scale.mul(statistics.inverse).mul(normalised(sums)).div(statistics.count);
  const at::Tensor offset = scale.mul(sums[0]).div(statistics.count).sub(slope.mul(mean));
  gradients.correction = {slope.to(type).contiguous(), offset.to(type).contiguous()};
  return gradients;
}

bool has_float_parameters(const BatchNormTensors& norm, c10::Device device) {
  bool has = true;
  for (const at::Tensor* each : {&norm.weight, &norm.bias, &norm.running_mean, &norm.running_var})
    has = has && each->device() == device && each->scalar_type() == at::kFloat && each->is_contiguous();
  return has;
}

RowNorm row_norm_of_partials(const BatchNormTensors& norm, const at::Tensor& partials, bool relu) {
  const c10::NoGradGuard no_grad;
  return finish_forward_cuda(norm, partials.defined() ? reduced(partials, norm.reducer.get()) : partials,
                             relu);
}

NormGradients row_norm_gradients_of_partials(const Statistics& statistics, const at::Tensor& weight,
                                             const at::Tensor& partials, StatisticsReducer* reducer) {
  const bool over_ranks = reducer && statistics.count.defined();
  return finish_backward_cuda(statistics, weight, partials,
                              over_ranks ? reduced(partials, reducer) : at::Tensor());
}

RowNorm make_row_norm(const BatchNormTensors& norm, const at::Tensor& rows, const at::Tensor& mask,
                      bool relu) {
  const c10::NoGradGuard no_grad;
  if (has_cuda_kernels(rows) && has_float_parameters(norm, rows.device()))
    return row_norm_of_partials(norm, norm.training ? partial_moments_cuda(rows, mask) : at::Tensor(), relu);
  const Statistics statistics = norm.training
                                    ? batch_statistics(norm, row_moments(rows, mask), count_rows(rows, mask))
                                    : running_statistics(norm);
  return {statistics,
          make_normaliser(statistics, norm.weight, norm.bias, relu, compute_type(rows.scalar_type()))};
}

NormGradients row_norm_gradients(const RowNorm& row_norm, const at::Tensor& gradient, const at::Tensor& rows,
                                 const at::Tensor& weight, StatisticsReducer* reducer) {
  const Statistics& statistics = row_norm.statistics;
  if (has_cuda_kernels(rows) && weight.scalar_type() == at::kFloat && weight.is_contiguous())
    return row_norm_gradients_of_partials(
        statistics, weight, partial_gradient_moments_cuda(gradient, rows, row_norm.normaliser), reducer);
  return norm_gradients(statistics, weight, row_gradient_moments(gradient, rows, row_norm.normaliser),
                        reducer, compute_type(rows.scalar_type()));
}

}  // namespace bunchtrain::ops::detail
