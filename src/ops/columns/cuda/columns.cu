// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include <algorithm>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/ops/detail/column_launch.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kThreads = 256;
constexpr int kScanThreads = 1024;
constexpr int kLanes = 32;
constexpr std::int64_t kMostGridRows = 65535;

device::LaunchConfig one_thread_each(std::int64_t items) {
  return {dim3(device::blocks_for(static_cast<std::size_t>(items), kThreads)), dim3(kThreads)};
}

__device__ inline std::int64_t own_item() { return std::int64_t{blockIdx.x} * kThreads + threadIdx.x; }

__device__ inline std::uint8_t byte_at(const StoredBytes& from, std::int64_t place) {
  const std::int64_t element = place / from.element_bytes;
  if (element >= from.elements) return from.bytes[place];
  return from.bytes[(place - element * from.element_bytes) * from.elements + element];
}

// out[e, j] = planes[j, e], of each block.
//
//   tiling    a thread owns a byte of the result; the y axis of the grid goes over blocks
//   shared    none
//   bound     HBM, a byte read and one written; reads of neighbours lie in `element_bytes` streams
__global__ void __launch_bounds__(kThreads) unshuffle_kernel(ShuffledBlocks of, std::uint8_t* out) {
  const std::int64_t place = own_item();
  for (std::int64_t i = blockIdx.y; i < of.count; i += gridDim.y) {
    const ShuffledBlock block = of.blocks[i];
    if (place >= block.element_bytes * block.elements) continue;
    const std::int64_t element = place / block.element_bytes, byte = place - element * block.element_bytes;
    out[block.to + place] = of.bytes[block.from + byte * block.stride + block.first + element];
  }
}

// A half is widened by hand: the same bits on every compiler, and those of c10::Half.
__device__ inline float half_value(std::uint32_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = bits >> 10 & 31U, mantissa = bits & 0x3FFU;
  if (exponent == 31) return __uint_as_float(sign | 0x7F800000U | mantissa << 13);
  if (exponent > 0) return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(mantissa) * 0x1p-24F;  // denormal: exact
  return __uint_as_float(sign | __float_as_uint(small));
}

template <class Out>
__device__ inline Out value_of(StoredKind kind, int bytes, std::uint64_t bits) {
  if (kind == StoredKind::floating) {
    if (bytes == 2) return static_cast<Out>(half_value(static_cast<std::uint32_t>(bits)));
    if (bytes == 4) return static_cast<Out>(__uint_as_float(static_cast<std::uint32_t>(bits)));
    return static_cast<Out>(__longlong_as_double(static_cast<long long>(bits)));
  }
  if (kind == StoredKind::unsigned_integer) return static_cast<Out>(bits);
  const int unused = 64 - 8 * bytes;
  return static_cast<Out>(static_cast<std::int64_t>(bits << unused) >> unused);
}

/// The value of (row, slot) of a column.
template <class Out, class ByteAt>
__device__ inline Out stored_value(const StoredColumn& column, std::int64_t row, std::int64_t slot,
                                   const ByteAt& at) {
  const std::int64_t first = row * column.row_bytes + column.offset + slot * column.slot_bytes;
  const int bytes = static_cast<int>(column.bytes);
  std::uint64_t bits = 0;
  for (int i = 0; i < bytes; ++i) {
    const std::uint64_t byte = at(first + i);
    bits |= byte << (8 * (column.big_endian ? bytes - 1 - i : i));
  }
  return value_of<Out>(column.kind, bytes, bits);
}

// The value of a column in either byte order, shuffled or not.
//
//   tiling    a thread owns a value of the result
//   shared    none
//   bound     HBM: the bytes of the column, in sectors of 32 where rows are longer, and the result
template <class Out>
__global__ void __launch_bounds__(kThreads)
    widen_kernel(StoredColumn column, StoredBytes from, const std::int64_t* rows, std::int64_t values,
                 Out* out) {
  const std::int64_t item = own_item();
  if (item >= values) return;
  const std::int64_t which = item / column.slots, slot = item - which * column.slots;
  out[item] = stored_value<Out>(column, rows ? rows[which] : which, slot,
                                [&](std::int64_t place) { return byte_at(from, place); });
}

