// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a training starts from: weights of another run, and the parameters that stay as they are.

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/train/session.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// Collective. Loads `options.init` (a bundle, a run folder or a safetensors file) as `init_mode` and
/// `init_renames` say, then freezes what `freeze` matches. The log says what was taken and what was not.
/// @throws ConfigError, CheckpointError on all ranks: weights of another model, of other inputs or of another
/// order of classes.
void prepare_weights(const train::Session& session, const ClassifierOptions& options,
                     torch::nn::Module& module, const features::Card& card);

}  // namespace bunchtrain::jet_tagging
