// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The published networks in inference mode, channels first and layer by layer as the Keras sources read:
/// upsampled tensors, padding layers, LibTorch's convolution. Shares nothing with the modules.

#include <ATen/core/Tensor.h>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::test {

/// Images [B, 25, 25, 25] of `EcalEnergyGan.generator`, from a module's state by name.
at::Tensor plain_fixed_generator(const NamedTensors& state, const at::Tensor& latent);
/// Images [B, 51, 51, 25] of `AngleArch3dGAN.generator`.
at::Tensor plain_angle_generator(const NamedTensors& state, const at::Tensor& latent);
/// [B, 2]: the inputs of the sigmoid and of the energy, `EcalEnergyGan.discriminator`.
at::Tensor plain_fixed_discriminator(const NamedTensors& state, const at::Tensor& image);
at::Tensor plain_angle_discriminator(const NamedTensors& state, const at::Tensor& image);

}  // namespace bunchtrain::test
