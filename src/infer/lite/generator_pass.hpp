// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Latent vectors to images of showers by loops on raw pointers.

#include <cstdint>
#include <vector>

#include "conv3d/cpu/image_convolution.hpp"
#include "folded_generator.hpp"

namespace bunchtrain::infer::detail {

/// Where the values of an image are, from its first cell.
struct ImageStrides {
  std::int64_t channel, x, y, z;
};

/// Steps along y whose windows have the same taps inside of the image.
struct WindowGroup {
  std::int64_t first = 0, steps = 0;
  std::vector<ops::detail::WindowRun> runs = {};
};

/// A layer in the order of the loops that run it. Its input has its zeros around it: channels last in front of
/// `multiply_windows`, planes in front of `convolve_planes`.
struct PreparedLayer {
  bool by_windows = false;
  bool planes_follow = false;  ///< columns are [out, phase], else [phase, out]
  std::int64_t in = 0, out = 0;
  ops::Extent3 made = {}, factor = {}, steps = {}, taps = {}, before = {};
  float slope = 0;
  ImageStrides strides = {};  ///< of the input
  std::int64_t values = 0;    ///< of the input, zeros and slack too
  std::int64_t columns = 0;
  std::vector<float> weight = {}, bias = {}, scale = {}, shift = {};
  std::vector<std::int64_t> windows = {};             ///< of one step along x: [y, z]
  std::vector<std::vector<WindowGroup>> groups = {};  ///< of each step along x

  std::int64_t first_cell() const noexcept {
    return before[0] * strides.x + before[1] * strides.y + before[2] * strides.z;
  }
  ops::detail::ImageEpilogue epilogue() const noexcept {
    return {bias.data(), scale.data(), shift.data(), slope};
  }
};

/// Immutable, shared by passes.
struct PreparedGenerator {
  models::ShowerGeneratorOptions options;
  PackedLinear dense;
  std::array<std::int64_t, 4> folded;
  std::vector<PreparedLayer> layers;

  std::int64_t latent() const noexcept { return dense.in; }
  std::int64_t image() const noexcept;  ///< cells of one
};

PreparedGenerator prepare(FoldedGenerator generator);

/// The memory of one caller. Allocates nothing once it is made.
class GeneratorPass {
 public:
  explicit GeneratorPass(const PreparedGenerator& generator);

  /// latents [count, L] to images [count, X, Y, Z]: the same bits in whatever batches.
  void run(const float* latents, std::int64_t count, float* images);
  std::size_t bytes() const noexcept;

 private:
  void run_layers(const float* cells, float* image);
  void run_windows(const PreparedLayer& layer, const float* x, float* to, const ImageStrides& strides);

  const PreparedGenerator& generator_;
  std::vector<float> dense_, products_;
  std::vector<std::vector<float>> inputs_;  ///< of each layer; what is zero stays so
};

}  // namespace bunchtrain::infer::detail
