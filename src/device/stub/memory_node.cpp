// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/memory_node.hpp"

namespace bunchtrain::device {

std::optional<int> memory_node_of_gpu(int /*index*/) { return std::nullopt; }

}  // namespace bunchtrain::device
