// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which HDF5 type a tensor's elements have.

#include <c10/core/ScalarType.h>

#include "hdf5_library.hpp"

namespace bunchtrain::hdf5 {

/// The in-memory type of `type`; booleans are stored as 8-bit integers. @throws ConfigError for types HDF5
/// has no room for.
Datatype type_of(c10::ScalarType type);

}  // namespace bunchtrain::hdf5
