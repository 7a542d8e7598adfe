// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include <utility>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/storage.cuh"
#include "knn_kernels.hpp"
#include "neighbour_keys.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kMaxThreads = 128;    // queries of a block
constexpr int kDimsChunk = 16;      // coordinates staged at a time if a point has many
constexpr int kResidentTile = 128;  // candidates staged at a time if a point has few coordinates

/// Orders neighbours in float64 as FloatKey does in float32; both parts need a word of their own.
struct DoubleKey {
  static constexpr bool kExact = true;
  static constexpr std::uint64_t kInfinity = 0x7FF0000000000000u, kNan = 0x7FF8000000000000u,
                                 kPadded = 0x7FFC000000000000u;

  std::uint64_t rank;
  std::int64_t position;

  static __device__ DoubleKey number(double squared_distance, int index) {
    const auto bits =
        static_cast<std::uint64_t>(__double_as_longlong(squared_distance)) & 0x7FFFFFFFFFFFFFFFu;
    return {bits < kNan ? bits : kNan, index};
  }
  static __device__ DoubleKey padded(int index) { return {kPadded, index}; }
  static __device__ DoubleKey excluded() { return {~std::uint64_t{0}, -1}; }
  static __device__ DoubleKey first() { return {0, -1}; }

  __device__ bool before(const DoubleKey& other) const {
    return rank < other.rank || (rank == other.rank && position < other.position);
  }
  __device__ int index() const { return static_cast<int>(position); }
  __device__ double squared_distance() const {
    return __longlong_as_double(static_cast<long long>(rank >= kPadded ? kInfinity : rank));
  }
};

/// Sorts `candidates` and keeps the K smallest of them and of the sorted `best` there, sorted; the others are left in
/// `candidates`.
template <int K, class Key>
__device__ __forceinline__ void merge_batch(Key (&best)[K], Key (&candidates)[K]) {
  run_network<SortNetwork<K>>(candidates);
#pragma unroll
  for (int i = 0; i < K; ++i) exchange(best[i], candidates[K - 1 - i]);
  run_network<MergeNetwork<K>>(best);
}

/// Coordinates [dims, candidates] of a tile, and which of its points are real.
template <class Real, int kDims, int kCandidates>
struct Tile {
  Real coordinates[kDims][kCandidates];
  bool real[kCandidates];
};

template <class Real>
__device__ bool is_real(const KnnArguments<Real>& a, int point) {
  if (a.mask) return a.mask[static_cast<std::size_t>(blockIdx.y) * a.num_points + point];
  return !a.counts || point < a.counts[blockIdx.y];
}

/// All threads: copies coordinates [first_dim, first_dim + kDims) of the candidates [first, first +
/// kCandidates), zero past the ends.
template <class Real, int kDims, int kCandidates>
__device__ void stage(const KnnArguments<Real>& a, const Real* set, int first, int first_dim,
                      Tile<Real, kDims, kCandidates>& tile) {
  __syncthreads();  // the tile before is no longer read
  for (int e = threadIdx.x; e < kDims * kCandidates; e += blockDim.x) {
    const int candidate = e / kDims, d = e % kDims;
    const bool inside = first + candidate < a.num_points && first_dim + d < a.dims;
    tile.coordinates[d][candidate] =
        inside ? set[static_cast<std::size_t>(first + candidate) * a.dims + first_dim + d] : Real{0};
  }
  for (int candidate = threadIdx.x; candidate < kCandidates; candidate += blockDim.x)
    tile.real[candidate] = first + candidate < a.num_points && is_real(a, first + candidate);
  __syncthreads();
}

/// One thread's query and the neighbours it has found so far.
template <class Real, class Key, int K>
struct Query {
  int point;
  bool real;
  Key floor;  ///< of exact keys: neighbours up to here were written in earlier passes
  Key next;   ///< of short keys: the first that is not among the best
  Key best[K];

