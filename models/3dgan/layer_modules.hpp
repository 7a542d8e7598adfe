// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Modules from the lines of the layer tables.

#include <string>
#include <string_view>

#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "layer_tables.hpp"

namespace bunchtrain::models::detail {

inline nn::Conv3d make_convolution(const ShowerLayer& layer, std::int64_t in_channels) {
  return nn::Conv3d(nn::Conv3dOptions{.in_channels = in_channels,
                                      .out_channels = layer.channels,
                                      .kernel = layer.kernel,
                                      .padding = layer.padding,
                                      .upsampling = layer.upsampling,
                                      .bias = layer.bias});
}

inline nn::BatchNorm make_norm(const ShowerLayer& layer, ShowerVariant variant) {
  return nn::BatchNorm(nn::BatchNormOptions{
      .channels = layer.channels, .epsilon = norm_epsilon(variant), .momentum = kNormMomentum});
}

/// Fills the weights of one network; two networks of one seed share no numbers.
class InitialWeights {
 public:
  InitialWeights(std::string_view network, std::uint64_t seed) : network_(network), seed_(seed) {}

  void fill(at::Tensor& weight, std::string_view layer, nn::KerasInitializer initializer) const {
    std::string name = network_;
    name.append(".").append(layer).append(".weight");
    nn::fill(weight, initializer, name, seed_);
  }

 private:
  std::string network_;
  std::uint64_t seed_;
};

}  // namespace bunchtrain::models::detail
