// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Finds and opens the files that a virtual dataset names, as HDF5 does.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hdf5_library.hpp"
#include "io/file_bytes.hpp"
#include "stored_dataset.hpp"

namespace bunchtrain::data {

/// Opens one file after the other; of each only what reading needs stays open.
class VirtualSources {
 public:
  /// @param path of the file that holds the virtual dataset @param context of the virtual dataset
  VirtualSources(std::string path, SourceContext context);

  /// A dataset, or why it is not there: "p1.h5 is not there (looked for /a/p1.h5, p1.h5)".
  struct Found {
    std::shared_ptr<const StoredDataset> dataset;
    std::string why;
    bool is_there = false;  ///< something of that name is, but it cannot be opened
  };
  /// @throws DataError if it is there but cannot be read: a filter, damage.
  const Found& find(const std::string& file, const std::string& dataset);
  /// Whether a file of that name is where HDF5 would look for it.
  bool has(const std::string& file) const;

 private:
  struct Opened {
    std::shared_ptr<const hdf5::File> file;
    std::shared_ptr<const FileBytes> bytes;
    std::string why;
    bool is_there = false;
  };
  std::vector<std::string> candidates(const std::string& file) const;
  const Opened& open(const std::string& file);
  Found open(const std::string& file, const std::string& dataset);

  std::string path_;
  SourceContext context_;
  std::string opened_name_;
  Opened opened_;  // the last one: mappings of a file follow each other
  std::map<std::pair<std::string, std::string>, Found> found_;
};

}  // namespace bunchtrain::data
