// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include <utility>

#include "bunchtrain/device/detail/launch.cuh"
#include "neighbour_keys.cuh"
#include "ragged_blocks.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kBatch = 16;        // candidates merged at a time
constexpr int kBetweenVotes = 4;  // candidates looked at before lanes ask each other who has a batch
constexpr int kPendingPlaces = kBatch + kBetweenVotes - 1;
constexpr int kBestStride = kWarp + 1;  // lanes write columns and read rows without conflicts of banks
constexpr std::uint64_t kInfiniteKey = std::uint64_t{0x7F800000u + kRankBias} << 32;

/// Shared memory of a warp, beside the best.
template <int kDims>
struct Shared {
  FloatKey pending[kPendingPlaces][kWarp];
  float coordinates[kDims][kPointsPerBlock];  ///< of the block that is looked at
  std::int32_t indices[kPointsPerBlock];
};

/// Sorts `count` keys, at most a batch, into a lane's ascending column of k best, rounded up to batches. Returns the
/// k-th. Not inlined: it is called from several places and most of the code.
__device__ __noinline__ FloatKey merge_batch(FloatKey* best, const FloatKey* keys, int count, int k) {
  FloatKey rest[kBatch], low[kBatch], high[kBatch];
#pragma unroll
  for (int i = 0; i < kBatch; ++i) rest[i] = i < count ? keys[i * kWarp] : FloatKey::excluded();
  run_network<SortNetwork<kBatch>>(rest);
  for (int first = 0; first < k; first += kBatch, best += kBatch * kBestStride) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      low[i] = best[i * kBestStride];
      high[i] = rest[kBatch - 1 - i];
      exchange(low[i], high[i]);
    }
    run_network<MergeNetwork<kBatch>>(low);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) best[i * kBestStride] = low[i];
    if (first + kBatch >= k) return best[(k - 1 - first) * kBestStride];
    run_network<MergeNetwork<kBatch>>(high);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) rest[i] = high[i];
  }
  return FloatKey::excluded();
}

/// A query per lane, and what it has found.
template <int kDims>
struct Query {
  const RaggedBlocks& blocks;
  Shared<kDims>& shared;
  FloatKey* best;  ///< [k rounded up, kBestStride] ascending, a query per column
  int k, lane;
  std::int32_t point;  ///< -1: none
  float x[kDims] = {};
  float own_low[kDims] = {}, own_high[kDims] = {};  ///< of all lanes' queries
  int pending = 0;
  float threshold = 0;            ///< squared distance of the k-th
  FloatKey kth = {}, worst = {};  ///< own, and the last of all lanes

  __device__ void start() {
    for (int n = 0; n < (k + kBatch - 1) / kBatch * kBatch; ++n)
      best[n * kBestStride + lane] = FloatKey::excluded();
    kth = point < 0 ? FloatKey::first() : FloatKey::excluded();
    threshold = point < 0 ? -1.0F : kth.squared_distance();
    worst = FloatKey::excluded();
  }

  /// Moves up to a batch of each lane's candidates to its best.
  __device__ __forceinline__ void merge() {
    const int count = min(pending, kBatch);
    pending -= count;
    const FloatKey last = merge_batch(best + lane, &shared.pending[pending][lane], count, k);
    if (point >= 0) {
      kth = last;
      threshold = kth.squared_distance();
    }
    worst.value = warp_max(kth.value);
  }

  __device__ void add(FloatKey key) { shared.pending[pending++][lane] = key; }

