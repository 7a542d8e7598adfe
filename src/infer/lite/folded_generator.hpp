// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The numbers of a 3DGAN generator as inference uses them: layers behind an upsampling are convolutions of the small
/// image, whose output channels are the phases of each cell.

#include <array>
#include <filesystem>
#include <vector>

#include "bunchtrain/models/3dgan/generator_options.hpp"
#include "bunchtrain/ops/extent3.hpp"
#include "folded_layers.hpp"

namespace bunchtrain::infer::detail {

/// A convolution, its activation max(v, slope v), and the batch norm behind it.
struct FoldedConvolution {
  std::int64_t in = 0, out = 0;          ///< channels
  ops::Extent3 cells = {}, made = {};    ///< of the input and the output
  ops::Extent3 factor = {}, steps = {};  ///< output cells per step, and steps: made, rounded up, over factor
  ops::Extent3 taps = {};                ///< of the kernel on the input's cells
  ops::Extent3 before = {}, after = {};  ///< zeros around the input
  std::vector<float> weight = {};        ///< [out, fx, fy, fz, in, taps]
  std::vector<float> bias = {};          ///< [out]
  FoldedNorm norm = {};                  ///< [out]; 1 and 0 where there is none
  bool has_norm = false;
  float slope = 0;

  std::int64_t phases() const noexcept { return factor[0] * factor[1] * factor[2]; }
  ops::Extent3 padded() const noexcept {
    return {before[0] + cells[0] + after[0], before[1] + cells[1] + after[1],
            before[2] + cells[2] + after[2]};
  }
};

struct FoldedGenerator {
  models::ShowerGeneratorOptions options;
  FoldedLinear dense;                  ///< to [x, y, z, channel]
  std::array<std::int64_t, 4> folded;  ///< x, y, z, channels of its output
  std::vector<FoldedConvolution> layers;
};

/// @throws CheckpointError naming the tensor that is missing, of another shape or type, not finite, or left over.
FoldedGenerator read_folded_generator(const models::ShowerGeneratorOptions& options,
                                      const std::filesystem::path& weights);

}  // namespace bunchtrain::infer::detail
