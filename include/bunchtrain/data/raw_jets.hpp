// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets as a file holds them, for whoever computes no tensors of them: measurements, hosts of a predictor.

#include <cstdint>
#include <filesystem>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"

namespace bunchtrain::data {

/// The first jets of a file, `most` or as many as it has, in the file's units; the card's selection is not applied.
/// @param card says which columns are read and where they are
/// @throws DataError: not HDF5, truncated, a column of the inputs that is missing, datasets of different numbers of rows.
features::RawColumns read_raw_jets(const std::filesystem::path& file, const features::Card& card,
                                   std::int64_t most);

}  // namespace bunchtrain::data
