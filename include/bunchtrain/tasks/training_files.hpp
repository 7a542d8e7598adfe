// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files of a training, whatever lies in them.

#include <string>
#include <vector>

#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::tasks {

struct TrainingFiles {
  /// HDF5 files to train on, globs expanded; "NAME=FILE": jets of that class.
  std::vector<std::string> data = {};
  std::vector<std::string> valid = {};  ///< to validate on; empty: a part of `data` is split off
  std::string card = "auto";            ///< a built-in name, a .toml file, or auto to recognise the layout
  double valid_fraction = 0;            ///< share of `data` kept for validation; 0 = the card's
  bool hash_data = false;               ///< hash whole files, so that any change in them is noticed
  data::IoEngine io = data::IoEngine::automatic;  ///< which engine fetches the bytes of the files
  bool hdf5_plugins = false;  ///< allow filter plug-ins, which load code that a file names

  bool operator==(const TrainingFiles&) const = default;
};

}  // namespace bunchtrain::tasks
