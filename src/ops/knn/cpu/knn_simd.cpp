// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "knn/cpu/knn_simd.cpp"
// Left out: processors without a fused multiply-add (they get the plain loop:
// all must find the same bits), and vectors of unknown size, which cannot be
// kept in arrays (such processors use their fixed-size set, NEON).
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "../knn_key.hpp"
#include "knn_cpu.hpp"
#include "sorting_network.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void select_nearest_keys(const PointSet<float>& set, std::int64_t count, std::vector<std::uint64_t>& keys) {
  select_nearest_keys_plain(set, count, keys);
}

#else
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Ranks = hn::ScalableTag<std::uint32_t>;
using Keys = hn::ScalableTag<std::uint64_t>;
using KeyDoubles = hn::ScalableTag<double>;
using FloatVector = hn::Vec<Floats>;
using RankVector = hn::Vec<Ranks>;
using KeyVector = hn::Vec<KeyDoubles>;

inline constexpr std::int64_t kLanes = hn::MaxLanes(Floats());  // queries handled side by side
// Candidates whose distances are summed side by side.
inline constexpr std::int64_t kRowBlock = kLanes < 8 ? kLanes : 8;

/// Squared distance to rank (knn_key.hpp).
HWY_INLINE hn::Vec<Ranks> to_rank(FloatVector squared_distance) {
  const Ranks ranks;
  const auto bits = hn::And(hn::BitCast(ranks, squared_distance), hn::Set(ranks, 0x7FFFFFFFu));
  return hn::Add(hn::Min(bits, hn::Set(ranks, kNanBits)), hn::Set(ranks, kRankBias));
}

/// The coordinates of a set's real points, in panels of kLanes points: [panel,
/// D, lane], zero past the last point. A vector load gives one coordinate of
/// kLanes queries, a broadcast of an element that of one candidate.
struct Coordinates {
  std::int64_t size;  ///< n real points
  std::int64_t dims;  ///< D
  const float* panels;

  const float* panel_of(std::int64_t point) const { return panels + point / kLanes * kLanes * dims; }
};

/// Ranks of the distances from candidates [first, first + kRowBlock) to one
/// vector of queries.
HWY_INLINE void rank_block(const Coordinates& coordinates, std::int64_t query, std::int64_t first,
                           std::uint32_t* ranks) {
  const Floats tag;
  FloatVector sums[kRowBlock];
#pragma GCC unroll 32
  for (std::int64_t j = 0; j < kRowBlock; ++j) sums[j] = hn::Zero(tag);
  const float* queries = coordinates.panel_of(query);
  const float* candidates = coordinates.panel_of(first) + first % kLanes;
  for (std::int64_t d = 0; d < coordinates.dims; ++d, queries += kLanes, candidates += kLanes) {
    const FloatVector coordinate = hn::LoadU(tag, queries);
#pragma GCC unroll 32
    for (std::int64_t j = 0; j < kRowBlock; ++j) {
      const FloatVector difference = hn::Sub(coordinate, hn::Set(tag, candidates[j]));
      sums[j] = hn::MulAdd(difference, difference, sums[j]);
    }
  }
#pragma GCC unroll 32
  for (std::int64_t j = 0; j < kRowBlock; ++j) hn::StoreU(to_rank(sums[j]), Ranks(), ranks + j * kLanes);
}

