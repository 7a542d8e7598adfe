// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Initial weights with PyTorch's default distributions, the same on every machine.

#include <cstdint>

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Fills every `weight` of two or more dimensions, and the `bias` beside it, from U(-1/sqrt(n), 1/sqrt(n)), n
/// the inputs of one output: what PyTorch's Linear and Conv layers do by default. Parameters of one dimension
/// without such a weight (batch norm) are left as they are.
///
/// The numbers depend on (seed, parameter name, element) only: neither on the order of layers nor on rank or
/// device.
void fill_default_weights(torch::nn::Module& module, std::uint64_t seed);

}  // namespace bunchtrain::nn
