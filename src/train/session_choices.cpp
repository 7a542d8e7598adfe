// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/session_choices.hpp"

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/adam.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/optim/sgd.hpp"

namespace bunchtrain::train {

parallel::DataParallelOptions parallel_options(const Session& session) {
  const std::string plan = session.option("collectives");
  return {.device = session.device(),
          .plan = plan == "buckets"          ? parallel::CollectivePlan::buckets
                  : plan == "after-backward" ? parallel::CollectivePlan::after_backward
                                             : parallel::CollectivePlan::automatic,
          .sync_batch_norm = session.option("sync-batch-norm"),
          .logger = session.logger()};
}

std::unique_ptr<optim::Optimizer> create_optimizer(const Session& session, tensor::ParameterArenas& arenas) {
  const std::string name = session.option("optimizer");
  const double rate = session.option("learning-rate");
  const double decay = session.option("weight-decay");
  if (name == "adamw")
    return std::make_unique<optim::AdamW>(arenas,
                                          optim::AdamWOptions{.learning_rate = rate, .weight_decay = decay});
  if (name == "adam")
    return std::make_unique<optim::Adam>(arenas,
                                         optim::AdamOptions{.learning_rate = rate, .weight_decay = decay});
  if (name == "sgd")
    return std::make_unique<optim::Sgd>(
        arenas, optim::SgdOptions{.learning_rate = rate, .momentum = 0.9, .weight_decay = decay});
  if (name == "rmsprop")
    return std::make_unique<optim::Rmsprop>(
        arenas, optim::RmspropOptions{.learning_rate = rate, .weight_decay = decay});
  expects(name == "ranger", "what the option optimizer allows is known here");
  return std::make_unique<optim::Ranger>(arenas,
                                         optim::RangerOptions{.learning_rate = rate, .weight_decay = decay});
}

}  // namespace bunchtrain::train
