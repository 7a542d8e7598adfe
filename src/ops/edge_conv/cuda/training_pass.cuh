// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the passes of training share: how a block goes through its tiles, and how their rows come to shared memory,
/// with two stages while the tile before is multiplied.

#include "bunchtrain/device/detail/async_copy.cuh"
#include "edge_pass.cuh"
#include "edge_tiles.hpp"

namespace bunchtrain::ops::detail {

/// How wide rows are, how many columns of the product a block owns (blockIdx.y chooses which), and how many stages.
template <class SOf, int kWidthOf, int kColumnsOf, int kStagesOf>
struct PassShape {
  using S = SOf;
  static constexpr int kWidth = kWidthOf, kColumns = kColumnsOf;
  static constexpr bool kStaged = kStagesOf == 2;
  static constexpr int kChunk = device::kPack<S>;
  /// Fragments of a warp: two warps share the rows of a tile, four its columns.
  static constexpr int kM = kTileRows / 32, kN = kColumns / 32;

  static __device__ int first_column() { return static_cast<int>(blockIdx.y) * kColumns; }
  static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / 4 * (kTileRows / 2); }
  static __device__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 4 * (kColumns / 4); }
};

/// The chunks of 16 bytes that a thread fills of kColumns columns of a tile: of every kStep-th row, in the same columns.
template <class Shape, int kColumns>
struct OwnChunks {
  static constexpr int kChunk = Shape::kChunk, kOfRow = kColumns / kChunk, kStep = kPassThreads / kOfRow;
  static constexpr int kCount = kTileRows / kStep;

  static __device__ int column() { return static_cast<int>(threadIdx.x) % kOfRow * kChunk; }
  static __device__ int row(int i) { return static_cast<int>(threadIdx.x) / kOfRow + i * kStep; }
};

/// Some nodes that follow each other, of one set where passes go by sets.
struct EdgeTile {
  std::int64_t first;
  int nodes, neighbours;  ///< nodes < 0: behind the last tile
  int set = 0;
  bool begins_set = false, ends_set = false;

  __device__ bool exists() const { return nodes >= 0; }
  __device__ bool has(int row) const {
    const auto place = static_cast<unsigned>(row);
    return static_cast<int>(place / kEdgesOfNode) < nodes &&
           static_cast<int>(place % kEdgesOfNode) < neighbours;
  }
};

/// The tiles of a block where sets do not matter.
class NodeTiles {
 public:
  __device__ explicit NodeTiles(const EdgeNodes& nodes)
      : neighbours_(nodes.neighbours),
        count_(nodes.first_node[nodes.sets]),
        first_(std::int64_t{blockIdx.x} * kTileNodes) {}

  __device__ EdgeTile next() {
    const std::int64_t left = count_ - first_;
    const EdgeTile tile{first_, left <= 0 ? -1 : static_cast<int>(left < kTileNodes ? left : kTileNodes),
                        neighbours_};
    first_ += std::int64_t{gridDim.x} * kTileNodes;
    return tile;
  }
  /// Edges of all tiles of the block.
  __device__ double edges() const {
    std::int64_t own = 0;
    for (std::int64_t first = std::int64_t{blockIdx.x} * kTileNodes; first < count_;
         first += std::int64_t{gridDim.x} * kTileNodes)
      own += count_ - first < kTileNodes ? count_ - first : kTileNodes;
    return static_cast<double>(own * neighbours_);
  }

 private:
  int neighbours_;
  std::int64_t count_, first_;
};

/// The tiles of a block's sets, one set after the other. A set without nodes has one tile without nodes.
class SetTiles {
 public:
  __device__ explicit SetTiles(const EdgeNodes& nodes) : nodes_(nodes), set_(static_cast<int>(blockIdx.x)) {
    begin_set();
  }

  __device__ EdgeTile next() {
    if (set_ >= nodes_.sets) return {0, -1, 0};
    const std::int64_t left = last_ - first_;
    const EdgeTile tile{first_,
                        static_cast<int>(left < kTileNodes ? left : kTileNodes),
                        nodes_.neighbours,
                        set_,
                        begins_,
                        left <= kTileNodes};
    first_ += kTileNodes;
    begins_ = false;
    if (!tile.ends_set) return tile;
    set_ += static_cast<int>(gridDim.x);
    begin_set();
    return tile;
  }

 private:
  __device__ void begin_set() {
    begins_ = true;
    if (set_ >= nodes_.sets) return;
    first_ = nodes_.first_node[set_];
    last_ = nodes_.first_node[set_ + 1];
  }

  const EdgeNodes& nodes_;
  int set_;
  bool begins_ = true;
  std::int64_t first_ = 0, last_ = 0;
};

using TileEdges = EdgeEnds<kTileRows>;
/// Of the tile that is worked on, the next, and the one that is being listed.
inline constexpr int kListedTiles = 3;
/// Shared memory of a pass besides what a launch asks for.
inline constexpr std::size_t kStaticBytes = kListedTiles * sizeof(TileEdges);

