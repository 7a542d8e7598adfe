// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Inputs and mask of a block by kernels, from columns that lie on a device. Implemented in cuda/ and in stub/.

#include <cstdint>
#include <span>
#include <string>

#include "bunchtrain/features/detail/device_columns.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "compiled_card.hpp"

namespace bunchtrain::features::detail {

/// Why kernels cannot compute the inputs of a card; empty if they can.
std::string why_not_on_device(const Card& card, const CompiledCard& compiled);

/// As `write_block`: inputs and mask are tensors of the device, observers of the host. Enqueues on the current stream and waits
/// for it several times. @param raw has no particle columns; those of jets that lie on the device are added.
/// @return false, with `block` as it was, if any value is not finite: then `write_block` finds out which, and what the card wants
/// for it. @throws NotBuiltError in a build without CUDA
/// @pre `why_not_on_device` is empty
bool write_device_block(const Card& card, const CompiledCard& compiled, const DeviceColumns& columns,
                        RawColumns& raw, std::span<const std::int64_t> rows, FeatureBlock& block);

}  // namespace bunchtrain::features::detail
