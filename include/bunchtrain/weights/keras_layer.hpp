// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One layer of a Keras model as its weight file stores it: no HDF5 here.

#include <string>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::weights {

/// A layer's arrays by their last name ("kernel", "bias", "gamma", "moving_mean"), in the file's layout:
/// kernels [x, y, z, in, out], dense [in, out].
struct KerasLayer {
  std::string name;  ///< with the groups it lies in: "sequential_1/conv3d_1"
  NamedTensors arrays;
};

}  // namespace bunchtrain::weights