  /// Adds what a block holds within the threshold. All lanes.
  __device__ void scan(std::int64_t block) {
    __syncwarp();  // the block before is no longer read
#pragma unroll
    for (int d = 0; d < kDims; ++d)
      shared.coordinates[d][lane] = blocks.coordinates[(block * kDims + d) * kPointsPerBlock + lane];
    shared.indices[lane] = blocks.indices[block * kPointsPerBlock + lane];
    __syncwarp();
    for (int first = 0; first < kPointsPerBlock; first += kBetweenVotes) {
      float sums[kBetweenVotes] = {};
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
#pragma unroll
        for (int j = 0; j < kBetweenVotes; ++j) {
          const float difference = x[d] - shared.coordinates[d][first + j];
          sums[j] = fma(difference, difference, sums[j]);
        }
      }
#pragma unroll
      for (int j = 0; j < kBetweenVotes; ++j) {
        const std::int32_t index = shared.indices[first + j];
        // Where there is no point coordinates are NaN and never within.
        if (sums[j] <= threshold && index != point) add(FloatKey::number(sums[j], index));
      }
      if (__any_sync(kFullWarp, pending >= kBatch)) merge();
    }
  }

  /// No point of a block comes before this key, seen from anywhere between two corners: rounding is monotonous,
  /// so a sum of rounded squared gaps is never above the sum for a point inside.
  __device__ FloatKey bound(std::int64_t block, const float (&low)[kDims], const float (&high)[kDims]) const {
    float sum = 0;
#pragma unroll
    for (int d = 0; d < kDims; ++d) {
      const std::int64_t at = d * blocks.most_blocks + block;
      const float gap = max(max(blocks.box_low[at] - high[d], low[d] - blocks.box_high[at]), 0.0F);
      sum = fma(gap, gap, sum);
    }
    return FloatKey::number(sum, static_cast<int>(blocks.lowest[block]));
  }

  /// Looks at those of 32 blocks from `chunk` on, [first, last) of them in the set, that may hold a neighbour of
  /// some lane: the nearest to the own block first.
  __device__ void visit(std::int64_t chunk, std::int64_t first, std::int64_t last, bool ascending) {
    const std::int64_t mine = chunk + lane;
    const bool wanted = mine >= first && mine < last && !worst.before(bound(mine, own_low, own_high));
    for (unsigned rest = __ballot_sync(kFullWarp, wanted); rest != 0;) {
      const int next = ascending ? __ffs(static_cast<int>(rest)) - 1 : 31 - __clz(static_cast<int>(rest));
      rest &= ~(1u << next);
      const bool near = point >= 0 && !kth.before(bound(chunk + next, x, x));
      if (__any_sync(kFullWarp, near)) scan(chunk + next);
    }
  }
};

/// Points with an infinite or NaN coordinate are candidates only of queries that found no k at finite distances;
/// they stand behind the set's finite points, by index. The first k of each kind are enough.
template <int kDims>
__device__ void add_odd_points(Query<kDims>& query, const float* points, std::int64_t begin,
                               std::int64_t end) {
  int infinite = 0, nan = 0;
  for (std::int64_t place = begin; place < end && (infinite < query.k || nan < query.k); ++place) {
    const std::int32_t index = query.blocks.order[place];
    bool has_nan = false;
    for (int d = 0; d < query.blocks.dims; ++d)
      has_nan = has_nan || is_nan(points[std::int64_t{index} * query.blocks.dims + d]);
    if ((has_nan ? nan : infinite)++ >= query.k) continue;
    if (query.point >= 0)
      query.add(FloatKey::number(__uint_as_float(has_nan ? kNanBits : 0x7F800000u), index));
    if (__any_sync(kFullWarp, query.pending >= kBatch)) query.merge();
  }
  query.merge();
}

// The search.
//
//   formula    the k smallest of (sum_d (x_i[d] - x_j[d])^2, j) over j != i of the set, the sum fused, d ascending
//
//   tiling     a warp, which is a block of threads, per block of points; a lane owns a query. Blocks of the set are
//              looked at from the own one outwards, 32 boxes at a time, a lane per box; what is within a lane's
//              threshold waits in shared memory until some lane has a batch, which networks in registers merge
//              into the k best
//
//   shared     (264 K + 4992 + 128 D) bytes, K = k rounded up to 16: 17 KB at k = 40, D = 3
//
//   bound      integer issue of the merges (about 2,100 instructions per batch of 16 at k = 40); kernels.md's
//              counts give 0.3 to 0.5 ms for 1e5 points in 3 dimensions, k = 40 (estimate)
template <int kDims>
__global__ void __launch_bounds__(kWarp) search_kernel(RaggedKnnArguments a, RaggedBlocks blocks) {
  const std::int64_t block = blockIdx.x;
  if (block >= blocks.first_blocks[blocks.sets]) return;
  __shared__ Shared<kDims> shared;
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t set = last_not_above(blocks.first_blocks, blocks.sets, block);
  Query<kDims> query{blocks, shared, device::dynamic_shared<FloatKey>(),
                     a.k,    lane,   blocks.indices[block * kPointsPerBlock + lane]};
  if (!__any_sync(kFullWarp, query.point >= 0)) return;
#pragma unroll
  for (int d = 0; d < kDims; ++d) {
    query.x[d] = blocks.coordinates[(block * kDims + d) * kPointsPerBlock + lane];
    query.own_low[d] = blocks.box_low[d * blocks.most_blocks + block];
    query.own_high[d] = blocks.box_high[d * blocks.most_blocks + block];
  }
  query.start();
  query.scan(block);
  const std::int64_t first = blocks.first_blocks[set], last = blocks.first_blocks[set + 1];
  for (std::int64_t above = block + 1, below = block - kWarp; above < last || below + kWarp > first;
       above += kWarp, below -= kWarp) {
    query.visit(above, first, last, true);
    query.visit(below, first, last, false);
  }
  query.merge();
  if (__any_sync(kFullWarp, query.point >= 0 && query.kth.value >= kInfiniteKey))
    add_odd_points(query, a.points, blocks.row_splits[set] + blocks.finite[set], blocks.row_splits[set + 1]);
  __syncwarp();
  for (int q = 0; q < kWarp; ++q) {
    const std::int32_t point = __shfl_sync(kFullWarp, query.point, q);
    if (point < 0) continue;
    for (int n = lane; n < a.k; n += kWarp) {
      const FloatKey key = query.best[n * kBestStride + q];
      a.indices[std::int64_t{point} * a.k + n] = key.index();
      if (a.squared_distances) a.squared_distances[std::int64_t{point} * a.k + n] = key.squared_distance();
    }
  }
}

