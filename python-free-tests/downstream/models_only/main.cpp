// SPDX-License-Identifier: Apache-2.0
// A program that uses a reference model and nothing of data, MPI or NCCL.

#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>

#include <bunchtrain/models/particle_net.hpp>
#include <cstdio>

int main() {
  bunchtrain::models::ParticleNet model(bunchtrain::models::ParticleNetOptions::lite());
  model->eval();
  const auto logits =
      model->forward(at::rand({2, 32, 2}), at::rand({2, 32, 7}), at::ones({2, 32}, at::kBool));
  std::printf("logits %ld x %ld\n", static_cast<long>(logits.size(0)), static_cast<long>(logits.size(1)));
  return logits.size(0) == 2 && logits.size(1) == 2 ? 0 : 1;
}
