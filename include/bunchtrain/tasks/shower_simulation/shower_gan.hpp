// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the options of a program to the parts of a 3DGAN's training: data, networks, optimizers, validation.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::shower_simulation {

/// variant, published, theta, flip, loss weights, bin-counts, dropout, showers, generator-weights, ....
std::vector<config::OptionSpec> shower_gan_options();
/// Defaults of standard options that the publication sets otherwise: RMSprop, rate 1e-3
/// for any batch, constant.
std::map<std::string, config::OptionValue> shower_gan_defaults();

/// --variant. @throws ConfigError
models::ShowerVariant shower_variant(const train::Session& session);

/// The showers that --data, --valid and --card name; without --data GFlash electrons made while training
/// runs. Collective. @throws ConfigError for a grid that is not the variant's, DataError
data::DatasetSplit open_showers(train::Session& session);

/// The networks that --variant names, from --generator-weights and --discriminator-weights if given
/// (safetensors or Keras), in the session's precision.
struct ShowerGan {
  models::ShowerGenerator generator = nullptr;
  models::ShowerDiscriminator discriminator = nullptr;
};
ShowerGan create_shower_gan(train::Session& session);

/// As `train::create_optimizer`; "rmsprop" is that of Keras 2 (`optim::RmspropOptions::keras2`).
std::unique_ptr<optim::Optimizer> create_shower_optimizer(const train::Session& session,
                                                          tensor::ParameterArenas& arenas);

/// Loss weights, flips, labels, and the energies of fixed-angle fakes, fitted to `train` or published.
ShowerGanStepOptions shower_gan_step_options(const train::Session& session, const data::Dataset& train);

/// What a checkpoint says of the networks: variant, energies they have seen. For `TrainerOptions::metadata`.
std::map<std::string, std::string> shower_gan_metadata(const train::Session& session,
                                                       const ShowerGanStepOptions& options);

/// Compares showers of the generator with those of the validation data, of the same energies and angles: the
/// published scalar, sampling fraction and profile deviations per epoch; pictures, profiles, spectra and
/// correlations for the report. The best snapshot has the lowest scalar.
std::shared_ptr<train::Validation> make_shower_validation(const train::Session& session,
                                                          models::ShowerGenerator generator,
                                                          const data::Dataset& valid);

}  // namespace bunchtrain::shower_simulation