  __device__ explicit Query(const KnnArguments<Real>& a)
      : point(static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x)),
        real(point < a.num_points && is_real(a, point)),
        next(Key::excluded()) {
    if constexpr (Key::kExact) floor = Key::first();
  }

  /// Takes K candidates of which the squared distances are known.
  template <class AnyTile>
  __device__ __forceinline__ void take(const Real (&sums)[K], const AnyTile& tile, int in_tile, int first,
                                       int limit) {
    Key keys[K];
#pragma unroll
    for (int j = 0; j < K; ++j) {
      const int candidate = first + j;
      keys[j] = real && tile.real[in_tile + j] ? Key::number(sums[j], candidate) : Key::padded(candidate);
      bool excluded = candidate == point || candidate >= limit;
      if constexpr (Key::kExact) excluded = excluded || !floor.before(keys[j]);
      if (excluded) keys[j] = Key::excluded();
    }
    merge_batch(best, keys);
    if constexpr (!Key::kExact) {
#pragma unroll
      for (int j = 0; j < K; ++j) next.value = min(next.value, keys[j].value);
    }
  }
};

template <class Real, int K>
__device__ __forceinline__ void add_squares(Real coordinate, const Real* candidates, Real (&sums)[K]) {
#pragma unroll
  for (int j = 0; j < K; ++j) {
    const Real difference = coordinate - candidates[j];
    sums[j] = fma(difference, difference, sums[j]);  // the one rounding per coordinate that the CPU has too
  }
}

/// Points of at most kDims coordinates: the query stays in registers, a tile serves many batches.
template <int kDims, class Real, class Key, int K>
__device__ void scan_few_dims(const KnnArguments<Real>& a, const Real* set, int limit,
                              Query<Real, Key, K>& query) {
  __shared__ Tile<Real, kDims, kResidentTile> tile;
  Real own[kDims];
#pragma unroll
  for (int d = 0; d < kDims; ++d)
    own[d] = query.point < a.num_points && d < a.dims
                 ? set[static_cast<std::size_t>(query.point) * a.dims + d]
                 : Real{0};
  for (int first = 0; first < limit; first += kResidentTile) {
    stage(a, set, first, 0, tile);
    for (int in_tile = 0; in_tile < kResidentTile && first + in_tile < limit; in_tile += K) {
      Real sums[K] = {};
#pragma unroll
      for (int d = 0; d < kDims; ++d) add_squares(own[d], tile.coordinates[d] + in_tile, sums);
      query.take(sums, tile, in_tile, first + in_tile, limit);
    }
  }
}

/// A query's coordinates [0, dims) from `own` on, zero beyond; in loads of 16 bytes where `packs` allows it.
template <class Real>
__device__ __forceinline__ void load_chunk(const Real* own, int dims, bool packs, Real (&chunk)[kDimsChunk]) {
  constexpr int kPerLoad = device::kPack<Real>;
  if (packs && dims == kDimsChunk) {
#pragma unroll
    for (int i = 0; i < kDimsChunk / kPerLoad; ++i) {
      const auto pack = reinterpret_cast<const device::Pack<Real, kPerLoad>*>(own)[i];
#pragma unroll
      for (int j = 0; j < kPerLoad; ++j) chunk[i * kPerLoad + j] = pack.values[j];
    }
    return;
  }
#pragma unroll
  for (int d = 0; d < kDimsChunk; ++d) chunk[d] = d < dims ? own[d] : Real{0};
}

/// Points of any number of coordinates: both sides pass through in chunks, the candidates' through shared memory,
/// the query's through registers.
template <class Real, class Key, int K>
__device__ void scan_many_dims(const KnnArguments<Real>& a, const Real* set, int limit,
                               Query<Real, Key, K>& query) {
  __shared__ Tile<Real, kDimsChunk, K> tile;
  const Real* own = set + static_cast<std::size_t>(min(query.point, a.num_points - 1)) * a.dims;
  const bool packs = a.dims % device::kPack<Real> == 0 && device::is_packable(a.points);
  for (int first = 0; first < limit; first += K) {
    Real sums[K] = {};
    for (int first_dim = 0; first_dim < a.dims; first_dim += kDimsChunk) {
      const int dims = min(kDimsChunk, a.dims - first_dim);
      Real chunk[kDimsChunk];
      load_chunk(own + first_dim, dims, packs, chunk);
      stage(a, set, first, first_dim, tile);
#pragma unroll
      for (int d = 0; d < kDimsChunk; ++d) {
        if (d >= dims) break;
        add_squares(chunk[d], tile.coordinates[d], sums);
      }
    }
    query.take(sums, tile, 0, first, limit);
  }
}

