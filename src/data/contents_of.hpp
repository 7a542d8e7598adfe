// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an open HDF5 file holds.

#include <string>
#include <vector>

#include "bunchtrain/data/file_contents.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {

/// Names of all datasets of a file, groups included, in alphabetical order. The caller holds no lock.
std::vector<std::string> list_datasets(const hdf5::File& file);

/// As `list_contents`, of a file that is open already. @param path for messages
std::vector<DatasetContents> contents_of(const hdf5::File& file, const std::string& path);

/// "ECAL [4000, 25, 25, 25] float32; energy [4000] float32" or "none", for messages.
std::string list_contents(const std::vector<DatasetContents>& contents);

}  // namespace bunchtrain::data
