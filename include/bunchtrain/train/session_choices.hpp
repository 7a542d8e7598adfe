// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a session was asked for, whatever is trained: the ways to be parallel, the optimizer.

#include <memory>

#include "bunchtrain/optim/registry.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::train {

/// `TrainingChoices::sync_batch_norm`, `collectives` and the session's device.
parallel::DataParallelOptions parallel_options(const Session& session);

/// The optimizer that `TrainingChoices` name, with their rate, weight decay and groups; the rest is as in
/// `options`. Groups that match no parameter here are left to other networks; the Trainer refuses those that
/// match none anywhere. @throws ConfigError for a group that is none.
std::unique_ptr<optim::Optimizer> create_optimizer(const Session& session, tensor::ParameterArenas& arenas,
                                                   optim::CreateOptions options = {});

}  // namespace bunchtrain::train