/// `to[i][j] = from[j][i]`, [kLanes, kLanes].
HWY_INLINE void transpose(const std::uint32_t* from, std::uint32_t* to) {
  const Ranks tag;
  const Keys pairs;
  HWY_ALIGN std::uint32_t columns[4][kLanes];
  const auto store = [&](auto a, auto b, std::uint32_t* lower, std::uint32_t* upper) HWY_ATTR {
    hn::Store(hn::BitCast(tag, hn::InterleaveLower(pairs, hn::BitCast(pairs, a), hn::BitCast(pairs, b))), tag,
              lower);
    hn::Store(hn::BitCast(tag, hn::InterleaveUpper(pairs, hn::BitCast(pairs, a), hn::BitCast(pairs, b))), tag,
              upper);
  };
  for (std::int64_t row = 0; row < kLanes; row += 4, from += 4 * kLanes) {
    const auto a = hn::LoadU(tag, from), b = hn::LoadU(tag, from + kLanes);
    const auto c = hn::LoadU(tag, from + 2 * kLanes), d = hn::LoadU(tag, from + 3 * kLanes);
    store(hn::InterleaveLower(tag, a, b), hn::InterleaveLower(tag, c, d), columns[0], columns[1]);
    store(hn::InterleaveUpper(tag, a, b), hn::InterleaveUpper(tag, c, d), columns[2], columns[3]);
    for (std::int64_t column = 0; column < kLanes; ++column)
      std::copy_n(columns[column % 4] + column / 4 * 4, 4, to + column * kLanes + row);
  }
}

/// Ranks of all candidates for all queries, a vector of queries after another:
/// [groups, rows rounded up, kLanes]. Distances are the same both ways, to the
/// last bit: half of them are computed, the others turned.
void rank_both_ways(const Coordinates& coordinates, std::int64_t padded_rows, std::uint32_t* ranks) {
  const std::int64_t of_group = padded_rows * kLanes;
  for (std::int64_t query = 0; query < coordinates.size; query += kLanes) {
    std::uint32_t* group = ranks + query / kLanes * of_group;
    for (std::int64_t first = query; first < coordinates.size; first += kLanes) {
      for (std::int64_t row = first; row < first + kLanes; row += kRowBlock)
        rank_block(coordinates, query, row, group + row * kLanes);
      if (first != query)
        transpose(group + first * kLanes, ranks + first / kLanes * of_group + query * kLanes);
    }
  }
}

/// [rows rounded up, kLanes] ranks of all candidates for the queries [query,
/// query + kLanes).
HWY_INLINE void rank_group(const Coordinates& coordinates, std::int64_t query, std::uint32_t* ranks) {
  for (std::int64_t first = 0; first < coordinates.size; first += kRowBlock)
    rank_block(coordinates, query, first, ranks + first * kLanes);
}

/// Excludes the queries themselves and the rows past the last point.
HWY_INLINE void exclude(const Coordinates& coordinates, std::int64_t query, std::int64_t padded_rows,
                        std::uint32_t* ranks) {
  std::fill(ranks + coordinates.size * kLanes, ranks + padded_rows * kLanes, kExcludedRank);
  const std::int64_t queries = std::min(kLanes, coordinates.size - query);
  for (std::int64_t i = 0; i < queries; ++i) ranks[(query + i) * kLanes + i] = kExcludedRank;
}

template <class Vector>
HWY_INLINE void exchange(Vector& low, Vector& high) {
  const Vector smaller = hn::Min(low, high);
  high = hn::Max(low, high);
  low = smaller;
}

template <class Network, class Vector, std::size_t... I>
HWY_INLINE void run_network(Vector* values, std::index_sequence<I...>) {
  (exchange(values[Network::kList.comparators[I].low], values[Network::kList.comparators[I].high]), ...);
}

template <class Network, class Vector>
HWY_INLINE void run_network(Vector* values) {
  run_network<Network>(values, std::make_index_sequence<Network::kList.kSize>());
}

