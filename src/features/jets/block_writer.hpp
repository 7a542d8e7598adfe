// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Inputs, mask and observers of a block as tensors.

#include <cstdint>
#include <span>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "compiled_card.hpp"

namespace bunchtrain::features::detail {

/// Arrays of the calling thread: some hundred KiB that every block would otherwise allocate again.
Workspace& thread_workspace();

/// Sets the tensors of `block`, how many rows were truncated or had no particle, how many values were
/// replaced. @throws DataError for raw values that are not finite.
void write_block(const Card& card, const CompiledCard& compiled, const RawColumns& raw,
                 std::span<const std::int64_t> rows, FeatureBlock& block);

}  // namespace bunchtrain::features::detail
