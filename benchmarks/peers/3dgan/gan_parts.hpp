// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The networks of a 3DGAN with what trains them, as the trainer puts them together.

#include <c10/core/Device.h>

#include <cstdint>

#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace gan_benchmark {

/// One rank's GAN with its step. Not copyable: the step points into it.
class GanParts {
 public:
  GanParts(bunchtrain::models::ShowerVariant variant, double dropout, c10::Device device = c10::kCPU);
  GanParts(const GanParts&) = delete;
  GanParts& operator=(const GanParts&) = delete;

  /// Takes "generator.*" and "discriminator.*".
  void load(const bunchtrain::NamedTensors& tensors);
  bunchtrain::shower_simulation::ShowerGanStep& step() noexcept { return step_; }

 private:
  bunchtrain::models::ShowerGenerator generator_;
  bunchtrain::models::ShowerDiscriminator discriminator_;
  bunchtrain::parallel::DataParallel generator_parallel_, discriminator_parallel_;
  bunchtrain::optim::Rmsprop generator_optimizer_, discriminator_optimizer_;
  bunchtrain::shower_simulation::ShowerGanStep step_;
};

/// Numbers in the place of showers: a fifth of the cells hold something.
bunchtrain::Batch random_batch(bunchtrain::models::ShowerVariant variant, std::int64_t size,
                               c10::Device device = c10::kCPU);

}  // namespace gan_benchmark
