// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Counts the samples of a step and checks, with the gradients' own collective, that all
/// ranks counted the same step.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/device/step_scalars.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::parallel {

/// What a pass counts lies in memory of the network's device, written once per pass: the root gradient and
/// the footer are read there.
class StepLedger {
 public:
  /// @param sharers ranks that have the same samples: each counts them, and has a share of the loss.
  StepLedger(int world, c10::Device device, int sharers = 1);

  /// Enters one pass. @throws ConfigError if its counts cannot be meant.
  void add(const PassOptions& options);
  /// Writes what the pass reads. The arenas have begun it and know what is frozen.
  void upload(const tensor::ParameterArenas& arenas);
  /// samples / global samples of the pass entered last ...
  double root_gradient() const noexcept { return root_gradient_; }
  /// ... and as backward of `loss` begins with it, read from memory: a tensor of its own like `loss`.
  at::Tensor root_gradient_like(const at::Tensor& loss) const;

  /// Fills the footer of an arena (float32 or float64) before the sum over ranks, by a kernel on a GPU ...
  void write_footer(const at::Tensor& footer) const;
  /// ... and takes it back afterwards. Neither waits for a GPU.
  void take_footer(const at::Tensor& footer);
  /// Checks the footer that was taken last, once. All ranks see the same numbers, so all throw or none.
  /// @throws ConfigError
  void check_footer();

 private:
  // Footer: [0] samples, then digits of a fingerprint and their squares. If the digits agree on all ranks, the
  // variance of each is zero: a criterion that every rank computes from the same sums. Digits of 4 bits keep
  // the sums exact in float32.
  static constexpr std::size_t kDigits = 4;
  static constexpr std::size_t kSums = 1;
  static constexpr std::size_t kSquares = kSums + kDigits;
  static constexpr std::size_t kUsed = kSquares + kDigits;
  using Footer = std::array<double, kUsed>;
  struct Taken {
    device::LateCopy sums;
    std::int64_t global_samples;
  };
  Footer footer_of(const tensor::ParameterArenas& arenas) const;

  int world_, sharers_;
  std::int64_t samples_ = 0;         ///< of this rank in this step
  std::int64_t global_samples_ = 0;  ///< as the user said, or samples * world
  double root_gradient_ = 1;
  device::StepScalars scalars_;
  device::StepScalar<double> root_in_memory_;
  device::StepScalar<Footer> footer_in_memory_;
  std::optional<Taken> taken_;
};

}  // namespace bunchtrain::parallel
