// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an HDF5 file holds, for people and for choosing a card.

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/recognition.hpp"

namespace bunchtrain::data {

/// A dataset as it lies in a file.
struct DatasetContents {
  features::DatasetShape shape;
  std::string text;        ///< "[6000, 200, 4] float32", "cannot be opened"
  std::string storage;     ///< "contiguous", "chunks of [512, 56, 4], shuffle + deflate"
  std::string unreadable;  ///< why it cannot be opened: a link that leads nowhere, a newer HDF5, damage
};

/// All datasets of a file, by the names by which they can be opened: behind soft and external links too.
/// One that cannot be opened does not keep the others from being listed. Read-only, file locking off.
/// @throws DataError: not there, not HDF5, truncated.
std::vector<DatasetContents> list_contents(const std::string& path);

/// Hash of every byte of the files, in this order: tells whether anything in them has changed. Reads all of
/// them. @throws DataError if one cannot be read.
std::string hash_contents(std::span<const std::string> files);

/// The shapes of those that can be opened, as `features::recognise` wants them.
std::vector<features::DatasetShape> shapes_of(const std::vector<DatasetContents>& contents);

}  // namespace bunchtrain::data
