// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>

#include "../row_cuda.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "row_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

cudaStream_t stream_of(const at::Tensor& x) {
  return static_cast<cudaStream_t>(device::current_stream(x.device()));
}

RowShape shape_of(const at::Tensor& x) { return {x.size(0), x.size(1)}; }

/// Calls `call` with a value of the storage type of `x`.
template <class Call>
void for_storage(const at::Tensor& x, Call&& call) {
  if (x.scalar_type() == at::kFloat) return call(float{});
  if (x.scalar_type() == at::kBFloat16) return call(Bf16{});
  call(Fp16{});
}

template <class T>
const T* data_of(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <class T>
T* mutable_data_of(const at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

const bool* mask_data(const at::Tensor& mask) {
  return mask.defined() ? mask.const_data_ptr<bool>() : nullptr;
}

RowAffine affine_of(const Normaliser& normaliser) {
  return {data_of<float>(normaliser.scale), data_of<float>(normaliser.shift), normaliser.relu};
}

template <class S>
at::Tensor empty_partials(const at::Tensor& x) {
  return at::empty({partial_sums<S>(shape_of(x)), partial_columns(x.size(1))},
                   x.options().dtype(at::kDouble));
}

/// Two tensors [C] in one allocation.
struct Halves {
  at::Tensor first, second;
  Halves(std::int64_t channels, const at::TensorOptions& options) {
    const at::Tensor both = at::empty({2, channels}, options);
    first = both.select(0, 0);
    second = both.select(0, 1);
  }
};

}  // namespace

at::Tensor partial_moments_cuda(const at::Tensor& x, const at::Tensor& mask) {
  const c10::DeviceGuard guard(x.device());
  at::Tensor partials;
  for_storage(x, [&]<class S>(S) {
    partials = empty_partials<S>(x);
    launch_moments(shape_of(x), data_of<S>(x), mask_data(mask), partials.mutable_data_ptr<double>(),
                   stream_of(x));
  });
  return partials;
}

at::Tensor partial_gradient_moments_cuda(const at::Tensor& dy, const at::Tensor& x,
                                         const Normaliser& normaliser) {
  const c10::DeviceGuard guard(x.device());
  at::Tensor partials;
  for_storage(x, [&]<class S>(S) {
    partials = empty_partials<S>(x);
    launch_gradient_moments(shape_of(x), data_of<S>(dy), data_of<S>(x), affine_of(normaliser),
                            partials.mutable_data_ptr<double>(), stream_of(x));
  });
  return partials;
}

at::Tensor sum_partials_cuda(const at::Tensor& partials) {
  const c10::DeviceGuard guard(partials.device());
  const at::Tensor sums = at::empty({1, partials.size(1)}, partials.options());
  launch_sum_partials(partials.const_data_ptr<double>(), partials.size(0), partials.size(1),
                      sums.mutable_data_ptr<double>(), stream_of(partials));
  return sums;
}

at::Tensor normalise_rows_cuda(const at::Tensor& x, const Normaliser& normaliser) {
  const c10::DeviceGuard guard(x.device());
  at::Tensor y = at::empty_like(x);
  for_storage(x, [&]<class S>(S) {
    launch_normalise(shape_of(x), data_of<S>(x), affine_of(normaliser), mutable_data_of<S>(y), stream_of(x));
  });
  return y;
}

at::Tensor normalise_rows_backward_cuda(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mask,
                                        const Normaliser& normaliser, const Correction& correction) {
  const c10::DeviceGuard guard(x.device());
  at::Tensor dx = at::empty_like(x);
  const RowCorrection subtracted = {data_of<float>(correction.slope), data_of<float>(correction.offset),
                                    mask_data(mask)};
  for_storage(x, [&]<class S>(S) {
    launch_normalise_backward(shape_of(x), data_of<S>(dy), data_of<S>(x), affine_of(normaliser), subtracted,
                              mutable_data_of<S>(dx), stream_of(x));
  });
  return dx;
}

RowNorm finish_forward_cuda(const BatchNormTensors& norm, const at::Tensor& partials, bool relu) {
  const c10::DeviceGuard guard(norm.weight.device());
  const at::TensorOptions options = norm.weight.options().requires_grad(false);
  const std::int64_t channels = norm.weight.size(0);
  const Halves wide(channels, options.dtype(at::kDouble));
  const Halves affine(channels, options);
  const bool from_rows = partials.defined();
  const at::Tensor count = from_rows ? at::empty({}, options.dtype(at::kDouble)) : at::Tensor();
  const bool moves_on = from_rows && norm.tracks;
  // Module::to(dtype) turns the counter into that dtype.
  const bool counts_here = norm.num_batches_tracked.scalar_type() == at::kLong;
  launch_forward_statistics(
      {.partials = from_rows ? partials.const_data_ptr<double>() : nullptr,
       .num_partials = from_rows ? partials.size(0) : 0,
       .channels = channels,
       .epsilon = norm.epsilon,
       .momentum = norm.momentum,
       .weight = norm.weight.const_data_ptr<float>(),
       .bias = norm.bias.const_data_ptr<float>(),
       .running_mean = norm.running_mean.mutable_data_ptr<float>(),
       .running_var = norm.running_var.mutable_data_ptr<float>(),
       .moves_on = moves_on,
       .num_batches = counts_here ? norm.num_batches_tracked.mutable_data_ptr<std::int64_t>() : nullptr,
       .mean = wide.first.mutable_data_ptr<double>(),
       .inverse = wide.second.mutable_data_ptr<double>(),
       .count = from_rows ? count.mutable_data_ptr<double>() : nullptr,
       .scale = affine.first.mutable_data_ptr<float>(),
       .shift = affine.second.mutable_data_ptr<float>()},
      stream_of(norm.weight));
  if (moves_on) {
    if (!counts_here) norm.num_batches_tracked.add_(1);
    for (const at::Tensor& buffer : {norm.running_mean, norm.running_var, norm.num_batches_tracked})
      buffer.unsafeGetTensorImpl()->bump_version();
  }
  return {{wide.first, wide.second, count}, {affine.first, affine.second, relu}};
}

NormGradients finish_backward_cuda(const Statistics& statistics, const at::Tensor& weight,
                                   const at::Tensor& partials, const at::Tensor& all_ranks) {
  const c10::DeviceGuard guard(weight.device());
  const std::int64_t channels = weight.size(0);
  const at::TensorOptions options = weight.options().requires_grad(false);
  // Not halves of one: a gradient may become the parameter's own.
  NormGradients out{
      .weight = at::empty({channels}, options), .bias = at::empty({channels}, options), .correction = {}};
  const Halves correction(channels, options);
  out.correction = {correction.first, correction.second};
  launch_backward_statistics(
      {.partials = partials.const_data_ptr<double>(),
       .num_partials = partials.size(0),
       .channels = channels,
       .all_ranks = all_ranks.defined() ? all_ranks.const_data_ptr<double>() : nullptr,
       .mean = statistics.mean.const_data_ptr<double>(),
       .inverse = statistics.inverse.const_data_ptr<double>(),
       .count = statistics.count.defined() ? statistics.count.const_data_ptr<double>() : nullptr,
       .weight = weight.const_data_ptr<float>(),
       .weight_gradient = out.weight.mutable_data_ptr<float>(),
       .bias_gradient = out.bias.mutable_data_ptr<float>(),
       .slope = correction.first.mutable_data_ptr<float>(),
       .offset = correction.second.mutable_data_ptr<float>()},
      stream_of(weight));
  return out;
}

}  // namespace bunchtrain::ops::detail
