// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The last resting place of buffers that a communication library may still write to.

#include <memory>

namespace bunchtrain::comm::detail {

/// Keeps `memory` until the process ends. Used when an operation can neither be completed nor be
/// cancelled (a peer is gone): freeing its buffers would let MPI write into memory that belongs to
/// somebody else by then. Thread-safe.
void abandon(std::shared_ptr<void> memory) noexcept;

}  // namespace bunchtrain::comm::detail
