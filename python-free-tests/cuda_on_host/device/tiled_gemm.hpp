// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A matrix product as a kernel of ours would do it: ring of asynchronous copies, ldmatrix, mma. Compiled for
/// the host and for GPUs.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace bunchtrain::test {

struct GemmSizes {
  std::int64_t m, n, k;
};

enum class GemmOperand {
  bfloat16,  ///< a [m, k], b [k, n]
  float16,   ///< the same
  tf32,      ///< a [m, k], b [n, k] of float, rounded by to_tf32
};

/// What the kernel does wrong.
enum class GemmMistake { none, forgets_to_wait, waits_for_too_few, forgets_the_barrier };

/// c [m, n] = a b. Rows of a and b are multiples of 16 bytes long.
void launch_gemm(GemmOperand operand, GemmMistake mistake, const GemmSizes& sizes, const void* a,
                 const void* b, float* c, cudaStream_t stream);

/// One m16n8k16 (tf32: m16n8k8) with fragments filled element by element after the tables of the PTX manual;
/// layouts as above, no rounding to tf32.
void launch_single_mma(GemmOperand operand, const void* a, const void* b, float* c, cudaStream_t stream);

}  // namespace bunchtrain::test
