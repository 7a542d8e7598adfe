// SPDX-License-Identifier: Apache-2.0
// The whole life of a process that makes a ParticleNet and applies it to one jet: what a short job pays
// before it works.

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cstdio>

#include "bunchtrain/models/particle_net.hpp"

int main() {
  const at::NoGradGuard no_gradients;
  bunchtrain::models::ParticleNet model;
  model->eval();
  const at::Tensor logits =
      model->forward(at::zeros({1, 128, 2}), at::zeros({1, 128, 7}), at::ones({1, 128}, at::kBool));
  std::printf("%zd logits\n", static_cast<ssize_t>(logits.numel()));
}
