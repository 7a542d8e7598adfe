// SPDX-License-Identifier: Apache-2.0
// Direct convolutions on a card: whatever line of the table cuts them, the same bits.
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <iterator>
#include <vector>

#include "conv3d/direct.hpp"
#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

/// Channels of 16, 12, 8 and 2 bytes, or in several slices; phases; more tiles than slots.
const ConvolutionLayer kLayers[] = {
    {{9, 11, 13}, 8, 8, {5, 6, 6}, ops::Padding3::symmetric({2, 2, 2})},
    {{12, 11, 14}, 6, 6, {3, 3, 5}, ops::Padding3::symmetric({1, 1, 0})},
    {{9, 8, 7}, 100, 3, {2, 3, 3}},
    {{25, 25, 25}, 1, 4, {3, 3, 3}},
    {{5, 6, 5}, 12, 6, {6, 5, 8}, ops::Padding3::symmetric({2, 2, 0}), {2, 2, 2}},
};
constexpr std::int64_t kBatch = 40;

/// Output and both gradients.
std::vector<at::Tensor> results(const ConvolutionLayer& layer, at::ScalarType type,
                                const ConvolutionTiles& line) {
  const DirectGeometry g = geometry_of(layer);
  const auto made = [&](at::IntArrayRef sizes, std::uint64_t seed) {
    return normal_tensor(sizes, seed).to(at::kCUDA, type);
  };
  const at::Tensor image = made({kBatch, g.cells[0], g.cells[1], g.cells[2], g.inputs}, 1),
                   gradient = made({kBatch, g.fine[0], g.fine[1], g.fine[2], g.channels}, 2),
                   weight =
                       made({g.phases() * g.channels, g.inputs, g.kernel[0], g.kernel[1], g.kernel[2]}, 3),
                   bias = made({g.channels}, 4);
  return {direct_output(image, weight, bias, g, line), direct_image_gradient(gradient, weight, g, line),
          direct_weight_gradient(gradient, image, g, line)};
}

TEST(DirectConvolutionGpuTest, HasTheSameBitsHoweverItIsCut) {
  const auto* card = at::cuda::getCurrentDeviceProperties();
  ASSERT_GE(card->major, 8) << "direct convolutions begin at compute capability 8.0";
  const ConvolutionTiles& own = convolution_tiles(10 * card->major + card->minor);
  std::vector<ConvolutionTiles> lines(std::begin(kConvolutionTiles), std::end(kConvolutionTiles));
  for (const int shared : {12, 48, 96, 160, 224})
    for (const int buffers : {1, 2})
      lines.push_back({own.compute_capability, own.block_kib, shared, shared / 8, 8, buffers, buffers});
  for (const ConvolutionLayer& layer : kLayers)
    for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
      const auto expected = results(layer, type, own);
      for (ConvolutionTiles line : lines) {
        if (line.shared_kib > own.block_kib) continue;
        line.block_kib = own.block_kib;
        const auto found = results(layer, type, line);
        for (std::size_t i = 0; i < found.size(); ++i)
          EXPECT_TRUE(at::equal(found[i], expected[i]))
              << i << ", " << line.shared_kib << " KB, buffers " << line.buffers << ", " << type;
      }
    }
}

}  // namespace
}  // namespace bunchtrain::test
