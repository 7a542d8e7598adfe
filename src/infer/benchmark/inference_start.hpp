// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is done once with a bundle: how long it takes.

#include <filesystem>
#include <vector>

#include "bunchtrain/infer/inference_benchmark.hpp"

namespace bunchtrain::infer::detail {

/// Of the engines that know the bundle, with the first jet of a file or a made-up one.
/// @throws CheckpointError for a bundle that cannot be used or scores no jets.
std::vector<InferenceStart> measure_starts(const InferenceBenchmarkOptions& options);

/// Nothing for a network that has no graph.
InferenceExport measure_export(const std::filesystem::path& bundle);

}  // namespace bunchtrain::infer::detail
