// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The training step of 3DGAN, as published (svalleco/3Dgan; Khattak et al., EPJC 82:386, 2022).

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/3dgan/losses.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/tasks/shower_simulation/energy_response.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/manual_step.hpp"

namespace bunchtrain::shower_simulation {

/// A network of the GAN with what trains it; all must outlive the step.
template <class Network>
struct TrainedPart {
  Network network;
  parallel::Engine* engine;
  optim::Optimizer* optimizer;
};

struct ShowerGanStepOptions {
  models::ShowerLossWeights weights = {};
  double flip_probability = 0.05;      ///< of a real or fake label, when the discriminator is trained
  std::int64_t generator_updates = 2;  ///< per step
  bool measured_theta = true;  ///< variable angle: labels are angles measured in the image, else true ones
  /// Fixed angle: energies and cell sums of the fakes. Unused for variable angle, whose fakes
  /// take the batch's labels.
  std::optional<EnergyResponse> response = {};
};

/// Samples of one pass: on this rank, and over all ranks.
struct PassCounts {
  std::int64_t samples = 0;
  std::int64_t global_samples = 0;
};

/// One step: fakes from the generator in inference mode; the discriminator on the real showers, then on
/// the fakes, each with its own update; the generator twice through the frozen discriminator. Noise,
/// energies, flips and dropout are functions of (seed, step, sample, pass). Call it inside an
/// `nn::StepContext` (the Trainer does).
class ShowerGanStep {
 public:
  ShowerGanStep(TrainedPart<models::ShowerGenerator> generator,
                TrainedPart<models::ShowerDiscriminator> discriminator, ShowerGanStepOptions options);

  /// A `train::ManualStep`. Terms: "generator_total", "generator_generation", ... (of the last update),
  /// "discriminator_real_total", ..., "discriminator_fake_total", ....
  train::LossTerms operator()(const Batch& batch);

  /// Single passes with one update, for tests and benchmarks.
  models::ShowerLosses train_discriminator(const at::Tensor& image, const models::ShowerTargets& targets,
                                           const PassCounts& counts);
  models::ShowerLosses train_generator(const at::Tensor& latent, const models::ShowerTargets& targets,
                                       const PassCounts& counts);
  /// Showers without a graph, the generator in inference mode: [B, X, Y, Z].
  at::Tensor generate(const at::Tensor& latent);

 private:
  /// What a fake is made from, and what the discriminator should say of it.
  struct Fake {
    at::Tensor latent;
    models::ShowerTargets targets;
  };
  nn::StepContext context_of(std::uint64_t pass) const;
  models::ShowerTargets targets_of(const Batch& batch) const;
  Fake draw_fake(const Batch& batch, const models::ShowerTargets& of_batch, std::uint64_t pass) const;
  at::Tensor labels(const at::Tensor& like, double value, std::uint64_t pass) const;

  TrainedPart<models::ShowerGenerator> generator_;
  TrainedPart<models::ShowerDiscriminator> discriminator_;
  ShowerGanStepOptions options_;
};

/// A message if the generator has collapsed to empty showers: its cell-sum loss is exactly 100 % after the
/// tenth step, as published. For `TrainerOptions::halt_when`.
std::string find_collapse(const train::StepEvent& event);

}  // namespace bunchtrain::shower_simulation