/// One pass over the candidates.
template <int kDims, class Real, class Key, int K>
__device__ void scan(const KnnArguments<Real>& a, Query<Real, Key, K>& query) {
  const Real* set = a.points + static_cast<std::size_t>(blockIdx.y) * a.num_points * a.dims;
  // Beyond the real points only the first few padded ones can be neighbours.
  const int limit = a.counts ? min(a.num_points, a.counts[blockIdx.y] + a.k + 1) : a.num_points;
#pragma unroll
  for (int n = 0; n < K; ++n) query.best[n] = Key::excluded();
  if constexpr (kDims > 0) {
    scan_few_dims<kDims>(a, set, limit, query);
  } else {
    scan_many_dims(a, set, limit, query);
  }
}

/// The neighbours from number `written` on.
template <class Real, class Key, int K>
__device__ void write(const KnnArguments<Real>& a, int point, int written, const Key (&best)[K]) {
  if (point >= a.num_points) return;
  const std::size_t row = (static_cast<std::size_t>(blockIdx.y) * a.num_points + point) * a.k;
#pragma unroll
  for (int n = 0; n < K; ++n) {
    if (written + n >= a.k) break;
    a.indices[row + written + n] = best[n].index();
    if constexpr (Key::kExact) {
      if (a.squared_distances) a.squared_distances[row + written + n] = best[n].squared_distance();
    }
  }
}

template <int kDims, class Real, class Key, int K>
__device__ void find(const KnnArguments<Real>& a, Query<Real, Key, K>& query) {
  for (int written = 0; written < a.k; written += K) {
    scan<kDims>(a, query);
    write(a, query.point, written, query.best);
    query.floor = query.best[K - 1];
  }
}

// Neighbours inside small sets.
//
//   formula    the k smallest of (sum_d (x_i[d] - x_j[d])^2, j) over j != i, the sum fused, d ascending
//
//   tiling     grid (queries / block, sets); a thread owns a query and keeps its K best keys, sorted, in
//              registers; K candidates at a time are sorted by a network and merged; k > K takes further
//              passes above the last key found
//
//   shared     few dims: 128 * (sizeof(Real) * kDims + 1) bytes (1.1 to 8.3 KB);
//              many dims: K * (16 * sizeof(Real) + 1) bytes (0.5 to 2.1 KB)
//
//   bound      integer issue at small D (about 15 P compare-exchanges of 64 bits per query for k = 16);
//              FP32 issue from D = 32 or so: 2 P D instructions per query
//
//   registers  see benchmarks/results/sass.md; no spills
template <class Real, class Key, int K, int kDims>
__global__ void __launch_bounds__(kMaxThreads) knn_kernel(KnnArguments<Real> a) {
  Query<Real, Key, K> query(a);
  find<kDims>(a, query);
}

/// Neighbours by short keys, put in order by their exact distances. Seldom run: small code is what counts.
template <int K>
__device__ void sort_exactly(const KnnArguments<float>& a, int point, const ShortKey (&best)[K],
                             FloatKey (&exact)[K]) {
  const float* set = a.points + static_cast<std::size_t>(blockIdx.y) * a.num_points * a.dims;
  float sums[K] = {};
#pragma unroll 1
  for (int d = 0; d < a.dims; ++d) {
    const float own = set[static_cast<std::size_t>(point) * a.dims + d];
#pragma unroll
    for (int n = 0; n < K; ++n) {
      if (!best[n].is_number()) continue;  // padded points are not read
      const float difference = own - set[static_cast<std::size_t>(best[n].index()) * a.dims + d];
      sums[n] = fma(difference, difference, sums[n]);
    }
  }
#pragma unroll
  for (int n = 0; n < K; ++n) {
    const int index = best[n].index();
    exact[n] = n >= a.k              ? FloatKey::excluded()
               : best[n].is_padded() ? FloatKey::padded(index)
               : best[n].is_number() ? FloatKey::number(sums[n], index)
                                     : FloatKey::number(__uint_as_float(kNanBits), index);
  }
  run_network<SortNetwork<K>>(exact);
}