/// Takes a block through its tiles. `pass.fill(tile, edges)` makes the operands of a tile, `pass.multiply(tile, edges)` does all
/// that follows from them, `pass.start(tile, edges)` starts the copies of a staged one. Barriers lie between them; what copies
/// bring is there in `fill`. Both loads that list an edge, of which one needs the other, are a tile's products ahead of their use.
template <class Shape, class Tiles, class Pass>
__device__ void for_each_tile(const EdgeNodes& nodes, Tiles tiles, TileEdges (&edges)[kListedTiles],
                              Pass& pass) {
  const int row = static_cast<int>(threadIdx.x);
  const auto start_of = [&](const EdgeTile& tile) {
    return row < kTileRows ? start_of_row(nodes, tile.first, tile.first + tile.nodes, row) : -1;
  };
  const auto list = [&](TileEdges& listed, std::int32_t from, std::int32_t to) {
    if (row >= kTileRows) return;
    listed.from[row] = from;
    listed.to[row] = to;
  };
  EdgeTile tile = tiles.next(), next = tiles.next(), third = tiles.next();
  std::int32_t from = start_of(tile), from_next = start_of(next), from_third = start_of(third);
  list(edges[0], from, end_of_row(nodes, from, row));
  list(edges[1], from_next, end_of_row(nodes, from_next, row));
  __syncthreads();
  if constexpr (Shape::kStaged) {
    if (tile.exists()) pass.start(tile, edges[0]);
    device::commit_copies();
    device::wait_for_copies<0>();
    __syncthreads();
  }
  for (int slot = 0; tile.exists(); slot = (slot + 1) % kListedTiles) {
    pass.fill(tile, edges[slot]);
    __syncthreads();
    if constexpr (Shape::kStaged) {
      if (next.exists()) pass.start(next, edges[(slot + 1) % kListedTiles]);
      device::commit_copies();
    }
    const std::int32_t to_third = end_of_row(nodes, from_third, row);
    const EdgeTile fourth = tiles.next();
    const std::int32_t from_fourth = start_of(fourth);
    pass.multiply(tile, edges[slot]);
    list(edges[(slot + 2) % kListedTiles], from_third, to_third);
    if constexpr (Shape::kStaged) device::wait_for_copies<0>();
    __syncthreads();
    tile = next;
    next = third;
    third = fourth;
    from_third = from_fourth;
  }
}

/// A thread's chunks of kColumns columns of a tile's rows, of an edge tensor. Where they are staged, each thread copies its own
/// chunks, and no other one reads them.
template <class Shape, int kColumns>
struct EdgeRows {
  using S = typename Shape::S;
  using Own = OwnChunks<Shape, kColumns>;
  using Chunk = EdgeChunk<S>;
  static constexpr std::size_t kBytes = Shape::kStaged ? std::size_t{kTileRows} * kColumns * sizeof(S) : 0;

  const S* rows;  ///< [.., kWidth], from the first column on
  Chunk* staged;  ///< [Own::kCount, kPassThreads]

  __device__ const Chunk* at(const EdgeTile& tile, int i) const {
    return reinterpret_cast<const Chunk*>(rows + tile.first * (kEdgesOfNode * Shape::kWidth) +
                                          (Own::row(0) * Shape::kWidth + Own::column())) +
           i * (Own::kStep * Shape::kWidth / Shape::kChunk);
  }
  __device__ void start(const EdgeTile& tile) const {
#pragma unroll
    for (int i = 0; i < Own::kCount; ++i) {
      const bool exists = tile.has(Own::row(i));
      device::copy_async<16>(staged + i * kPassThreads + threadIdx.x,
                             exists ? at(tile, i) : static_cast<const void*>(rows), exists);
    }
  }
  /// Zeros where no edge is.
  __device__ Chunk load(const EdgeTile& tile, int i) const {
    if constexpr (Shape::kStaged) {
      return staged[i * kPassThreads + threadIdx.x];
    } else {
      return tile.has(Own::row(i)) ? *at(tile, i) : Chunk{};
    }
  }
};

/// Rows of float of points, kColumns columns of them, for each node of a tile. Staged ones are read by all threads.
template <class Shape, int kColumns>
struct NodeRows {
  static constexpr std::size_t kBytes = Shape::kStaged ? kTileNodes * kColumns * sizeof(float) : 0;
  static constexpr int kPacks = kColumns / 4;

  const float* rows;   ///< from the first column on
  int row_size, left;  ///< `left`: numbers of a row from there on, a multiple of 4
  float* staged;       ///< [kTileNodes, kColumns]

  /// The first row for -1.
  __device__ const float* row_of(std::int32_t point) const {
    return rows + std::int64_t{point < 0 ? 0 : point} * row_size;
  }
  __device__ void start(const TileEdges& edges) const {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kTileNodes * kPacks) return;
    const int column = i % kPacks * 4;
    const std::int32_t point = edges.from[i / kPacks * kEdgesOfNode];
    const bool exists = point >= 0 && column < left;
    device::copy_async<16>(staged + i * 4, row_of(point) + (exists ? column : 0), exists);
  }
  /// Of the node of a row, from `column` of the kColumns on.
  template <int N>
  __device__ void load(const TileEdges& edges, int row, int column, float (&x)[N]) const {
    if constexpr (Shape::kStaged) {
      load_packs(staged + row / kEdgesOfNode * kColumns + column, true, N, x);
    } else {
      const std::int32_t point = edges.from[row];
      load_packs(row_of(point) + column, point >= 0, left - column, x);
    }
  }
};