// Rows of points with an infinite or NaN coordinate. Those with NaN are at a NaN distance of all, the others at an
// infinite one or, from others infinite in the same coordinate, at NaN: either way the smallest indices are the
// neighbours, numbers first.
//   tiling     a warp per point; most leave at once
//   bound      latency, unless a set is full of infinite coordinates
__global__ void odd_rows_kernel(RaggedKnnArguments a, RaggedBlocks blocks) {
  const std::int64_t own = std::int64_t{blockIdx.x} * (kPointThreads / kWarp) + threadIdx.x / kWarp;
  if (own >= a.num_points) return;
  const int lane = threadIdx.x % kWarp;
  const float* x = a.points + own * a.dims;
  bool finite = true, has_nan = false;
  for (int d = 0; d < a.dims; ++d) {
    finite = finite && is_finite(x[d]);
    has_nan = has_nan || is_nan(x[d]);
  }
  if (finite) return;
  const std::int64_t begin = blocks.row_splits[blocks.set_of[own]],
                     end = blocks.row_splits[blocks.set_of[own] + 1];
  int found = 0;
  for (int pass = 0; pass < 2; ++pass) {
    const bool wants_nan = pass == 1;
    for (std::int64_t first = begin; first < end && found < a.k && (wants_nan || !has_nan); first += kWarp) {
      const std::int64_t other = first + lane;
      float sum = 0;
      for (int d = 0; other < end && d < a.dims; ++d) {
        const float difference = x[d] - a.points[other * a.dims + d];
        sum = fma(difference, difference, sum);
      }
      const bool counts = other < end && other != own && is_nan(sum) == wants_nan;
      const unsigned all = __ballot_sync(kFullWarp, counts);
      const int n = found + __popc(all & ((1u << lane) - 1));
      if (counts && n < a.k) {
        a.indices[own * a.k + n] = static_cast<std::int32_t>(other);
        if (a.squared_distances)
          a.squared_distances[own * a.k + n] = wants_nan ? __uint_as_float(kNanBits) : sum;
      }
      found += __popc(all);
    }
  }
  for (int n = found + lane; n < a.k; n += kWarp) {
    a.indices[own * a.k + n] = -1;
    if (a.squared_distances) a.squared_distances[own * a.k + n] = __uint_as_float(0x7F800000u);
  }
}

template <int kDims>
void search(const RaggedKnnArguments& a, const RaggedBlocks& blocks, cudaStream_t stream) {
  const auto best = static_cast<std::size_t>((a.k + kBatch - 1) / kBatch * kBatch) * kBestStride;
  device::launch(search_kernel<kDims>,
                 {dim3(static_cast<unsigned>(blocks.most_blocks)), dim3(kWarp), best * sizeof(FloatKey)},
                 stream, a, blocks);
}

}  // namespace

std::int64_t ragged_knn_scratch_bytes(const RaggedKnnArguments& arguments) {
  RaggedBlocks blocks{};
  return lay_out(arguments, nullptr, blocks);
}

void launch_ragged_knn(const RaggedKnnArguments& a, void* scratch, cudaStream_t stream) {
  RaggedBlocks blocks{};
  lay_out(a, scratch, blocks);
  sort_into_blocks(a, blocks, stream);
  switch (blocks.stored_dims) {
    case 2:
      search<2>(a, blocks, stream);
      break;
    case 3:
      search<3>(a, blocks, stream);
      break;
    case 4:
      search<4>(a, blocks, stream);
      break;
    case 6:
      search<6>(a, blocks, stream);
      break;
    default:
      search<8>(a, blocks, stream);
  }
  device::launch(odd_rows_kernel, points_config(a.num_points * kWarp), stream, a, blocks);
}

}  // namespace bunchtrain::ops::detail
