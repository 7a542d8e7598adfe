// SPDX-License-Identifier: Apache-2.0
#include "plain_shower_networks.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/upsample_nearest3d.h>

#include <string>

namespace bunchtrain::test {
namespace {

/// An image [B, C, X, Y, Z] on its way through a network.
class Plain {
 public:
  Plain(const NamedTensors& state, at::Tensor image, double epsilon)
      : state_(state), image_(std::move(image)), epsilon_(epsilon) {}

  Plain& conv(const std::string& name) {
    const at::Tensor* bias = state_.find(name + ".bias");
    image_ = at::conv3d(image_, state_[name + ".weight"], bias ? *bias : at::Tensor());
    return *this;
  }
  /// Zeros before and behind, each of x, y, z.
  Plain& pad(std::int64_t x, std::int64_t y, std::int64_t z) { return pad({x, x, y, y, z, z}); }
  /// x before, x behind, y before, ...
  Plain& pad(std::array<std::int64_t, 6> p) {
    image_ = at::constant_pad_nd(image_, {p[4], p[5], p[2], p[3], p[0], p[1]});
    return *this;
  }
  Plain& up(double x, double y, double z) {
    const std::array<double, 3> factors = {x, y, z};
    image_ = at::upsample_nearest3d(image_, std::nullopt, factors);
    return *this;
  }
  Plain& relu() {
    image_ = at::relu(image_);
    return *this;
  }
  Plain& leaky() {
    image_ = at::leaky_relu(image_, 0.3);
    return *this;
  }
  Plain& norm(const std::string& name) {
    const auto channels = [&](const std::string& part) {
      return state_[name + "." + part].view({1, -1, 1, 1, 1});
    };
    const at::Tensor scale = channels("weight") / (channels("running_var") + epsilon_).sqrt();
    image_ = (image_ - channels("running_mean")) * scale + channels("bias");
    return *this;
  }
  /// [B, X, Y, Z] of one channel.
  at::Tensor cells() const { return image_.squeeze(1); }
  /// Flattened in Keras' order: channels last.
  at::Tensor pooled() const { return at::avg_pool3d(image_, {2, 2, 2}).permute({0, 2, 3, 4, 1}).flatten(1); }

 private:
  const NamedTensors& state_;
  at::Tensor image_;
  double epsilon_;
};

/// The dense output folded to [x, y, z, channel], then channels first.
at::Tensor folded(const NamedTensors& state, const at::Tensor& latent, std::int64_t side) {
  return at::linear(latent, state["dense.weight"], state["dense.bias"])
      .view({latent.size(0), side, side, 8, 8})
      .permute({0, 4, 1, 2, 3});
}

at::Tensor heads(const NamedTensors& state, const at::Tensor& features) {
  return at::cat({at::linear(features, state["generation.weight"], state["generation.bias"]),
                  at::linear(features, state["auxiliary.weight"], state["auxiliary.bias"])},
                 1);
}

}  // namespace

at::Tensor plain_fixed_generator(const NamedTensors& state, const at::Tensor& latent) {
  Plain network(state, folded(state, latent, 7), 1e-3);
  // "same" with an even kernel: the odd zero goes behind.
  network.pad({2, 3, 2, 3, 3, 4}).conv("conv1").leaky().norm("bn1");
  network.up(2, 2, 2).pad(2, 2, 0).conv("conv2").leaky().norm("bn2");
  network.up(2, 2, 3).pad(1, 0, 3).conv("conv3").leaky();
  return network.conv("conv4").relu().cells();
}

at::Tensor plain_angle_generator(const NamedTensors& state, const at::Tensor& latent) {
  Plain network(state, folded(state, latent, 9), 1e-6);
  network.up(6, 6, 6).conv("conv1").relu().norm("bn1");
  network.pad(2, 2, 1).conv("conv2").relu().norm("bn2");
  network.pad(2, 2, 1).conv("conv3").relu().norm("bn3");
  network.pad(2, 2, 1).conv("conv4").relu().norm("bn4");
  network.pad(1, 1, 0).conv("conv5").relu().norm("bn5");
  network.pad(1, 1, 0).conv("conv6").relu();
  return network.conv("conv7").relu().cells();
}

at::Tensor plain_fixed_discriminator(const NamedTensors& state, const at::Tensor& image) {
  Plain network(state, image.unsqueeze(1), 1e-3);
  network.pad(2, 2, 2).conv("conv1").leaky();
  network.pad(2, 2, 2).conv("conv2").leaky().norm("bn2");
  network.pad(2, 2, 2).conv("conv3").leaky().norm("bn3");
  network.pad(1, 1, 1).conv("conv4").leaky().norm("bn4");
  return heads(state, network.pooled());
}

at::Tensor plain_angle_discriminator(const NamedTensors& state, const at::Tensor& image) {
  Plain network(state, image.unsqueeze(1), 1e-6);
  network.pad({2, 2, 2, 3, 2, 3}).conv("conv1").leaky();
  network.pad(0, 0, 1).conv("conv2").leaky().norm("bn2");
  network.pad(0, 0, 1).conv("conv3").leaky().norm("bn3");
  network.conv("conv4").leaky().norm("bn4");
  return heads(state, network.pooled());
}

}  // namespace bunchtrain::test
