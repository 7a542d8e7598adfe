// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether work that comes again is taken down as a CUDA graph, and what became of it.

#include <cstdint>
#include <string>
#include <string_view>

namespace bunchtrain::device {

/// Whether steps or passes are taken down once per shape of batch, as a CUDA graph, and repeated.
enum class CudaGraph {
  automatic,  ///< where the host needs about as long to enqueue them as the GPU to make them, and the network allows it
  on,  ///< wherever it can be done; the others stay as they are
  off,
};

/// "auto", "on" or "off". @throws ConfigError with the names allowed.
CudaGraph parse_cuda_graph(std::string_view text);
std::string_view to_string(CudaGraph choice) noexcept;

/// What became of passes that might be repeated.
struct GraphUse {
  std::int64_t graphs = 0;    ///< that were taken down
  std::int64_t repeated = 0;  ///< passes that were one launch
  std::int64_t eager = 0;     ///< passes that were enqueued launch by launch
  std::string why_eager =
      {};  ///< what keeps some shape or all passes eager, the latest reason; empty: nothing so far
};

}  // namespace bunchtrain::device
