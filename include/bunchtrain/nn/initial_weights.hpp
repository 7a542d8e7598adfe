// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Initial weights with PyTorch's default distributions, the same on every machine.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Fills every `weight` of two or more dimensions, and the `bias` beside it, from U(-1/sqrt(n), 1/sqrt(n)), n
/// the inputs of one output: what PyTorch's Linear and Conv layers do by default. Parameters of one dimension
/// without such a weight (batch norm) are left as they are.
///
/// The numbers depend on (seed, parameter name, element) only: neither on the order of
/// layers nor on rank or device.
void fill_default_weights(torch::nn::Module& module, std::uint64_t seed);

/// Keras' distributions for one `weight` [out, in, ...]; fan counts include the kernel's cells. Numbers
/// depend on (seed, name, element) only.
enum class KerasInitializer {
  glorot_uniform,  ///< U(-a, a), a = sqrt(6 / (fan_in + fan_out)): Dense and convolutions by default
  glorot_normal,   ///< normal cut at two deviations, scaled to variance 2 / (fan_in + fan_out)
  he_uniform,      ///< U(-a, a), a = sqrt(6 / fan_in)
};
/// @throws ConfigError if `weight` has fewer than two dimensions.
void fill(at::Tensor& weight, KerasInitializer initializer, std::string_view name, std::uint64_t seed);

}  // namespace bunchtrain::nn