/// Keys of the candidates [first, first + K) for half of the queries.
/// Interleaving ranks with indices makes keys in an order of lanes that
/// `query_of_lane` undoes.
template <int K, bool kUpper>
HWY_INLINE void load_keys(const std::uint32_t* ranks, std::int64_t first, KeyVector floor, KeyVector* keys) {
  const Ranks tag;
  const KeyVector last = hn::BitCast(KeyDoubles(), hn::Set(Keys(), kLastKey));
#pragma GCC unroll 32
  for (int j = 0; j < K; ++j) {
    const auto index = hn::Set(tag, static_cast<std::uint32_t>(first + j));
    const auto rank = hn::LoadU(tag, ranks + (first + j) * kLanes);
    const auto mixed = kUpper ? hn::InterleaveUpper(tag, index, rank) : hn::InterleaveLower(tag, index, rank);
    const KeyVector key = hn::BitCast(KeyDoubles(), mixed);
    keys[j] = hn::IfThenElse(hn::Gt(key, floor), key, last);
  }
}

inline std::int64_t query_of_lane(std::int64_t lane, bool upper) {
  return lane / 2 * 4 + (upper ? 2 : 0) + lane % 2;
}

/// The K smallest keys above `floor` of each query in one half of the lanes:
/// sorts K candidates at a time and keeps the lower half of both. Returns the
/// largest key found, the floor of a next pass.
template <int K, bool kUpper>
HWY_NOINLINE KeyVector select_half(const std::uint32_t* ranks, std::int64_t size, KeyVector floor,
                                   std::uint64_t* selected) {
  KeyVector best[K], candidates[K];
  load_keys<K, kUpper>(ranks, 0, floor, best);
  run_network<SortNetwork<K> >(best);
  for (std::int64_t first = K; first < size; first += K) {
    load_keys<K, kUpper>(ranks, first, floor, candidates);
    run_network<SortNetwork<K> >(candidates);
#pragma GCC unroll 32
    for (int i = 0; i < K; ++i) best[i] = hn::Min(best[i], candidates[K - 1 - i]);
    run_network<MergeNetwork<K> >(best);
  }
#pragma GCC unroll 32
  for (int i = 0; i < K; ++i) hn::StoreU(hn::BitCast(Keys(), best[i]), Keys(), selected + i * (kLanes / 2));
  return best[K - 1];
}

/// The `count` smallest keys of each of a vector's queries, K in each pass over
/// the candidates.
template <int K>
HWY_INLINE void select_group(const std::uint32_t* ranks, std::int64_t size, std::int64_t queries,
                             std::int64_t count, std::uint64_t* keys) {
  HWY_ALIGN std::uint64_t selected[2][K * (kLanes / 2)];
  KeyVector floors[2] = {hn::Zero(KeyDoubles()), hn::Zero(KeyDoubles())};
  for (std::int64_t done = 0; done < count; done += K) {
    floors[0] = select_half<K, false>(ranks, size, floors[0], selected[0]);
    floors[1] = select_half<K, true>(ranks, size, floors[1], selected[1]);
    const std::int64_t found = std::min<std::int64_t>(K, count - done);
    for (const bool upper : {false, true}) {
      for (std::int64_t lane = 0; lane < kLanes / 2; ++lane) {
        const std::int64_t query = query_of_lane(lane, upper);
        if (query >= queries) continue;
        for (std::int64_t n = 0; n < found; ++n)
          keys[query * count + done + n] = selected[upper][n * (kLanes / 2) + lane];
      }
    }
  }
}

// Short keys: in a set of at most 128 points a rank without its last bits and the index fit 32 bits, which takes half
// as many vectors to sort. Where neighbours tie by them the exact ranks decide.
inline constexpr int kShortIndexBits = 7;
inline constexpr std::uint32_t kShortIndex = (1u << kShortIndexBits) - 1;
inline constexpr std::int64_t kMostShortPoints = std::int64_t{1} << kShortIndexBits;
inline constexpr std::int64_t kMostShortNeighbours = 16;

template <int K>
HWY_INLINE void load_short_keys(const std::uint32_t* ranks, std::int64_t first, RankVector* keys) {
  const Ranks tag;
#pragma GCC unroll 32
  for (int j = 0; j < K; ++j) {
    const auto rank = hn::ShiftLeft<1>(hn::LoadU(tag, ranks + (first + j) * kLanes));  // its first bit is 0
    keys[j] = hn::Or(hn::AndNot(hn::Set(tag, kShortIndex), rank),
                     hn::Set(tag, static_cast<std::uint32_t>(first + j)));
  }
}

