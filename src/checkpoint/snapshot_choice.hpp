// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which snapshot of a store is taken.

#include <filesystem>
#include <string>
#include <string_view>

#include "bunchtrain/core/logger.hpp"
#include "snapshot_files.hpp"

namespace bunchtrain::checkpoint {

/// The name of the newest valid snapshot; empty if the store holds none. What is passed over is logged.
/// @throws CheckpointError if all are damaged, IoError if that is the system's fault.
std::string choose_newest(const std::filesystem::path& store, const Logger& logger);

/// The name of the snapshot that `which` means ("latest", "best", "step-000123"), `wanted` of it
/// verified; empty if the store is. Never another one: @throws CheckpointError naming what may be
/// taken instead; ConfigError.
std::string choose_exactly(const std::filesystem::path& store, std::string_view which,
                           const ComponentNames& wanted);

}  // namespace bunchtrain::checkpoint
