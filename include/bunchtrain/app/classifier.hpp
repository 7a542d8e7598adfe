// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the standard options to the parts of a jet classifier's training: data, model, optimizer.

#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/device/parameter_arena.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::app {

/// model, dropout, fusion, batch-norm-rows, weights, recompute.
std::vector<config::OptionSpec> classifier_options();

/// The data that --data, --valid, --card, --particles, --classes name. Collective: a file that one rank alone
/// cannot open is an error on all. @throws ConfigError, DataError
data::DatasetSplit open_data(train::Session& session);

/// A network and the text that rebuilds it (`models::create_from`).
struct Classifier {
  std::shared_ptr<models::ParticleCloudModel> model;
  std::string description;
};

/// The network that --model names, for the features and classes of the data's card, in the session's
/// precision; logs the predicted memory of a step. @throws ConfigError if the padded length is not above the
/// number of neighbours.
Classifier create_classifier(train::Session& session, const data::Dataset& train);

/// --sync-batch-norm, --collectives and the session's device.
parallel::DataParallelOptions parallel_options(const train::Session& session);

/// The optimizer that --optimizer, --learning-rate and --weight-decay name.
std::unique_ptr<optim::Optimizer> create_optimizer(const train::Session& session,
                                                   device::ParameterArenas& arenas);

}  // namespace bunchtrain::app
