// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What programs that train or evaluate jet taggers offer on their command lines.

#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::app {

/// model, head, dropout, fusion, padding-rule, batch-norm-rows, recompute, init, init-mode, init-rename, freeze: for
/// `Program::options` of a program that trains a classifier.
std::vector<config::OptionSpec> classifier_specs();
/// evaluate, split, checkpoint, average, output, page, against, working-point, force: of one that scores files by its
/// own runs, if `--evaluate` is given.
std::vector<config::OptionSpec> evaluate_specs();

/// What the user asks for by the standard options about data. @throws ConfigError naming the option.
jet_tagging::JetDataOptions jet_data_options(const train::Session& session);
/// The same, and by `classifier_specs`.
jet_tagging::ClassifierOptions classifier_options(const train::Session& session);
/// By `evaluate_specs` and the standard options run, data, batch, hdf5-plugins.
jet_tagging::EvaluateOptions evaluate_options(const train::Session& session);

}  // namespace bunchtrain::app
