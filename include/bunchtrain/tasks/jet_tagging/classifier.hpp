// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The parts of a jet classifier's training: data, model, objective, validation.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/tasks/training_files.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// A target that a network estimates: the output of its name and, with `own_width`, that of its error.
struct EstimatedTarget {
  std::string name;
  bool own_width = false;
};

/// A head beside the classes': a target of the card, and the loss of its estimate.
struct HeadChoice {
  std::string target;
  train::RegressionLoss loss = train::RegressionLoss::mse;
  double weight = 1;

  EstimatedTarget estimate() const { return {target, loss == train::RegressionLoss::gaussian}; }
  bool operator==(const HeadChoice&) const = default;
};
/// "energy", "energy:huber", "energy:0.5", "energy:huber:0.5". @throws ConfigError
HeadChoice parse_head(std::string_view text);

/// The jets of a training.
struct JetDataOptions {
  tasks::TrainingFiles files = {};
  std::int64_t particles = 0;             ///< padded length, particles per jet; 0 = the card's
  std::vector<std::string> classes = {};  ///< their order; empty = the card's
  bool pad_to_longest = false;  ///< batches are padded to their longest jet, not to the padded length

  bool operator==(const JetDataOptions&) const = default;
};

/// What is chosen for the training of a classifier. `app::classifier_options` reads it from a command line.
struct ClassifierOptions {
  JetDataOptions data = {};
  /// "lite" (ParticleNet-Lite), "particlenet", or a name that the program registers (`models::register_model`).
  std::string model = "lite";
  std::vector<HeadChoice> heads = {};  ///< estimates beside the classes
  double dropout = 0.1;                ///< of the hidden layer
  bool fusion = false;  ///< concatenates all block outputs before pooling (weaver's use_fusion)
  models::PaddingRule padding = models::PaddingRule::weaver;
  models::BatchNormRows batch_norm_rows = models::BatchNormRows::all;
  bool recompute = false;  ///< edges again in backward: less memory, more time
  /// So many batches at a time exchange jets, so that those of a batch have like numbers of particles, and batches are
  /// padded to their longest jet; 0 = none. `TrainerOptions::length_buckets` takes it.
  std::int64_t length_buckets = 0;

  /// Weights to start from: a bundle, a run folder (its best snapshot), a safetensors file.
  std::string init = {};
  weights::LoadMode init_mode = weights::LoadMode::strict;
  std::vector<weights::Rename> init_renames = {};
  std::vector<std::string> freeze = {};  ///< patterns of parameters that are not trained: "edge_convs.*"

  /// @throws ConfigError for a target that is named twice, or as the classes' head is; for length buckets with a network
  /// whose results depend on the padding.
  void validate() const;
};

/// Collective: a file that one rank alone cannot open is an error on all. @throws ConfigError, DataError
data::DatasetSplit open_data(train::Session& session, const JetDataOptions& options);
/// The same with the targets of the heads. @throws ConfigError, DataError; also for a head whose target card or file
/// lack.
data::DatasetSplit open_data(train::Session& session, const ClassifierOptions& options);

/// The network, an `nn::Model`, for the features and classes of the data's card, with an output for each head, in the
/// unit of its target, and the weights of `init`, in the session's precision; logs the predicted memory of a step.
/// Collective.
/// @throws ConfigError if the network does not fit the card: its inputs, classes, heads, or a padded length that is
/// not above the number of neighbours; as `weights::load_into` for `init`.
std::shared_ptr<torch::nn::Module> create_classifier(train::Session& session,
                                                     const ClassifierOptions& options,
                                                     const data::Dataset& train);

/// What that network is trained for: the cross-entropy of its classes; with heads the weighted sum of that,
/// the head "flavour" of weight 1, and of a regression for each target, of residuals in units of the target's
/// width in the training data.
nn::Objective create_objective(const ClassifierOptions& options, const data::Dataset& train);

/// How it is judged: as a classifier, with heads also by bias, resolution and errors of each target. The
/// score, which decides what "best" means, is the classes' AUC.
std::shared_ptr<train::Validation> create_validation(const ClassifierOptions& options,
                                                     const data::Dataset& train);

}  // namespace bunchtrain::jet_tagging
