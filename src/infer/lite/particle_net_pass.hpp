// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One jet through a ParticleNet, on the calling thread.

#include <cstdint>
#include <span>
#include <vector>

#include "knn/cpu/knn_cpu.hpp"
#include "prepared_network.hpp"

namespace bunchtrain::infer::detail {

/// A jet whose real particles come first.
struct JetInputs {
  const float* points;  ///< [particles, dims]
  std::int64_t dims;
  const float* features;  ///< [particles, F]
  std::int64_t particles;
  std::int64_t slots;  ///< P: how long the jets of the training were
};

/// Buffers for jets of up to `slots` particles, all of them taken at once: `run` allocates nothing, but for what
/// the first search of neighbours on a thread keeps for later ones. One thread at a time.
///
/// The published network sees padding where a jet has too few particles for k neighbours, and all padded slots of a
/// jet hold the same numbers. One row stands for them all, behind those of the particles: zero by the rule of weaver,
/// a point of its own by that of Keras.
class ParticleNetPass {
 public:
  ParticleNetPass(const PreparedNetwork& network, std::int64_t slots, std::int64_t dims);

  /// @param logits [classes] @param estimates of heads, each followed by its own error if it has one
  void run(const JetInputs& jet, std::span<float> logits, std::span<float> estimates);
  std::size_t bytes() const noexcept;

 private:
  void find_neighbours(const PreparedBlock& block, const float* space, std::int64_t dims,
                       const JetInputs& jet);
  void run_block(const PreparedBlock& block, const JetInputs& jet, std::int64_t rows);
  void average_edges(const PreparedBlock& block, std::int64_t rows, std::int64_t computed);
  void pool(const JetInputs& jet, std::int64_t channels);
  void write_estimates(std::span<float> estimates);

  const PreparedNetwork& network_;
  std::int64_t piece_points_ = 1;  ///< whose edges are computed together
  ops::detail::PointSet<float> set_{};
  std::vector<std::int32_t> nodes_, found_, edges_;
  ops::detail::AlignedFloats x_, next_, terms_, mean_, shortcut_, all_, first_, second_, pooled_, hidden_,
      head_;
};

}  // namespace bunchtrain::infer::detail
