// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A ParticleNet on made-up jets: trained as the trainer does it, captured or not, or evaluated.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/device/step_graph.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "captured_steps.hpp"
#include "step_number.hpp"

namespace gpu_bench {

/// What a batch of jets is made of.
struct Jets {
  std::int64_t count, particles;
  std::int64_t features = 7, classes = 2;
  /// Real particles, of the jets in turn; the other slots are padding. Empty: all are real.
  std::vector<std::int64_t> real = {};

  std::int64_t real_of(std::int64_t jet) const;
  /// "1024 jets of 128 particles, 66.3 of them real on average"
  std::string describe() const;
};

/// Labels in turn, numbers that depend on the shape only.
bunchtrain::Batch batch_of(const Jets& jets, c10::Device device);

/// How steps are enqueued.
enum class Enqueued {
  singly,       ///< every kernel by itself
  captured,     ///< as one graph; on the CPU by one that does the work again
  without_work  ///< for the CPU: as a graph that does nothing, so that what is left is the host's part
};

/// A whole step as the trainer takes it: forward, backward, update, left out if gradients are not finite; the loss is copied to
/// the host.
class ParticleNetTraining {
 public:
  /// @throws std::runtime_error with the reason if steps are not captured that should be
  ParticleNetTraining(const Jets& jets, c10::Device device, bunchtrain::device::Precision precision,
                      Enqueued enqueued);
  void step();

 private:
  void require_capture();

  bunchtrain::device::Precision precision_;
  bunchtrain::models::ParticleNet model_;
  bunchtrain::parallel::DataParallel engine_;
  bunchtrain::optim::AdamW optimizer_;
  bunchtrain::train::TrainedNetwork network_;
  bunchtrain::train::StepNumber number_in_memory_;
  std::shared_ptr<class Refusals> refusals_;
  bunchtrain::train::CapturedSteps captured_;
  bunchtrain::nn::Objective objective_;
  bunchtrain::Batch batch_;
  std::int64_t number_ = 0;
  bool repeated_ = false;              ///< the last step
  bunchtrain::device::LateCopy loss_;  ///< of it, on its way to the host
};

}  // namespace gpu_bench
