// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the standard options to the parts of a jet classifier's training: data, model, objective, validation.

#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// model, head, dropout, fusion, padding-rule, batch-norm-rows, recompute, init, init-mode, init-rename,
/// freeze.
std::vector<config::OptionSpec> classifier_options();

/// The data that --data, --valid, --card, --particles, --classes name, with the targets of --head. Collective:
/// a file that one rank alone cannot open is an error on all. @throws ConfigError, DataError; also for a head
/// whose target card or file lack.
data::DatasetSplit open_data(train::Session& session);

/// The network that --model names, an `nn::Model`, for the features and classes of the data's card and with an
/// output for each target of --head, in its unit; with the weights of --init, in the session's precision. Logs
/// the predicted memory of a step. Collective.
/// @throws ConfigError if the network does not fit the card: its inputs, classes, heads, or a padded length
/// that is not above the number of neighbours; as `weights::load_into` for --init.
std::shared_ptr<torch::nn::Module> create_classifier(train::Session& session, const data::Dataset& train);

/// What that network is trained for: the cross-entropy of its classes; with --head the weighted sum of that,
/// the head "flavour" of weight 1, and of a regression for each target, of residuals in units of the target's
/// width in the training data. All weigh jets as the card says.
nn::Objective create_objective(const train::Session& session, const data::Dataset& train);

/// How it is judged: as a classifier, with --head also by bias, resolution and errors of each target. The
/// score, which decides what "best" means, is the classes' AUC.
std::shared_ptr<train::Validation> create_validation(const train::Session& session,
                                                     const data::Dataset& train);

}  // namespace bunchtrain::jet_tagging