/// The K smallest short keys of each query, and the next one after them: [K + 1, kLanes].
template <int K>
HWY_NOINLINE void select_short(const std::uint32_t* ranks, std::int64_t size, std::uint32_t* selected) {
  const Ranks tag;
  RankVector best[K], candidates[K];
  RankVector next = hn::Set(tag, 0xFFFFFFFFu);
  load_short_keys<K>(ranks, 0, best);
  run_network<SortNetwork<K> >(best);
  for (std::int64_t first = K; first < size; first += K) {
    load_short_keys<K>(ranks, first, candidates);
    run_network<SortNetwork<K> >(candidates);
#pragma GCC unroll 32
    for (int i = 0; i < K; ++i) {
      exchange(best[i], candidates[K - 1 - i]);
      next = hn::Min(next, candidates[K - 1 - i]);
    }
    run_network<MergeNetwork<K> >(best);
  }
#pragma GCC unroll 32
  for (int i = 0; i < K; ++i) hn::StoreU(best[i], tag, selected + i * kLanes);
  hn::StoreU(next, tag, selected + K * kLanes);
}

/// Bits of the queries whose neighbours number n and n + 1 tie.
HWY_INLINE std::uint32_t ties_after(const std::uint32_t* selected, std::int64_t n) {
  const Ranks tag;
  const auto own = hn::LoadU(tag, selected + n * kLanes), after = hn::LoadU(tag, selected + (n + 1) * kLanes);
  std::uint8_t bits[8] = {};
  hn::StoreMaskBits(tag, hn::Eq(hn::ShiftRight<kShortIndexBits>(own), hn::ShiftRight<kShortIndexBits>(after)),
                    bits);
  return std::uint32_t{bits[0]} | std::uint32_t{bits[1]} << 8;
}

/// The `count` smallest keys of each of a vector's queries by short keys; false if they do not tell which those are.
template <int K>
HWY_INLINE bool select_group_short(const std::uint32_t* ranks, std::int64_t size, std::int64_t queries,
                                   std::int64_t count, std::uint64_t* keys) {
  HWY_ALIGN std::uint32_t selected[(K + 1) * kLanes];
  select_short<K>(ranks, size, selected);
  const std::uint32_t all = (1u << queries) - 1;
  if ((ties_after(selected, count - 1) & all) != 0) return false;
  std::uint32_t tied = 0;
  for (std::int64_t n = 0; n + 1 < count; ++n) tied |= ties_after(selected, n);
  for (std::int64_t query = 0; query < queries; ++query, keys += count) {
    for (std::int64_t n = 0; n < count; ++n) {
      const std::uint32_t index = selected[n * kLanes + query] & kShortIndex;
      keys[n] = std::uint64_t{ranks[index * kLanes + query]} << 32 | index;
    }
    if ((tied >> query & 1u) != 0) std::sort(keys, keys + count);
  }
  return true;
}

inline constexpr std::int64_t kLargestNetwork = 32;

/// Sets for which all ranks are kept, in the second cache, so that each
/// distance is computed once: worth it where a distance costs more than to turn
/// it.
bool both_ways(const Coordinates& coordinates) {
  return coordinates.dims >= 12 && coordinates.size > kLanes && coordinates.size <= 384;
}

/// Buffers kept between sets.
struct Scratch {
  std::vector<float> panels;
  std::vector<std::uint32_t> ranks;
};

