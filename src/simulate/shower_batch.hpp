// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Many showers as tensors.

#include <cstdint>

#include "bunchtrain/tensor/named_tensors.hpp"
#include "shower_generator.hpp"

namespace bunchtrain::simulate {

enum class Threads {
  one,  ///< the caller's: for loaders, which call from several threads
  all   ///< LibTorch's
};

/// The tensors of `make_gflash_showers`, the same for both values of `threads`.
NamedTensors make_shower_batch(const ShowerGenerator& generator, std::int64_t first, std::int64_t count,
                               Threads threads);

}  // namespace bunchtrain::simulate
