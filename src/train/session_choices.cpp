// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/session_choices.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace bunchtrain::train {

parallel::DataParallelOptions parallel_options(const Session& session) {
  for (const char* name : {"collectives", "sync-batch-norm"}) session.use(name);
  const TrainingChoices& choices = session.asked().training;
  const bool wide = session.precision() == device::Precision::float64;
  comm::Mesh mesh = session.mesh();
  std::optional<comm::Communicator> spatial;
  if (mesh.size(comm::Axis::spatial) > 1) spatial = mesh.axis(comm::Axis::spatial);
  return {.device = session.device(),
          .dtype = wide ? std::optional(at::kDouble) : std::nullopt,
          .plan = choices.collectives,
          .sync_batch_norm = choices.sync_batch_norm,
          .spatial = std::move(spatial),
          .slabs = mesh.shape().slabs(),
          .logger = session.logger()};
}

std::unique_ptr<optim::Optimizer> create_optimizer(const Session& session, tensor::ParameterArenas& arenas,
                                                   optim::CreateOptions options) {
  for (const char* name : {"optimizer", "learning-rate", "weight-decay", "group"}) session.use(name);
  const TrainingChoices& choices = session.asked().training;
  options.learning_rate = choices.learning_rate.value;
  options.weight_decay = choices.weight_decay;
  auto optimizer = optim::create(choices.optimizer, arenas, options);
  std::vector<optim::ParameterGroup> groups;
  for (const auto& group : choices.groups)
    if (optim::matches_any(group, arenas)) groups.push_back(group);
  optimizer->set_groups(std::move(groups));
  return optimizer;
}

}  // namespace bunchtrain::train
