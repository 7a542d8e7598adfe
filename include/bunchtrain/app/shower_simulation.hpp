// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What programs that train 3DGAN or calo-diffusion offer on their command lines.

#include <map>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::app {

/// variant, published, theta, flip, loss weights, bin-counts, dropout, showers, generator-weights, ...: for
/// `Program::options`.
std::vector<config::OptionSpec> shower_gan_specs();
/// Defaults of standard options that the publication sets otherwise: RMSprop, rate 1e-3 for any batch, constant.
std::map<std::string, config::OptionValue> shower_gan_defaults();

/// What the user of such a program asks for. @throws ConfigError naming the option.
shower_simulation::ShowerGanOptions shower_gan_options(const train::Session& session);

/// preset, channels, attention, pipeline-schedule, microbatches, showers, inclined.
std::vector<config::OptionSpec> shower_diffusion_specs();
/// Defaults of standard options: AdamW, cosine, averaged weights.
std::map<std::string, config::OptionValue> shower_diffusion_defaults();
/// @throws ConfigError naming the option.
shower_simulation::ShowerDiffusionOptions shower_diffusion_options(const train::Session& session);

}  // namespace bunchtrain::app