/// u_i and v_j of a tile's edges, kColumns columns of them: those of u by node, those of v by edge.
template <class Shape, int kColumns>
struct TermRows {
  using Own = OwnChunks<Shape, kColumns>;
  using Pack = device::Pack<float, 4>;
  static constexpr int kPacks = Shape::kChunk / 4;
  static constexpr std::size_t kBytes =
      NodeRows<Shape, kColumns>::kBytes +
      (Shape::kStaged ? std::size_t{kTileRows} * kColumns * sizeof(float) : 0);
  struct Chunk {
    float u[Shape::kChunk], v[Shape::kChunk];
  };

  NodeRows<Shape, kColumns> nodes;
  int part;      ///< how far v lies behind u
  Pack* staged;  ///< [Own::kCount, kPacks, kPassThreads], each thread's own

  __device__ TermRows(const FirstRows& first, int first_column, unsigned char* bytes)
      : nodes{first.terms + first_column, 2 * first.part, first.part - first_column,
              reinterpret_cast<float*>(bytes)},
        part(first.part),
        staged(reinterpret_cast<Pack*>(bytes + NodeRows<Shape, kColumns>::kBytes)) {}

  __device__ void start(const TileEdges& edges) const {
    nodes.start(edges);
#pragma unroll
    for (int i = 0; i < Own::kCount; ++i) {
      const std::int32_t point = edges.to[Own::row(i)];
      const float* row = nodes.row_of(point) + part;
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int column = Own::column() + 4 * p;
        const bool exists = point >= 0 && column < nodes.left;
        device::copy_async<16>(staged + (i * kPacks + p) * kPassThreads + threadIdx.x,
                               row + (exists ? column : 0), exists);
      }
    }
  }
  __device__ Chunk load(const TileEdges& edges, int i) const {
    Chunk chunk;
    nodes.load(edges, Own::row(i), Own::column(), chunk.u);
    if constexpr (Shape::kStaged) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const Pack pack = staged[(i * kPacks + p) * kPassThreads + threadIdx.x];
#pragma unroll
        for (int j = 0; j < 4; ++j) chunk.v[4 * p + j] = pack.values[j];
      }
    } else {
      const std::int32_t point = edges.to[Own::row(i)];
      load_packs(nodes.row_of(point) + part + Own::column(), point >= 0, nodes.left - Own::column(), chunk.v);
    }
    return chunk;
  }
};

/// Fills a tile's kColumns columns: `load(i)` for some of a thread's chunks at once, then `value(loaded, chunk)`, which gives
/// their numbers. Zeros where no edge is.
template <class Shape, int kColumns, class Load, class Value>
__device__ void fill_rows(const EdgeTile& tile, const SharedTile<typename Shape::S, kColumns>& to, Load load,
                          Value value) {
  using Own = OwnChunks<Shape, kColumns>;
  constexpr int kFit = 128 / static_cast<int>(sizeof(load(0)));  // registers
  constexpr int kMost = kFit < 4 ? kFit : 4, kAtOnce = Own::kCount < kMost ? Own::kCount : kMost;
#pragma unroll 1
  for (int first = 0; first < Own::kCount; first += kAtOnce) {
    decltype(load(0)) loaded[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) loaded[i] = load(first + i);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int row = Own::row(first + i);
      float chunk[Shape::kChunk];
      value(loaded[i], chunk);
      const auto stored = EdgeChunk<typename Shape::S>::of(chunk);
      *reinterpret_cast<EdgeChunk<typename Shape::S>*>(to.at(row, Own::column())) =
          tile.has(row) ? stored : EdgeChunk<typename Shape::S>{};
    }
  }
}

/// Calls `use` with the shape of a width and tiles of a pass.
template <class S, EdgePass kPass, class Use>
auto with_pass_shape(int width, const PassTiles& tiles, Use use) {
  const auto of_stages = [&]<int kWidth, int kColumns>() {
    return tiles.stages == 2 ? use(PassShape<S, kWidth, kColumns, 2>{})
                             : use(PassShape<S, kWidth, kColumns, 1>{});
  };
  const auto of_width = [&]<int kWidth>() {
    constexpr int kMost = most_columns<S>(kPass, kWidth);
    if constexpr (kMost >= 256)
      if (tiles.columns >= 256) return of_stages.template operator()<kWidth, 256>();
    if constexpr (kMost >= 128)
      if (tiles.columns >= 128) return of_stages.template operator()<kWidth, 128>();
    return of_stages.template operator()<kWidth, 64>();
  };
  return width == 64    ? of_width.template operator()<64>()
         : width == 128 ? of_width.template operator()<128>()
                        : of_width.template operator()<256>();
}

}  // namespace bunchtrain::ops::detail
