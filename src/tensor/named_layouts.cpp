// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/detail/named_layouts.hpp"

#include <algorithm>

namespace bunchtrain::tensor {

NamedLayouts::NamedLayouts(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors)
    layouts_.push_back({name, tensor.sizes().vec(), tensor.strides().vec(), tensor.scalar_type()});
}

bool NamedLayouts::fit(const NamedTensors& tensors) const {
  return std::equal(layouts_.begin(), layouts_.end(), tensors.begin(), tensors.end(),
                    [](const Layout& one, const NamedTensors::Entry& other) {
                      return one.name == other.name && other.tensor.sizes() == one.sizes &&
                             other.tensor.strides() == one.strides && other.tensor.scalar_type() == one.type;
                    });
}

}  // namespace bunchtrain::tensor
