// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Outputs of a network and tensors of a batch by name; who misses one hears how to mend it.

#include <string>

#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::train::detail {

/// @throws ConfigError naming the outputs that there are.
const at::Tensor& output_of(const NamedTensors& outputs, const std::string& name);
/// @throws ConfigError naming the entry of the data card that is missing.
const at::Tensor& label_of(const Batch& batch, const std::string& name);
const at::Tensor& target_of(const Batch& batch, const std::string& name);

}  // namespace bunchtrain::train::detail
