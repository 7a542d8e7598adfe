// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the standard options of a session choose, whatever is trained: the ways to be parallel, the optimizer.

#include <memory>

#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::train {

/// --sync-batch-norm, --collectives and the session's device.
parallel::DataParallelOptions parallel_options(const Session& session);

/// The optimizer that --optimizer, --learning-rate and --weight-decay name.
std::unique_ptr<optim::Optimizer> create_optimizer(const Session& session, tensor::ParameterArenas& arenas);

}  // namespace bunchtrain::train
