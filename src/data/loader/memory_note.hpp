// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is said once of where batches wait for their device.

#include <c10/core/Device.h>
#include <fmt/format.h>

#include <optional>
#include <string>

namespace bunchtrain::data {

/// Empty without a node: there is nothing to choose.
inline std::string memory_note(std::optional<int> node, c10::Device device) {
  if (!node) return {};
  return fmt::format("loader: batches wait in page-locked memory of NUMA node {}, where {} is", *node,
                     device.str());
}

}  // namespace bunchtrain::data
