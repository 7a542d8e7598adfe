// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether kernels of ours compute what LibTorch has operations for, as a whole: for the day when one of them is suspected.

#include <string_view>

namespace bunchtrain::ops {

/// Of EdgeConv, sums over neighbours, batch norm and sample norm of rows, and convolutions, on the CPU and on GPUs alike. What has
/// no counterpart in LibTorch stays ours: kNN, dropout and other numbers keyed by sample, optimizers, data.
enum class Kernels {
  automatic,  ///< ours, where they take a call and (convolutions on a GPU) are not slower
  libtorch,   ///< LibTorch's operations: slower, with more memory, the same to rounding. On a GPU sums over
              ///< neighbours in backward use atomics, so that last bits differ from run to run
};

/// "auto" or "libtorch". @throws ConfigError with the names allowed.
Kernels parse_kernels(std::string_view text);
std::string_view to_string(Kernels kernels) noexcept;

/// What holds in this process, in all of its threads.
Kernels kernels() noexcept;

/// A choice for the whole process, put back at its end. Make and end it where nothing is computed.
class KernelsGuard {
 public:
  explicit KernelsGuard(Kernels kernels) noexcept;
  ~KernelsGuard();
  KernelsGuard(const KernelsGuard&) = delete;
  KernelsGuard& operator=(const KernelsGuard&) = delete;

 private:
  Kernels before_;
};

}  // namespace bunchtrain::ops
