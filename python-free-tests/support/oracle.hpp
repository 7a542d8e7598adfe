// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files of weights, inputs and expected numbers that independent programs computed (the data folder's README
/// says how), and comparison with them.

#include <algorithm>
#include <filesystem>
#include <string>

#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::test {

inline weights::SafeTensors read_oracle(const std::string& name) {
  return weights::read_safetensors(std::filesystem::path(BUNCHTRAIN_TEST_DATA) / "oracle" /
                                   (name + ".safetensors"));
}

/// The tensors under "prefix.", the prefix stripped.
inline NamedTensors child(const NamedTensors& all, const std::string& prefix) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix + ".")) tensors.set(name.substr(prefix.size() + 1), tensor);
  }
  return tensors;
}

/// The largest difference of two elements over the largest expected one, in float64.
inline double relative_difference(const at::Tensor& value, const at::Tensor& expected) {
  const at::Tensor reference = expected.to(at::kDouble).reshape(value.sizes());
  const double scale = reference.abs().max().item<double>();
  return value.detach().to(at::kDouble).sub(reference).abs().max().item<double>() / std::max(scale, 1e-30);
}

}  // namespace bunchtrain::test
