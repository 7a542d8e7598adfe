// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an HDF5 file holds, for people and for choosing a card.

#include <cstdint>
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

/// The values of a dataset of numbers, or of one member of a compound, in a bounded number
/// of rows, padding included.
struct ValueSample {
  std::string member;               ///< empty: the dataset itself
  std::string type;                 ///< "float32"
  double minimum = 0, maximum = 0;  ///< of those that are finite; minimum > maximum if none is
  std::int64_t values = 0, nan = 0, infinite = 0;
  std::vector<std::int64_t> different = {};  ///< ascending, if all are whole numbers and few of them differ
};

struct DatasetSample {
  std::vector<ValueSample> columns;
  std::string problem;  ///< why it cannot be read, if it cannot
};

/// Samples of all datasets, parallel to `contents`. @param allow_plugins HDF5 filter plug-ins. What cannot be
/// read does not keep the others from it.
/// @throws DataError if the file cannot be opened.
std::vector<DatasetSample> sample_values(const std::string& path,
                                         const std::vector<DatasetContents>& contents, bool allow_plugins);

/// Puts the different values into the shapes: for `features::draft_card`.
void add_seen_values(const std::vector<DatasetSample>& samples, std::vector<DatasetContents>& contents);

}  // namespace bunchtrain::data
