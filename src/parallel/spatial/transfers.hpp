// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stretches of an axis between ranks.

#include <ATen/core/Tensor.h>

#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/nn/axis_cut.hpp"

namespace bunchtrain::parallel {

/// Who needs which cells of an axis of whom.
struct Route {
  nn::AxisCut cut;
  std::vector<nn::CellRange> wanted;  ///< by each rank

  /// Cells that go from one rank to another, where they are on the axis.
  nn::CellRange from_to(int from, int to) const {
    return nn::intersection(cut.of(from), wanted[static_cast<std::size_t>(to)]);
  }
};

/// Tensors by rank: what goes to each, or came from each; undefined for nothing.
using TensorsOfRanks = std::vector<at::Tensor>;

/// Messages in flight. The tensors to be received are there from the beginning, their contents after `wait`.
class Messages {
 public:
  /// @param sent to each rank, contiguous @param received from each rank, contiguous
  Messages(comm::Communicator& ranks, const TensorsOfRanks& sent, const TensorsOfRanks& received);
  void wait();

 private:
  std::vector<comm::Work> works_;
};

}  // namespace bunchtrain::parallel
