// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/cuda_graph.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {

CudaGraph parse_cuda_graph(std::string_view text) {
  for (const CudaGraph choice : {CudaGraph::automatic, CudaGraph::on, CudaGraph::off})
    if (text == to_string(choice)) return choice;
  throw ConfigError("cuda-graph", text, "auto, on, off");
}

std::string_view to_string(CudaGraph choice) noexcept {
  if (choice == CudaGraph::automatic) return "auto";
  return choice == CudaGraph::on ? "on" : "off";
}

}  // namespace bunchtrain::device
