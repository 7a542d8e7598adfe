// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors of random numbers and back, for the tests of ops.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>
#include <vector>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::test {

/// Standard normal numbers, a function of `seed` alone.
inline at::Tensor normal_tensor(at::IntArrayRef sizes, std::uint64_t seed, at::ScalarType type = at::kFloat) {
  at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kDouble));
  RandomSequence random(CounterRandom(seed, 0));
  double* data = tensor.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = random.normal();
  return tensor.to(type);
}

/// Uniform integers 0 <= x < bound, as `type`.
inline at::Tensor integer_tensor(at::IntArrayRef sizes, std::uint64_t bound, std::uint64_t seed,
                                 at::ScalarType type = at::kFloat) {
  at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kDouble));
  RandomSequence random(CounterRandom(seed, 1));
  double* data = tensor.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<double>(random.below(bound));
  return tensor.to(type);
}

template <class T>
std::vector<T> values(const at::Tensor& tensor) {
  const at::Tensor contiguous = tensor.detach().cpu().contiguous();
  const T* data = contiguous.const_data_ptr<T>();
  return {data, data + contiguous.numel()};
}

}  // namespace bunchtrain::test
