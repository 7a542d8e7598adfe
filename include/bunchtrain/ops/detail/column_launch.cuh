// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels that make columns and batches of bytes of files, behind raw pointers of the device. Asynchronous on
/// `stream`; bits are those of the CPU (`data::widen`, the shuffle filter, sums over particles, collation).

#include <cuda_runtime_api.h>

#include <cstdint>

#include "bunchtrain/ops/detail/stored_column.hpp"

namespace bunchtrain::ops::detail {

/// Elements of several chunks that lie among `bytes`.
struct ShuffledBlocks {
  const std::uint8_t* bytes;
  const ShuffledBlock* blocks;  ///< [count], on the device
  std::int64_t count;
  std::int64_t most_bytes;  ///< of one of them
};
/// Undoes the shuffle filter: each block's elements at `out` + to.
void launch_unshuffle(const ShuffledBlocks& of, std::uint8_t* out, cudaStream_t stream);

/// The column of the rows `rows` [count] (nullptr: of the first `count`) as `out` [count, slots], straight from bytes that may
/// be shuffled. Conversions are those of static_cast. Out is float or double.
template <class Out>
void launch_widen(const StoredColumn& column, const StoredBytes& from, const std::int64_t* rows,
                  std::int64_t count, Out* out, cudaStream_t stream);

/// The values of some entries as `out` [count]: entry e is slot e % slots of row e / slots. `not_finite` [] becomes 1 where a
/// value is NaN or infinite; else it is left as it is.
void launch_widen_entries(const StoredColumn& column, const std::uint8_t* from, const std::int64_t* entries,
                          std::int64_t count, float* out, int* not_finite, cudaStream_t stream);

/// Entries of rows, of which some count. Row r has the entries begins[r], begins[r] + 1, ... and the marks
/// splits[r] to splits[r + 1] - 1, one for each.
struct MarkedRows {
  const std::int64_t* begins;  ///< [rows]
  const std::int64_t* splits;  ///< [rows + 1] from 0 on
  const float* marks;          ///< [splits[rows]]: those that count are neither 0 nor NaN; nullptr: all count
  std::int64_t rows;
};
/// How many of each row count: `counts` [rows].
void launch_count_marked(const MarkedRows& of, std::int64_t* counts, cudaStream_t stream);
/// Those that count, in their order: row r's first ones at picked_splits[r] to picked_splits[r + 1] - 1 of `picked`, as many as
/// there is room for.
void launch_pick(const MarkedRows& of, const std::int64_t* picked_splits, std::int64_t* picked,
                 cudaStream_t stream);

/// `splits` [count + 1]: 0, and the sums of the first of `counts` [count], each not above `most`.
void launch_row_splits(const std::int64_t* counts, std::int64_t count, std::int64_t most,
                       std::int64_t* splits, cudaStream_t stream);

/// Sums over the elements of rows in double precision: `out` [width, rows] of `values` [splits[rows], width].
void launch_row_sums(const float* values, std::int64_t width, const std::int64_t* splits, std::int64_t rows,
                     double* out, cudaStream_t stream);

/// Elements of `element_bytes` bytes, those of row r from the address begins[r] on, which is a multiple of 4 if
/// `element_bytes` is.
struct ElementRows {
  std::int64_t element_bytes;
  const std::uint8_t* const* begins;  ///< [rows]
  const std::int64_t* splits;         ///< [rows + 1] of what is taken
  std::int64_t rows;
};
/// Of each row one element: `out` [rows, element_bytes]. `splits` is not looked at.
void launch_gather_rows(const ElementRows& of, std::uint8_t* out, cudaStream_t stream);
/// One row's elements behind another's: `out` [splits[rows], element_bytes]. @param elements splits[rows], which the host knows
void launch_gather_ragged(const ElementRows& of, std::int64_t elements, std::uint8_t* out,
                          cudaStream_t stream);
/// `out` [rows, length, element_bytes] with zeros behind the elements, `mask` [rows, length] true at them, unless it is nullptr.
/// @pre no row has more than `length`
void launch_gather_padded(const ElementRows& of, std::int64_t length, std::uint8_t* out, bool* mask,
                          cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