// The same with short keys, for at most ShortKey::kMaxPoints points, k <= K and no distances wanted.
//
//   tiling     as above. Where two of a query's neighbours have the same rounded distance it sorts them by the exact
//              ones; where the k-th has that of the next the block starts again with exact keys: of random points
//              0.2 % of the queries do the first, 1 % of the blocks the second
//
//   bound      integer issue at small D: 222 minima and maxima per 16 candidates, with 64-bit keys 1,030 instructions
template <int K, int kDims>
__global__ void __launch_bounds__(kMaxThreads) short_knn_kernel(KnnArguments<float> a) {
  __shared__ bool again;
  Query<float, ShortKey, K> query(a);
  if (threadIdx.x == 0) again = false;
  scan<kDims>(a, query);
  bool tied = false, tied_beyond = false;
#pragma unroll
  for (int n = 0; n < K; ++n) {
    const ShortKey next = n + 1 < K ? query.best[n + 1 < K ? n + 1 : n] : query.next;
    const bool ties = n < a.k && query.best[n].ties_with(next);
    tied = tied || (ties && n + 1 < a.k);
    tied_beyond = tied_beyond || (ties && n + 1 == a.k);
  }
  if (tied_beyond && query.point < a.num_points) again = true;
  __syncthreads();
  if (again) {
    Query<float, FloatKey, K> exact(a);
    find<kDims>(a, exact);
  } else if (tied && query.point < a.num_points) {
    FloatKey exact[K];
    sort_exactly(a, query.point, query.best, exact);
    write(a, query.point, 0, exact);
  } else {
    write(a, query.point, 0, query.best);
  }
}

template <class Real>
void start(void (*kernel)(KnnArguments<Real>), const KnnArguments<Real>& a, cudaStream_t stream) {
  const int threads = min(kMaxThreads, (a.num_points + 31) / 32 * 32);
  const auto blocks =
      device::blocks_for(static_cast<std::size_t>(a.num_points), static_cast<std::size_t>(threads));
  constexpr int kMaxSets = 65535;  // what a grid may have in y
  for (int first = 0; first < a.sets; first += kMaxSets) {
    KnnArguments<Real> part = a;
    const auto points = static_cast<std::size_t>(first) * a.num_points;
    part.sets = min(kMaxSets, a.sets - first);
    part.points += points * a.dims;
    part.indices += points * a.k;
    if (a.mask) part.mask += points;
    if (a.counts) part.counts += first;
    if (a.squared_distances) part.squared_distances += points * a.k;
    device::launch(kernel,
                   {dim3(blocks, static_cast<unsigned>(part.sets)), dim3(static_cast<unsigned>(threads))},
                   stream, part);
  }
}

template <class Real, class Key, int K>
void start_for_dims(const KnnArguments<Real>& a, cudaStream_t stream) {
  if (a.dims <= 2) return start(knn_kernel<Real, Key, K, 2>, a, stream);
  if (a.dims <= 4) return start(knn_kernel<Real, Key, K, 4>, a, stream);
  if (a.dims <= 8) return start(knn_kernel<Real, Key, K, 8>, a, stream);
  start(knn_kernel<Real, Key, K, 0>, a, stream);
}

template <int K>
void start_short_for_dims(const KnnArguments<float>& a, cudaStream_t stream) {
  if (a.dims <= 2) return start(short_knn_kernel<K, 2>, a, stream);
  if (a.dims <= 4) return start(short_knn_kernel<K, 4>, a, stream);
  if (a.dims <= 8) return start(short_knn_kernel<K, 8>, a, stream);
  start(short_knn_kernel<K, 0>, a, stream);
}

}  // namespace

void launch_knn(const KnnArguments<float>& a, cudaStream_t stream) {
  if (a.num_points <= ShortKey::kMaxPoints && a.k <= 16 && a.squared_distances == nullptr)
    return a.k <= 8 ? start_short_for_dims<8>(a, stream) : start_short_for_dims<16>(a, stream);
  if (a.k <= 8) return start_for_dims<float, FloatKey, 8>(a, stream);
  if (a.k <= 16) return start_for_dims<float, FloatKey, 16>(a, stream);
  start_for_dims<float, FloatKey, 32>(a, stream);
}

void launch_knn(const KnnArguments<double>& arguments, cudaStream_t stream) {
  start_for_dims<double, DoubleKey, 8>(arguments, stream);
}

}  // namespace bunchtrain::ops::detail