/// One panel: rows of up to kLanes points from `point` on, turned.
void arrange_panel(const PointSet<float>& set, std::int64_t point, std::int64_t points, float* panel) {
  HWY_ALIGN std::uint32_t rows[kLanes * kLanes] = {}, turned[kLanes * kLanes];
  std::int64_t d = 0;
  for (; points == kLanes && d + kLanes <= set.dims; d += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane)
      std::memcpy(rows + lane * kLanes,
                  set.points + set.real[static_cast<std::size_t>(point + lane)] * set.dims + d,
                  sizeof(float) * kLanes);
    transpose(rows, turned);
    std::memcpy(panel + d * kLanes, turned, sizeof turned);
  }
  for (std::int64_t lane = 0; lane < points; ++lane) {
    const float* from = set.points + set.real[static_cast<std::size_t>(point + lane)] * set.dims;
    for (std::int64_t rest = d; rest < set.dims; ++rest) panel[rest * kLanes + lane] = from[rest];
  }
}

Coordinates arrange(const PointSet<float>& set, Scratch& scratch) {
  const auto size = static_cast<std::int64_t>(set.real.size());
  const std::int64_t num_panels = (size + kLanes - 1) / kLanes;
  scratch.panels.assign(static_cast<std::size_t>(num_panels * kLanes * set.dims), 0.0F);
  for (std::int64_t point = 0; point < size; point += kLanes)
    arrange_panel(set, point, std::min(kLanes, size - point), scratch.panels.data() + point * set.dims);
  return {size, set.dims, scratch.panels.data()};
}

void select_by_keys(const std::uint32_t* ranks, std::int64_t size, std::int64_t queries, std::int64_t count,
                    std::uint64_t* keys) {
  if (count <= 8) {
    select_group<8>(ranks, size, queries, count, keys);
  } else if (count <= 16) {
    select_group<16>(ranks, size, queries, count, keys);
  } else {
    select_group<32>(ranks, size, queries, count, keys);
  }
}

bool select_by_short_keys(const std::uint32_t* ranks, std::int64_t size, std::int64_t queries,
                          std::int64_t count, std::uint64_t* keys) {
  return count <= 8 ? select_group_short<8>(ranks, size, queries, count, keys)
                    : select_group_short<16>(ranks, size, queries, count, keys);
}

void select_nearest_keys(const PointSet<float>& set, std::int64_t count, std::vector<std::uint64_t>& keys) {
  thread_local Scratch scratch;
  const Coordinates coordinates = arrange(set, scratch);
  const std::int64_t padded_rows =
      (coordinates.size + kLargestNetwork - 1) / kLargestNetwork * kLargestNetwork;
  const bool all_at_once = both_ways(coordinates);
  const bool short_keys = coordinates.size <= kMostShortPoints && count <= kMostShortNeighbours;
  const std::int64_t groups = all_at_once ? (coordinates.size + kLanes - 1) / kLanes : 1;
  scratch.ranks.resize(static_cast<std::size_t>(groups * padded_rows * kLanes));
  keys.resize(static_cast<std::size_t>(coordinates.size * count));
  if (all_at_once) rank_both_ways(coordinates, padded_rows, scratch.ranks.data());
  for (std::int64_t query = 0; query < coordinates.size; query += kLanes) {
    std::uint32_t* ranks = scratch.ranks.data() + (all_at_once ? query / kLanes * padded_rows * kLanes : 0);
    if (!all_at_once) rank_group(coordinates, query, ranks);
    exclude(coordinates, query, padded_rows, ranks);
    const std::int64_t queries = std::min(kLanes, coordinates.size - query);
    std::uint64_t* out = keys.data() + query * count;
    if (!short_keys || !select_by_short_keys(ranks, coordinates.size, queries, count, out))
      select_by_keys(ranks, coordinates.size, queries, count, out);
  }
}

#endif  // HWY_TARGET
}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(select_nearest_keys);

void select_nearest_keys(const PointSet<float>& set, std::int64_t count, std::vector<std::uint64_t>& keys) {
  HWY_DYNAMIC_DISPATCH(select_nearest_keys)(set, count, keys);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
