// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The parts of a training of calo-diffusion: data, network, engine, objective.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"
#include "bunchtrain/tasks/training_files.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::shower_simulation {

/// What is chosen for a training of calo-diffusion. `app::shower_diffusion_options` reads it from a command line.
struct ShowerDiffusionOptions {
  tasks::TrainingFiles files = {};
  std::int64_t showers = 10'000;            ///< without files: GFlash showers per epoch, validation included
  bool inclined = false;                    ///< without files: with angles
  std::string preset = "tiny";              ///< of `models::CaloDiffusionOptions`
  std::vector<std::int64_t> channels = {};  ///< of each level; empty: the preset's
  bool attention = true;
  parallel::PipelineKind schedule = parallel::PipelineKind::one_f_one_b;
  std::int64_t microbatches = 0;  ///< of a pipeline; 0 = twice its ranks
  /// Of a rank: units are computed again in backward until their activations fit; 0 = none are. Replicas only.
  double activation_bytes = 0;

  bool operator==(const ShowerDiffusionOptions&) const = default;
};

/// The showers of `options.files`, cells in GeV; without files GFlash electrons made while training runs. Collective.
/// @throws ConfigError, DataError
data::DatasetSplit open_physical_showers(train::Session& session, const ShowerDiffusionOptions& options);

/// The network for the grid of the showers, in the session's precision, normalised to some of them.
/// @throws ConfigError for showers that are no grid
models::CaloDiffusion create_calo_diffusion(const train::Session& session,
                                            const ShowerDiffusionOptions& options,
                                            const data::Dataset& train);

/// Replicas, or stages where the session's mesh has a pipeline axis; there the units are measured for the cut, as they are
/// where activations have a limit. Collective. @throws ConfigError for a limit that cannot be kept
std::unique_ptr<parallel::Engine> create_diffusion_engine(const train::Session& session,
                                                          const ShowerDiffusionOptions& options,
                                                          models::CaloDiffusion& network);

/// Mean square of what the denoisers say off what they should say, of "cells" and of "layers" (weight 0.1).
nn::Objective diffusion_objective();

/// What a checkpoint says beside the network: energies seen. For `TrainerOptions::metadata`.
std::map<std::string, std::string> diffusion_metadata(const data::Dataset& train);

}  // namespace bunchtrain::shower_simulation
