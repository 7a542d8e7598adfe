// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What launches on named tensors depend on beside their numbers.

#include <string>
#include <vector>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::tensor {

/// Names, sizes, strides and types, in their order.
class NamedLayouts {
 public:
  explicit NamedLayouts(const NamedTensors& tensors);
  /// Allocates nothing.
  bool fit(const NamedTensors& tensors) const;

 private:
  struct Layout {
    std::string name;
    std::vector<std::int64_t> sizes, strides;
    at::ScalarType type;
  };
  std::vector<Layout> layouts_;
};

}  // namespace bunchtrain::tensor
