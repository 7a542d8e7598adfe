// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/session_choices.hpp"

#include <string>
#include <utility>
#include <vector>

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

std::unique_ptr<optim::Optimizer> create_optimizer(const Session& session, tensor::ParameterArenas& arenas,
                                                   optim::CreateOptions options) {
  options.learning_rate = session.option("learning-rate");
  options.weight_decay = session.option("weight-decay");
  const std::string name = session.option("optimizer");
  auto optimizer = optim::create(name, arenas, options);
  std::vector<optim::ParameterGroup> groups;
  for (const auto& text : session.options().get<std::vector<std::string>>("group"))
    if (auto group = optim::parse_parameter_group(text); optim::matches_any(group, arenas))
      groups.push_back(std::move(group));
  optimizer->set_groups(std::move(groups));
  return optimizer;
}

}  // namespace bunchtrain::train
