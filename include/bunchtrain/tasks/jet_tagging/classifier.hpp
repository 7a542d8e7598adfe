// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the standard options to the parts of a jet classifier's training: data and model.

#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/session.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// model, dropout, fusion, padding-rule, batch-norm-rows, recompute, init, init-mode, init-rename, freeze.
std::vector<config::OptionSpec> classifier_options();

/// The data that --data, --valid, --card, --particles, --classes name. Collective: a file that one rank alone
/// cannot open is an error on all. @throws ConfigError, DataError
data::DatasetSplit open_data(train::Session& session);

/// The network that --model names, an `nn::Model`, for the features and classes of the data's card, with the
/// weights of --init, in the session's precision; logs the predicted memory of a step. Collective.
/// @throws ConfigError if the network does not fit the card: its inputs, classes, or a padded length that is
/// not above the number of neighbours; as `weights::load_into` for --init.
std::shared_ptr<torch::nn::Module> create_classifier(train::Session& session, const data::Dataset& train);

}  // namespace bunchtrain::jet_tagging
