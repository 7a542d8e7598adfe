// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs CUDA kernels on the host, one fiber per thread, and turns misuse of barriers and warp operations into
/// errors.
///
/// Only for tests. The blocks of a grid run one after the other, the threads of a block in a random order
/// that a seed fixes; a thread runs until it meets a barrier or a warp operation. So a missing barrier shows
/// as a wrong result for some seed, and a barrier or shuffle that hardware would hang on, or answer with
/// garbage, throws `Misuse` from `run_grid`.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>

namespace bunchtrain::host_cuda {

/// As CUDA's dim3 and uint3.
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// What the kernel did wrong, where, and which thread.
class Misuse : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Coordinates of the thread that runs now.
struct Coordinates {
  Dim3 thread, block, block_size, grid_size;
};
extern Coordinates current;

/// Order in which threads run; the same seed gives the same order.
void set_seed(std::uint64_t seed);

/// Runs `thread_body` once per thread of the grid. @throws Misuse, and what a thread throws.
void run_grid(Dim3 grid, Dim3 block, std::size_t shared_bytes, const std::function<void()>& thread_body);

/// Dynamic shared memory of the current block, filled with 0xFF (NaN) when a block starts.
std::byte* dynamic_shared();

/// Every thread of the block must come here before any goes on.
void block_barrier(std::source_location where);

enum class WarpOperation { sync, shuffle, ballot, reduce };

/// What the lanes of one warp operation brought.
struct WarpExchange {
  unsigned mask;
  std::uint64_t values[32];  ///< valid for the lanes of `mask`
};

/// Waits until all lanes of `mask` are at the same operation, and returns their values.
WarpExchange exchange(WarpOperation operation, unsigned mask, std::uint64_t value,
                      std::source_location where);

/// The current thread's lane.
unsigned lane();

/// Throws Misuse with a message that names the current thread.
[[noreturn]] void fail(const char* what, std::source_location where);

}  // namespace bunchtrain::host_cuda
