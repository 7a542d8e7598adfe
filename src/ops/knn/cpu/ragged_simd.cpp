// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "knn/cpu/ragged_simd.cpp"
// As in knn_simd.cpp: no processors without a fused multiply-add, no vectors of unknown size.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <limits>
#include <utility>

#include "../knn_key.hpp"
#include "ragged_search.hpp"
#include "sorting_network.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void search_blocks(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows) {
  search_blocks_plain(tree, begin, end, rows);
}

#else
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kBlockSize>;
using Integers = hn::RebindToSigned<Floats>;
using Keys = hn::CappedTag<std::uint64_t, kBlockSize / 2>;
using KeyDoubles = hn::RebindToFloat<Keys>;
using FloatVector = hn::Vec<Floats>;
using KeyVector = hn::Vec<KeyDoubles>;

inline constexpr std::int64_t kLanes = hn::MaxLanes(Floats());
inline constexpr std::int64_t kKeyLanes = hn::MaxLanes(Keys());
inline constexpr int kBatch = static_cast<int>(kBlockSize);  // candidates merged at a time
// A query has less than a batch before a block adds its points.
inline constexpr std::size_t kPendingPlaces = 2 * kBatch;

/// What the queries of one block have found so far.
struct Found {
  HWY_ALIGN std::uint64_t best[kMaxRaggedK][kBlockSize];  ///< ascending, a query per column
  float thresholds[kBlockSize];  ///< squared distance of the k-th, infinity before there is one; -1: no query
  std::uint64_t worst;           ///< the largest of the k-th keys
  /// Candidates within the threshold that are not yet among the best.
  float distances[kBlockSize][kPendingPlaces];
  std::int32_t indices[kBlockSize][kPendingPlaces];
  std::size_t pending[kBlockSize];
  std::int64_t num_queries, k;
};

void start(Found& found, std::int64_t num_queries, std::int64_t k) {
  found.num_queries = num_queries;
  found.k = k;
  found.worst = kLastKey;
  std::fill(&found.best[0][0], &found.best[0][0] + (k + kBatch - 1) / kBatch * kBatch * kBlockSize, kLastKey);
  for (std::int64_t q = 0; q < kBlockSize; ++q) {
    found.thresholds[q] = q < num_queries ? std::numeric_limits<float>::infinity() : -1.0F;
    found.pending[q] = 0;
  }
}

HWY_INLINE void exchange(KeyVector& low, KeyVector& high) {
  const KeyVector smaller = hn::Min(low, high);
  high = hn::Max(low, high);
  low = smaller;
}

template <class Network, std::size_t... I>
HWY_INLINE void run_network(KeyVector* values, std::index_sequence<I...>) {
  (exchange(values[Network::kList.comparators[I].low], values[Network::kList.comparators[I].high]), ...);
}

template <class Network>
HWY_INLINE void run_network(KeyVector* values) {
  run_network<Network>(values, std::make_index_sequence<Network::kList.kSize>());
}

HWY_INLINE KeyVector load_key(const std::uint64_t* keys) {
  return hn::BitCast(KeyDoubles(), hn::Load(Keys(), keys));
}

/// Sorts a batch into the columns [column, column + kKeyLanes) of the best.
HWY_NOINLINE void merge_columns(Found& found, const std::uint64_t (*batch)[kBlockSize], std::int64_t column) {
  KeyVector rest[kBatch], best[kBatch];
#pragma GCC unroll 32
  for (int i = 0; i < kBatch; ++i) rest[i] = load_key(batch[i] + column);
  run_network<SortNetwork<kBatch> >(rest);
  for (std::int64_t first = 0; first < found.k; first += kBatch) {
    KeyVector beyond[kBatch];
#pragma GCC unroll 32
    for (int i = 0; i < kBatch; ++i) {
      const KeyVector key = load_key(found.best[first + i] + column);
      best[i] = hn::Min(key, rest[kBatch - 1 - i]);
      beyond[i] = hn::Max(key, rest[kBatch - 1 - i]);
    }
    run_network<MergeNetwork<kBatch> >(best);
#pragma GCC unroll 32
    for (int i = 0; i < kBatch; ++i)
      hn::Store(hn::BitCast(Keys(), best[i]), Keys(), found.best[first + i] + column);
    if (first + kBatch >= found.k) return;
    run_network<MergeNetwork<kBatch> >(beyond);
#pragma GCC unroll 32
    for (int i = 0; i < kBatch; ++i) rest[i] = beyond[i];
  }
}

