// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Values of a contiguous dataset that lie in raw files beside it.

#include <hdf5.h>

#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

struct ExternalValues {
  std::vector<std::string> files;
  std::vector<AbsentRows> absent;  ///< beyond the end of a file, or of the last one; a file that is missing
};

/// Looks at each file where HDF5 would open it. The caller holds a LibraryLock. @param path of the HDF5 file
ExternalValues look_at_external_values(hid_t create, const DatasetLayout& layout, const std::string& path,
                                       const std::string& where);

}  // namespace bunchtrain::data
