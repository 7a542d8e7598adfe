// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/named_tensors.hpp"

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

void NamedTensors::set(std::string name, at::Tensor tensor) {
  const auto place = std::ranges::find(entries_, name, &Entry::name);
  if (place != entries_.end()) {
    place->tensor = std::move(tensor);
  } else {
    entries_.push_back({std::move(name), std::move(tensor)});
  }
}

const at::Tensor* NamedTensors::find(std::string_view name) const noexcept {
  const auto place = std::ranges::find(entries_, name, &Entry::name);
  return place == entries_.end() ? nullptr : &place->tensor;
}

const at::Tensor& NamedTensors::operator[](std::string_view name) const {
  if (const at::Tensor* tensor = find(name)) return *tensor;
  std::string present;
  for (const Entry& entry : entries_) present.append(present.empty() ? "" : ", ").append(entry.name);
  throw ConfigError("there is no tensor \"" + std::string(name) +
                    "\"; present: " + (present.empty() ? "none" : present));
}

}  // namespace bunchtrain