/// Moves up to a batch of each query's pending candidates to the best.
HWY_NOINLINE void merge_pending(Found& found) {
  HWY_ALIGN std::uint64_t batch[kBatch][kBlockSize];
  for (std::int64_t q = 0; q < kBlockSize; ++q) {
    const std::size_t count = std::min<std::size_t>(kBatch, found.pending[q]);
    const std::size_t first = found.pending[q] -= count;
    for (std::size_t i = 0; i < static_cast<std::size_t>(kBatch); ++i)
      batch[i][q] = i < count ? std::uint64_t{rank_of(found.distances[q][first + i])} << 32 |
                                    static_cast<std::uint32_t>(found.indices[q][first + i])
                              : kLastKey;
  }
  for (std::int64_t column = 0; column < kBlockSize; column += kKeyLanes) merge_columns(found, batch, column);
  found.worst = 0;
  for (std::int64_t q = 0; q < found.num_queries; ++q) {
    const std::uint64_t key = found.best[found.k - 1][q];
    found.worst = std::max(found.worst, key);
    found.thresholds[q] = squared_distance_of(static_cast<std::uint32_t>(key >> 32));
  }
}

/// The search of a block's queries, D coordinates.
template <int D>
struct Search {
  const PointTree& tree;
  const SetTree& set;
  const float* own;  ///< [D, kBlockSize] coordinates of the queries
  const std::int32_t* own_indices;
  float own_low[D], own_high[D];
  Found& found;
};

/// Bits of the queries that a block with the box of child `child` may hold a neighbour for. Rounding is
/// monotonous, so a sum of rounded squared gaps is never above the sum for a point inside.
template <int D>
HWY_INLINE std::uint32_t queries_near(const Search<D>& search, const float* low, const float* high,
                                      std::int64_t child) {
  const Floats tag;
  std::uint32_t bits = 0;
  for (std::int64_t q = 0; q < kBlockSize; q += kLanes) {
    FloatVector sum = hn::Zero(tag);
    for (std::int64_t d = 0; d < D; ++d) {
      const FloatVector x = hn::LoadU(tag, search.own + d * kBlockSize + q);
      const FloatVector below = hn::Sub(hn::Set(tag, low[d * kBlockSize + child]), x);
      const FloatVector above = hn::Sub(x, hn::Set(tag, high[d * kBlockSize + child]));
      const FloatVector gap = hn::Max(hn::Max(below, above), hn::Zero(tag));
      sum = hn::MulAdd(gap, gap, sum);
    }
    std::uint8_t near[8] = {};
    hn::StoreMaskBits(tag, hn::Le(sum, hn::LoadU(tag, search.found.thresholds + q)), near);
    bits |= (std::uint32_t{near[0]} | std::uint32_t{near[1]} << 8) << q;
  }
  return bits;
}

/// Adds what a block holds within the thresholds of the queries in `queries`.
template <int D>
HWY_INLINE void scan_block(const Search<D>& search, std::int64_t block, std::uint32_t queries) {
  const Floats tag;
  const Integers integers;
  Found& found = search.found;
  const float* candidates = search.tree.block(block);
  bool full = false;
  for (std::int64_t first = 0; first < kBlockSize; first += kLanes) {
    FloatVector coordinates[D];
#pragma GCC unroll 8
    for (int d = 0; d < D; ++d) coordinates[d] = hn::LoadU(tag, candidates + d * kBlockSize + first);
    const auto indices = hn::LoadU(integers, search.tree.block_indices(block) + first);
    for (std::uint32_t rest = queries; rest != 0; rest &= rest - 1) {
      const auto q = static_cast<std::size_t>(__builtin_ctz(rest));
      FloatVector sum = hn::Zero(tag);
#pragma GCC unroll 8
      for (int d = 0; d < D; ++d) {
        const FloatVector difference =
            hn::Sub(coordinates[d], hn::Set(tag, search.own[d * kBlockSize + static_cast<std::int64_t>(q)]));
        sum = hn::MulAdd(difference, difference, sum);
      }
      // Places past a set's last point are NaN and never within.
      const auto other = hn::RebindMask(tag, hn::Ne(indices, hn::Set(integers, search.own_indices[q])));
      const auto within = hn::And(hn::Le(sum, hn::Set(tag, found.thresholds[q])), other);
      const std::size_t count = hn::CountTrue(tag, within);
      if (count == 0) continue;
      const std::size_t next = found.pending[q];
      hn::StoreU(hn::Compress(sum, within), tag, found.distances[q] + next);
      hn::StoreU(hn::Compress(indices, hn::RebindMask(integers, within)), integers, found.indices[q] + next);
      found.pending[q] = next + count;
      full |= next + count >= static_cast<std::size_t>(kBatch);
    }
  }
  if (full) merge_pending(found);
}

struct Child {
  std::uint64_t key;  ///< no point below comes before it
  std::int32_t number;
};

