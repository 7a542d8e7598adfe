// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stretches of an axis between the ranks along it.

#include <ATen/core/Tensor.h>

#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/nn/axis_cut.hpp"

namespace bunchtrain::parallel {

/// The ranks along an axis: those of a group that share their places along the other axes.
struct Line {
  comm::Communicator group;
  std::vector<int> members = {};  ///< ranks of the group, in the order of the axis
  int here = 0;                   ///< this rank's place among them
  std::int64_t dimension = 1;     ///< of tensors, along which the axis lies

  int size() const noexcept { return static_cast<int>(members.size()); }
};

/// Who needs which cells of an axis of whom.
struct Route {
  nn::AxisCut cut;
  std::vector<nn::CellRange> wanted;  ///< by each rank

  /// Cells that go from one rank to another, where they are on the axis.
  nn::CellRange from_to(int from, int to) const {
    return nn::intersection(cut.of(from), wanted[static_cast<std::size_t>(to)]);
  }
};

/// Tensors by place on the line: what goes to each, or came from each; undefined for nothing.
using TensorsOfRanks = std::vector<at::Tensor>;

/// Messages in flight. The tensors to be received are there from the beginning, their contents after `wait`.
class Messages {
 public:
  /// @param sent to each rank, contiguous @param received from each rank, contiguous
  Messages(Line& line, const TensorsOfRanks& sent, const TensorsOfRanks& received);
  void wait();

 private:
  std::vector<comm::Work> works_;
};

}  // namespace bunchtrain::parallel
