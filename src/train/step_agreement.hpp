// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the ranks that train together do with a step: all of them the same.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/comm/communicator.hpp"

namespace bunchtrain::train {

/// How a step is run: its launches one by one, the same while they are taken down, or what was taken down as one launch.
enum class StepKind { eager, captured, repeated };

/// What one rank would do with a step.
struct StepWish {
  StepKind kind = StepKind::eager;
  int graph = 0;              ///< that it would make or repeat: ranks count them alike
  bool binds = true;          ///< its host takes as long as its GPU, or nobody asks
  bool hopes = true;          ///< that steps will be captured one day
  std::string obstacle = {};  ///< why they can never be, as part of a sentence
};

/// What all ranks do with it.
struct StepVerdict {
  StepKind kind = StepKind::eager;
  bool hopes = true;
  std::string obstacle = {};  ///< of the first rank that has one, which is named
};

/// One small collective per step. Captured collectives are one launch: all ranks repeat the same, or none does. One
/// rank agrees with itself at no cost. Not thread-safe.
class StepAgreement {
 public:
  /// @param ranks of the CPU
  explicit StepAgreement(comm::Communicator ranks);

  /// Collective. Steps are captured if they would be on all ranks and launches bind on one; repeated, if all have the
  /// same graph. @throws CommError
  StepVerdict agree(const StepWish& wish);
  /// Collective: the first rank's that is not empty, and which rank's.
  std::string first_of_all(const std::string& obstacle);
  bool speaks() const noexcept { return ranks_.rank() == 0; }
  bool is_alone() const noexcept { return ranks_.size() == 1; }

 private:
  std::string gather_obstacles(const std::string& obstacle) const;

  comm::Communicator ranks_;
  at::Tensor shared_;  ///< the numbers of a wish, the greatest of all ranks afterwards
};

}  // namespace bunchtrain::train
