// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a virtual dataset says of its sources.

#include <cstdint>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "row_spans.hpp"

namespace bunchtrain::data {

/// Rows of a virtual dataset that come from one other dataset.
struct VirtualMapping {
  std::string file;     ///< as it is named; "." = the file of the virtual dataset
  std::string dataset;  ///< within `file`
  RowSpan rows;         ///< of the virtual dataset, as far as it reaches
  std::uint64_t source_first = 0;
  /// Both sides are consecutive, whole rows. Else `rows` are those that it touches, and
  /// `source_first` has no meaning.
  bool by_rows = false;
};

struct VirtualMappings {
  std::vector<VirtualMapping> all;
  RowSpans unmapped;  ///< rows with an element that no mapping fills
  /// Files named by number ("part-%b.h5") that come after those the dataset reaches: it ends where the first
  /// of them is missing. A few of them, in order.
  std::vector<std::string> next_files;
};

/// Mappings whose file or dataset are numbered (%b) are written out, one for each block. The caller holds a
/// LibraryLock. @param create the dataset's creation properties
VirtualMappings read_mappings(hid_t create, const DatasetLayout& layout, const std::string& where);

}  // namespace bunchtrain::data
