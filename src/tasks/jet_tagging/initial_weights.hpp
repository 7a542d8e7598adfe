// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a training starts from: weights of another run, and the parameters that stay as they are.

#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/train/session.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// init, weights, init-mode, init-rename, freeze.
std::vector<config::OptionSpec> initial_weights_options();

/// Collective. Loads what --init names (a bundle, a run folder or a safetensors file) as --init-mode and
/// --init-rename say, then freezes what --freeze matches. The log says what was taken and what was not.
/// @throws ConfigError, CheckpointError on all ranks: weights of another model, of other inputs or of another
/// order of classes.
void prepare_weights(const train::Session& session, torch::nn::Module& module, const features::Card& card);

}  // namespace bunchtrain::jet_tagging
