// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The type of edges in exact float32.

namespace bunchtrain {

/// A float that products do not round: a plain float takes part in them as tf32.
struct ExactFloat {
  float value;
};

}  // namespace bunchtrain
