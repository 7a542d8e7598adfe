// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A bundle of a run that left none: one of bunchtrain 0.1, or one that still goes on.

#include <filesystem>
#include <string>

#include "bunchtrain/weights/bundle.hpp"

namespace bunchtrain::tasks {

/// What a training would have left as its bundle, made of a snapshot of its only network, or of a 3DGAN's generator; the
/// averaged weights of a run that has them.
/// @param snapshot "best", "latest", "step-000123"
/// @throws ConfigError if the folder holds no run, or no such snapshot; CheckpointError for a snapshot that is damaged or
/// of another kind of network.
weights::Bundle bundle_of_run(const std::filesystem::path& run, const std::string& snapshot = "best");

}  // namespace bunchtrain::tasks
