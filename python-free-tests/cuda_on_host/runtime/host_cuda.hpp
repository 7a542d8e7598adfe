// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs CUDA kernels on the host, one fiber per thread, and turns misuse of barriers and
/// warp operations into errors.
///
/// Only for tests. The blocks of a grid run one after the other, in an order that a test chooses, the threads
/// of a block in a random order that a seed fixes; a thread runs until it meets a barrier or a warp
/// operation. So a missing barrier shows as a wrong result for some seed, and a barrier or shuffle that
/// hardware would hang on, or answer with garbage, throws `Misuse` from `run_grid`. Shared memory holds NaN
/// when a block starts, whatever the block before left there.

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

/// Order in which threads run, and blocks in random order; the same seed gives the same order.
void set_seed(std::uint64_t seed);

/// Order in which the blocks of later grids run. Hardware promises none.
enum class BlockOrder { ascending, descending, random };
void set_block_order(BlockOrder order);
inline constexpr BlockOrder kBlockOrders[] = {BlockOrder::ascending, BlockOrder::descending,
                                              BlockOrder::random};

/// Shared memory, static and dynamic together, that a block may have without asking for more.
inline constexpr std::size_t kPlainSharedBytes = 48 * 1024;
/// And with (compute capability 9.0).
inline constexpr std::size_t kLargeSharedBytes = 227 * 1024;

struct GridConfig {
  Dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  std::size_t max_shared_bytes = kPlainSharedBytes;
};

/// Runs `thread_body` once per thread of the grid. @throws Misuse, and what a thread throws.
void run_grid(const GridConfig& config, const std::function<void()>& thread_body);

/// Dynamic shared memory of the current block.
std::byte* dynamic_shared();

/// Bytes of variables declared __shared__ that the first block of the last grid wrote.
std::size_t static_shared_bytes();

/// Every thread of the block must come here before any goes on.
void block_barrier(std::source_location where);

enum class WarpOperation { sync, shuffle, ballot, reduce, mma, ldmatrix };

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

/// Throws Misuse unless `bytes` at `address` are the block's shared memory, aligned to as many.
void require_shared(const void* address, std::size_t bytes, std::source_location where);

/// A copy to shared memory that has been started; zeros are written if `from` is nullptr.
struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes;
  std::source_location where;
};

/// As cp.async and its groups. A copy is done when its thread waits for it: until then the target is NaN. A
/// thread that returns before is in error.
void start_copy(const AsyncCopy& copy);
void commit_copies();
void wait_for_copies(std::size_t groups_left);

/// Throws Misuse with a message that names the current thread.
[[noreturn]] void fail(const char* what, std::source_location where);

}  // namespace bunchtrain::host_cuda
