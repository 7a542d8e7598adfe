// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an open HDF5 file holds.

#include <string>
#include <vector>

#include "bunchtrain/data/file_contents.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {

/// A name that cannot be opened, and why.
struct UnreadableName {
  std::string name;
  std::string why;
};

struct FileListing {
  std::vector<std::string>
      datasets;  ///< by all names that lead to them, links included, in alphabetical order
  std::vector<UnreadableName> unreadable;
};

/// Follows hard, soft and external links; a group that contains itself is entered once.
FileListing list_names(const hdf5::File& file);

/// As `list_contents`, of a file that is open already. @param path for messages
std::vector<DatasetContents> contents_of(const hdf5::File& file, const std::string& path);

/// "ECAL [4000, 25, 25, 25] float32; energy [4000] float32" or "none", and why some cannot
/// be opened: for messages.
std::string list_contents(const std::vector<DatasetContents>& contents);

}  // namespace bunchtrain::data