// As above, of bytes that are not shuffled, for chosen entries.
__global__ void __launch_bounds__(kThreads)
    widen_entries_kernel(StoredColumn column, const std::uint8_t* from, const std::int64_t* entries,
                         std::int64_t count, float* out, int* not_finite) {
  const std::int64_t item = own_item();
  if (item >= count) return;
  const std::int64_t row = entries[item] / column.slots, slot = entries[item] - row * column.slots;
  const float value = stored_value<float>(column, row, slot, [&](std::int64_t place) { return from[place]; });
  if (!isfinite(value)) atomicOr(not_finite, 1);
  out[item] = value;
}

__device__ inline bool is_counted(const MarkedRows& of, std::int64_t mark) {
  if (of.marks == nullptr) return true;
  const float value = of.marks[mark];
  return value < 0.0F || value > 0.0F;
}

// How many entries of a row count.
//
//   tiling    a warp owns a row; 32 entries at a time, counted by votes
//   shared    none
//   bound     HBM, 4 bytes of each entry
__global__ void __launch_bounds__(kThreads) count_marked_kernel(MarkedRows of, std::int64_t* out) {
  const std::int64_t row = own_item() / kLanes;
  if (row >= of.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  std::int64_t found = 0;
  for (std::int64_t first = of.splits[row]; first < of.splits[row + 1]; first += kLanes) {
    const std::int64_t mark = first + lane;
    const bool counted = mark < of.splits[row + 1] && is_counted(of, mark);
    found += __popc(__ballot_sync(0xFFFFFFFFU, counted));
  }
  if (lane == 0) out[row] = found;
}

// The entries that count, one row's behind another's.
//
//   tiling    a warp owns a row, as above; a lane's place is how many before it count
//   shared    none
//   bound     HBM, 4 bytes read of each entry and 8 written of each that is picked
__global__ void __launch_bounds__(kThreads)
    pick_kernel(MarkedRows of, const std::int64_t* picked_splits, std::int64_t* picked) {
  const std::int64_t row = own_item() / kLanes;
  if (row >= of.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  std::int64_t next = picked_splits[row];
  for (std::int64_t first = of.splits[row]; first < of.splits[row + 1]; first += kLanes) {
    const std::int64_t mark = first + lane;
    const bool counted = mark < of.splits[row + 1] && is_counted(of, mark);
    const unsigned votes = __ballot_sync(0xFFFFFFFFU, counted);
    const std::int64_t place = next + __popc(votes & ((1U << lane) - 1U));
    if (counted && place < picked_splits[row + 1]) picked[place] = of.begins[row] + mark - of.splits[row];
    next += __popc(votes);
  }
}

// Sums over the elements of rows, in four chains by their place, as the CPU adds them: the same bits.
//
//   tiling    a thread owns a sum; neighbours own the columns of one row
//   shared    none
//   bound     latency of the additions of the longest row
__global__ void __launch_bounds__(kThreads)
    row_sums_kernel(const float* values, std::int64_t width, const std::int64_t* splits, std::int64_t rows,
                    double* out) {
  const std::int64_t item = own_item();
  if (item >= rows * width) return;
  const std::int64_t row = item / width, column = item - row * width;
  double partial[4] = {0, 0, 0, 0};
  for (std::int64_t i = splits[row]; i < splits[row + 1]; ++i)
    partial[(i - splits[row]) % 4] += static_cast<double>(values[i * width + column]);
  out[column * rows + row] = (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

// Row splits by one block.
//
//   tiling    one block goes over the rows in tiles of its threads; sums of 32 lanes by shuffles, those of warps by
//             the first warp
//   shared    256 bytes
//   bound     latency: batches have thousands of rows
__global__ void __launch_bounds__(kScanThreads)
    row_splits_kernel(const std::int64_t* counts, std::int64_t count, std::int64_t most,
                      std::int64_t* splits) {
  __shared__ std::int64_t sums[kScanThreads / kLanes];
  const int lane = static_cast<int>(threadIdx.x) % kLanes, warp = static_cast<int>(threadIdx.x) / kLanes;
  std::int64_t before = 0;
  if (threadIdx.x == 0) splits[0] = 0;
  for (std::int64_t tile = 0; tile < count; tile += kScanThreads) {
    const std::int64_t row = tile + threadIdx.x;
    std::int64_t sum = row < count ? counts[row] : 0;
    if (sum > most) sum = most;
    for (int step = 1; step < kLanes; step *= 2) {
      const std::int64_t other = __shfl_up_sync(0xFFFFFFFFU, sum, static_cast<unsigned>(step));
      if (lane >= step) sum += other;
    }
    if (lane == kLanes - 1) sums[warp] = sum;
    __syncthreads();
    if (warp == 0) {
      std::int64_t all = sums[lane];
      for (int step = 1; step < kLanes; step *= 2) {
        const std::int64_t other = __shfl_up_sync(0xFFFFFFFFU, all, static_cast<unsigned>(step));
        if (lane >= step) all += other;
      }
      sums[lane] = all;
    }
    __syncthreads();
    if (row < count) splits[row + 1] = before + (warp > 0 ? sums[warp - 1] : 0) + sum;
    before += sums[kScanThreads / kLanes - 1];
    __syncthreads();
  }
}

/// The row of an element: the last that begins at or before it and has elements.
__device__ inline std::int64_t row_of(const std::int64_t* splits, std::int64_t rows, std::int64_t element) {
  std::int64_t low = 0, high = rows;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (splits[middle] <= element ? low : high) = middle;
  }
  return low;
}

// One element of each row.
//
//   tiling    a thread owns a word of the result
//   shared    none
//   bound     HBM, a word read and one written
template <class Word>
__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(ElementRows of, std::int64_t words, std::int64_t each, Word* out) {
  const std::int64_t word = own_item();
  if (word >= words) return;
  const std::int64_t row = word / each;
  out[word] = reinterpret_cast<const Word*>(of.begins[row])[word - row * each];
}

// The words of an element are copied, 4 bytes each where they allow it.
//
//   tiling    a thread owns a word of the result; its row is found by halving the row splits
//   shared    none
//   bound     HBM, a word read and one written
template <class Word>
__global__ void __launch_bounds__(kThreads)
    gather_ragged_kernel(ElementRows of, std::int64_t words, std::int64_t each, Word* out) {
  const std::int64_t word = own_item();
  if (word >= words) return;
  const std::int64_t element = word / each;
  const std::int64_t row = row_of(of.splits, of.rows, element);
  const std::int64_t inside = element - of.splits[row];
  out[word] = reinterpret_cast<const Word*>(of.begins[row])[inside * each + word - element * each];
}

// As above; a thread owns a word of a slot, and zeros are written behind the elements.
template <class Word>
__global__ void __launch_bounds__(kThreads)
    gather_padded_kernel(ElementRows of, std::int64_t length, std::int64_t words, std::int64_t each,
                         Word* out, bool* mask) {
  const std::int64_t word = own_item();
  if (word >= words) return;
  const std::int64_t slot = word / each, part = word - slot * each;
  const std::int64_t row = slot / length, place = slot - row * length;
  const bool real = place < of.splits[row + 1] - of.splits[row];
  if (part == 0 && mask != nullptr) mask[slot] = real;
  out[word] = real ? reinterpret_cast<const Word*>(of.begins[row])[place * each + part] : Word(0);
}

bool in_words(const ElementRows& of, const std::uint8_t* out) {
  return of.element_bytes % 4 == 0 && reinterpret_cast<std::uintptr_t>(out) % 4 == 0;
}

}  // namespace

void launch_unshuffle(const ShuffledBlocks& of, std::uint8_t* out, cudaStream_t stream) {
  device::LaunchConfig config = one_thread_each(of.most_bytes);
  config.grid.y = static_cast<unsigned>(std::min<std::int64_t>(of.count, kMostGridRows));
  device::launch(unshuffle_kernel, config, stream, of, out);
}

template <class Out>
void launch_widen(const StoredColumn& column, const StoredBytes& from, const std::int64_t* rows,
                  std::int64_t count, Out* out, cudaStream_t stream) {
  const std::int64_t values = count * column.slots;
  device::launch(widen_kernel<Out>, one_thread_each(values), stream, column, from, rows, values, out);
}
template void launch_widen(const StoredColumn&, const StoredBytes&, const std::int64_t*, std::int64_t, float*,
                           cudaStream_t);
template void launch_widen(const StoredColumn&, const StoredBytes&, const std::int64_t*, std::int64_t,
                           double*, cudaStream_t);

void launch_widen_entries(const StoredColumn& column, const std::uint8_t* from, const std::int64_t* entries,
                          std::int64_t count, float* out, int* not_finite, cudaStream_t stream) {
  device::launch(widen_entries_kernel, one_thread_each(count), stream, column, from, entries, count, out,
                 not_finite);
}

void launch_count_marked(const MarkedRows& of, std::int64_t* counts, cudaStream_t stream) {
  device::launch(count_marked_kernel, one_thread_each(of.rows * kLanes), stream, of, counts);
}

void launch_pick(const MarkedRows& of, const std::int64_t* picked_splits, std::int64_t* picked,
                 cudaStream_t stream) {
  device::launch(pick_kernel, one_thread_each(of.rows * kLanes), stream, of, picked_splits, picked);
}

void launch_row_sums(const float* values, std::int64_t width, const std::int64_t* splits, std::int64_t rows,
                     double* out, cudaStream_t stream) {
  device::launch(row_sums_kernel, one_thread_each(rows * width), stream, values, width, splits, rows, out);
}

void launch_row_splits(const std::int64_t* counts, std::int64_t count, std::int64_t most,
                       std::int64_t* splits, cudaStream_t stream) {
  device::launch(row_splits_kernel, {dim3(1), dim3(kScanThreads)}, stream, counts, count, most, splits);
}

void launch_gather_rows(const ElementRows& of, std::uint8_t* out, cudaStream_t stream) {
  if (in_words(of, out)) {
    const std::int64_t each = of.element_bytes / 4, words = of.rows * each;
    return device::launch(gather_rows_kernel<std::uint32_t>, one_thread_each(words), stream, of, words, each,
                          reinterpret_cast<std::uint32_t*>(out));
  }
  const std::int64_t words = of.rows * of.element_bytes;
  device::launch(gather_rows_kernel<std::uint8_t>, one_thread_each(words), stream, of, words,
                 of.element_bytes, out);
}

void launch_gather_ragged(const ElementRows& of, std::int64_t elements, std::uint8_t* out,
                          cudaStream_t stream) {
  if (in_words(of, out)) {
    const std::int64_t each = of.element_bytes / 4, words = elements * each;
    return device::launch(gather_ragged_kernel<std::uint32_t>, one_thread_each(words), stream, of, words,
                          each, reinterpret_cast<std::uint32_t*>(out));
  }
  const std::int64_t words = elements * of.element_bytes;
  device::launch(gather_ragged_kernel<std::uint8_t>, one_thread_each(words), stream, of, words,
                 of.element_bytes, out);
}

void launch_gather_padded(const ElementRows& of, std::int64_t length, std::uint8_t* out, bool* mask,
                          cudaStream_t stream) {
  const std::int64_t slots = of.rows * length;
  if (in_words(of, out)) {
    const std::int64_t each = of.element_bytes / 4, words = slots * each;
    return device::launch(gather_padded_kernel<std::uint32_t>, one_thread_each(words), stream, of, length,
                          words, each, reinterpret_cast<std::uint32_t*>(out), mask);
  }
  const std::int64_t words = slots * of.element_bytes;
  device::launch(gather_padded_kernel<std::uint8_t>, one_thread_each(words), stream, of, length, words,
                 of.element_bytes, out, mask);
}

}  // namespace bunchtrain::ops::detail
