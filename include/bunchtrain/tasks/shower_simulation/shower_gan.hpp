// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The parts of a 3DGAN's training: data, networks, optimizers, validation.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "bunchtrain/tasks/training_files.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::shower_simulation {

/// What is chosen for a training of 3DGAN. `app::shower_gan_options` reads it from a command line.
struct ShowerGanOptions {
  tasks::TrainingFiles files = {};
  std::int64_t showers = 10'000;  ///< without files: GFlash showers per epoch, validation included
  models::ShowerVariant variant = models::ShowerVariant::fixed_angle;
  /// Fixed angle: fakes with the published energies (10-500 GeV) and sums (2 E / 100), not the data's.
  bool published = false;
  /// Variable angle: the angle measured in the image is learned, else the true one.
  bool measured_theta = true;
  double flip = 0.05;                  ///< share of labels that are flipped when the discriminator is trained
  std::int64_t generator_updates = 2;  ///< per step
  double dropout = 0.2;                ///< of the discriminator
  /// Variable angle: the discriminator also compares counts of cells per energy bin.
  bool bin_counts = false;
  /// Relative width of the bins' edges; 0 = steps, as published (no gradient).
  double bin_count_smoothing = 0;

  /// Loss weights: of real or fake, the primary energy, the angle, the cell sum, the bin counts; unset: as published.
  std::optional<double> weight_generation = {};
  std::optional<double> weight_energy = {};
  std::optional<double> weight_angle = {};
  std::optional<double> weight_sum = {};
  std::optional<double> weight_counts = {};

  /// Files to start from, safetensors or Keras HDF5; empty: weights are drawn from the session's seed.
  std::string generator_weights = {};
  std::string discriminator_weights = {};

  bool operator==(const ShowerGanOptions&) const = default;
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// The showers of `options.files`; without files GFlash electrons made while training runs. Collective.
/// @throws ConfigError for a grid that is not the variant's, DataError
data::DatasetSplit open_showers(train::Session& session, const ShowerGanOptions& options);

/// The networks of the variant, in the session's precision.
struct ShowerGan {
  models::ShowerGenerator generator = nullptr;
  models::ShowerDiscriminator discriminator = nullptr;
};
/// @throws ConfigError, CheckpointError
ShowerGan create_shower_gan(train::Session& session, const ShowerGanOptions& options);

/// As `train::create_optimizer`; "rmsprop" is that of Keras 2 (`optim::RmspropOptions::keras2`).
std::unique_ptr<optim::Optimizer> create_shower_optimizer(const train::Session& session,
                                                          tensor::ParameterArenas& arenas);

/// Loss weights, flips, labels, and the energies of fixed-angle fakes, fitted to `train` or published.
ShowerGanStepOptions shower_gan_step_options(const train::Session& session, const ShowerGanOptions& options,
                                             const data::Dataset& train);

/// What a checkpoint says of the networks: variant, energies they have seen. For `TrainerOptions::metadata`.
std::map<std::string, std::string> shower_gan_metadata(const train::Session& session,
                                                       const ShowerGanOptions& options,
                                                       const ShowerGanStepOptions& step);

/// Compares showers of the generator with those of the validation data, of the same energies and angles: the
/// published scalar, sampling fraction and profile deviations per epoch; pictures, profiles, spectra and
/// correlations for the report. The best snapshot has the lowest scalar.
std::shared_ptr<train::Validation> make_shower_validation(const train::Session& session,
                                                          const ShowerGanOptions& options,
                                                          models::ShowerGenerator generator,
                                                          const data::Dataset& valid);

}  // namespace bunchtrain::shower_simulation
