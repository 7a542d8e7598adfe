// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors for tests, the same in every run.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::nn {

/// Standard normal numbers of a stream.
inline at::Tensor random_normal(at::IntArrayRef shape, std::uint64_t stream,
                                at::ScalarType type = at::kDouble) {
  const at::Tensor values = at::empty(shape, at::kDouble);
  const CounterRandom random(11, stream);
  auto* value = values.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) value[i] = random.normal(static_cast<std::uint64_t>(i));
  return values.to(type);
}

/// Largest absolute difference, relative to the largest entry of `expected`.
inline double relative_difference(const at::Tensor& value, const at::Tensor& expected) {
  const at::Tensor reference = expected.detach().to(at::kDouble);
  const double scale = std::max(reference.abs().max().item<double>(), 1e-12);
  return value.detach().to(at::kDouble).sub(reference).abs().max().item<double>() / scale;
}

}  // namespace bunchtrain::nn
