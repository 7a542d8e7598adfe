// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an HDF5 file holds, for people and for choosing a card.

#include <string>
#include <vector>

#include "bunchtrain/features/recognition.hpp"

namespace bunchtrain::data {

/// A dataset as it lies in a file.
struct DatasetContents {
  features::DatasetShape shape;
  std::string text;     ///< "[6000, 200, 4] float32"
  std::string storage;  ///< "contiguous", "chunks of [512, 56, 4], shuffle + deflate"
};

/// All datasets of a file, by name. Read-only, file locking off. @throws DataError: not there, not HDF5,
/// truncated.
std::vector<DatasetContents> list_contents(const std::string& path);

/// The shapes alone, as `features::recognise` wants them.
std::vector<features::DatasetShape> shapes_of(const std::vector<DatasetContents>& contents);

}  // namespace bunchtrain::data
