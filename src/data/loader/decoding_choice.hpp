// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether a loader's samples are made by the host or by its device.

#include <string>

#include "bunchtrain/data/data_loader.hpp"

namespace bunchtrain::data {

struct DecodingChoice {
  bool on_device = false;
  std::string note = {};  ///< said once; empty: nothing
};

/// @param options with a collation. @throws ConfigError with the reason if the device is asked for and cannot
DecodingChoice choose_decoding(const Dataset& dataset, const DataLoaderOptions& options);

}  // namespace bunchtrain::data
