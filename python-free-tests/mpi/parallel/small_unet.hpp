// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A U-Net of calo-diffusion in float64, and showers for it.

#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/utils.h>

#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/objective.hpp"

namespace bunchtrain::parallel {

/// The same showers of [x, 5, 7] cells at each call.
inline Batch small_showers(std::int64_t samples, std::int64_t x) {
  torch::manual_seed(11);
  const at::Tensor raw = at::rand({samples, x, 5, 7}, at::kDouble),
                   energy = at::rand({samples}, at::kDouble) + 1;
  Batch batch;
  batch.tensors = {{"image", at::where(raw > 0.5, raw, at::zeros_like(raw)) * energy.view({-1, 1, 1, 1})},
                   {"energy", energy}};
  batch.sample_ids = at::arange(100, 100 + samples);
  batch.global_samples = samples;
  return batch;
}

inline models::CaloDiffusion small_unet(std::int64_t x) {
  models::CaloDiffusion network(models::CaloDiffusionOptions{.cells = {x, 5, 7}, .channels = {8, 16, 16}});
  const Batch some = small_showers(6, x);
  network->set_normalisation(models::ShowerNormalisation::fit(some["image"], some["energy"]));
  network->to(at::kDouble);
  const at::NoGradGuard no_gradients;  // the last layers begin as zeros: nothing would flow back
  for (at::Tensor& parameter : network->parameters())
    if (parameter.abs().max().item<double>() == 0) parameter.fill_(0.05);
  return network;
}

inline nn::Losses denoising_losses(const NamedTensors& outputs, const Batch& /*batch*/) {
  return nn::Losses((outputs["cells"] - outputs["cells_target"]).square().mean() +
                    (outputs["layers"] - outputs["layers_target"]).square().mean());
}

}  // namespace bunchtrain::parallel
