// SPDX-License-Identifier: Apache-2.0
#include "dataset_shapes.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bunchtrain::features::detail {

bool is_number(ElementKind kind) noexcept {
  return kind == ElementKind::real || kind == ElementKind::integer || kind == ElementKind::boolean;
}

const DatasetShape* find_dataset(std::span<const DatasetShape> datasets, const std::string& name) {
  const auto found = std::ranges::find(datasets, name, &DatasetShape::name);
  return found == datasets.end() ? nullptr : &*found;
}

std::string shape_text(const DatasetShape& dataset) {
  return fmt::format("{} has shape [{}]", dataset.name, fmt::join(dataset.shape, ", "));
}

}  // namespace bunchtrain::features::detail