/// The children of a node that may hold neighbours, nearest first; returns how many.
template <int D>
HWY_INLINE std::int64_t sort_children(const Search<D>& search, std::int64_t node, std::int64_t count,
                                      Child (&children)[kBlockSize]) {
  const Floats tag;
  const float *low = search.tree.low(node), *high = search.tree.high(node);
  float bounds[kBlockSize];
  for (std::int64_t c = 0; c < kBlockSize; c += kLanes) {
    FloatVector sum = hn::Zero(tag);
    for (int d = 0; d < D; ++d) {
      const FloatVector below =
          hn::Sub(hn::LoadU(tag, low + d * kBlockSize + c), hn::Set(tag, search.own_high[d]));
      const FloatVector above =
          hn::Sub(hn::Set(tag, search.own_low[d]), hn::LoadU(tag, high + d * kBlockSize + c));
      const FloatVector gap = hn::Max(hn::Max(below, above), hn::Zero(tag));
      sum = hn::MulAdd(gap, gap, sum);
    }
    hn::StoreU(sum, tag, bounds + c);
  }
  const std::int32_t* lowest = search.tree.lowest.data() + node * kBlockSize;
  std::int64_t kept = 0;
  for (std::int64_t c = 0; c < count; ++c) {
    const Child child{std::uint64_t{rank_of(bounds[c])} << 32 | static_cast<std::uint32_t>(lowest[c]),
                      static_cast<std::int32_t>(c)};
    if (child.key > search.found.worst) continue;
    std::int64_t place = kept++;
    for (; place > 0 && children[place - 1].key > child.key; --place) children[place] = children[place - 1];
    children[place] = child;
  }
  return kept;
}

template <int D>
void visit(const Search<D>& search, int level, std::int64_t number) {
  const auto l = static_cast<std::size_t>(level);
  const std::int64_t node = search.set.levels[l] + number;
  Child children[kBlockSize];
  const std::int64_t count = sort_children(search, node, search.set.children_of(level, number), children);
  for (std::int64_t i = 0; i < count && children[i].key <= search.found.worst; ++i) {
    const std::int64_t child = number * kBlockSize + children[i].number;
    if (level > 0) {
      visit(search, level - 1, child);
      continue;
    }
    const std::uint32_t queries =
        queries_near(search, search.tree.low(node), search.tree.high(node), children[i].number);
    if (queries != 0) scan_block(search, search.set.first_block + child, queries);
  }
}

/// Points that are in no block are at an infinite or a NaN distance of all that are: candidates only of queries
/// that found no k at finite ones, and then the first k of each kind.
void add_odd_points(Found& found, const OddPoints& odd) {
  const auto add = [&](const std::vector<std::int32_t>& indices, float distance) {
    for (std::size_t i = 0; i < std::min(indices.size(), static_cast<std::size_t>(found.k)); ++i) {
      if (found.worst < std::uint64_t{rank_of(distance)} << 32) return;
      for (std::int64_t q = 0; q < found.num_queries; ++q) {
        found.distances[q][found.pending[q]] = distance;
        found.indices[q][found.pending[q]++] = indices[i];
      }
      merge_pending(found);
    }
  };
  add(odd.infinite, std::numeric_limits<float>::infinity());
  add(odd.nan, std::numeric_limits<float>::quiet_NaN());
}

void write_rows(const Found& found, const std::int32_t* own_indices, const RaggedRows& rows) {
  for (std::int64_t q = 0; q < found.num_queries; ++q) {
    const std::int64_t row = own_indices[q] * rows.k;
    for (std::int64_t n = 0; n < rows.k; ++n) {
      rows.indices[row + n] = static_cast<std::int32_t>(static_cast<std::uint32_t>(found.best[n][q]));
      if (rows.squared_distances)
        rows.squared_distances[row + n] =
            squared_distance_of(static_cast<std::uint32_t>(found.best[n][q] >> 32));
    }
  }
}

template <int D>
void search_range(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows) {
  Found found;
  for (std::int64_t block = begin; block < end; ++block) {
    const auto s = static_cast<std::size_t>(tree.set_of_block[static_cast<std::size_t>(block)]);
    Search<D> search{tree, tree.sets[s], tree.block(block), tree.block_indices(block), {}, {}, found};
    const std::int64_t of_set = block - search.set.first_block;
    const std::int64_t parent = search.set.levels[0] + of_set / kBlockSize;
    for (std::int64_t d = 0; d < D; ++d) {
      search.own_low[d] = tree.low(parent)[d * kBlockSize + of_set % kBlockSize];
      search.own_high[d] = tree.high(parent)[d * kBlockSize + of_set % kBlockSize];
    }
    std::int64_t num_queries = 0;
    while (num_queries < kBlockSize && search.own_indices[num_queries] >= 0) ++num_queries;
    start(found, num_queries, rows.k);
    visit(search, search.set.num_levels - 1, 0);
    merge_pending(found);
    add_odd_points(found, tree.odd[s]);
    write_rows(found, search.own_indices, rows);
  }
}

template <int... D>
void search_dims(std::integer_sequence<int, D...>, const PointTree& tree, std::int64_t begin,
                 std::int64_t end, const RaggedRows& rows) {
  (void)((tree.dims == D + 1 && (search_range<D + 1>(tree, begin, end, rows), true)) || ...);
}

void search_blocks(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows) {
  search_dims(std::make_integer_sequence<int, 8>(), tree, begin, end, rows);
}

#endif  // HWY_TARGET
}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(search_blocks);

void search_blocks(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows) {
  HWY_DYNAMIC_DISPATCH(search_blocks)(tree, begin, end, rows);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
