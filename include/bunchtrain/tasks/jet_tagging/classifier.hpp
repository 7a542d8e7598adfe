// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the standard options to the parts of a jet classifier's training: data and model.

#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::jet_tagging {

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

}  // namespace bunchtrain::jet_tagging
