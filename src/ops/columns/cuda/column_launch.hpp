// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels that make columns and batches of bytes of files, behind raw pointers of the device. Asynchronous on
/// `stream`; bits are those of the CPU (`data::widen`, the shuffle filter, collation).

#include <cuda_runtime_api.h>

#include <cstdint>

#include "columns/stored_column.hpp"

namespace bunchtrain::ops::detail {

/// Undoes the shuffle filter: `out` [element_bytes * elements].
void launch_unshuffle(const StoredBytes& from, std::uint8_t* out, cudaStream_t stream);

/// The column of the rows `rows` [count] (nullptr: of the first `count`) as `out` [count, slots], straight from bytes that may
/// be shuffled. Conversions are those of static_cast. Out is float or double.
template <class Out>
void launch_widen(const StoredColumn& column, const StoredBytes& from, const std::int64_t* rows,
                  std::int64_t count, Out* out, cudaStream_t stream);

/// `splits` [count + 1]: 0, and the sums of the first of `counts` [count], each not above `most`.
void launch_row_splits(const std::int64_t* counts, std::int64_t count, std::int64_t most,
                       std::int64_t* splits, cudaStream_t stream);

/// Elements of `element_bytes` bytes, those of row r from `begins[r]` on in `from`.
struct ElementRows {
  const std::uint8_t* from;
  std::int64_t element_bytes;
  const std::int64_t* begins;  ///< [rows]
  const std::int64_t* splits;  ///< [rows + 1] of what is taken
  std::int64_t rows;
};
/// One row's elements behind another's: `out` [splits[rows], element_bytes]. @param elements splits[rows], which the host knows
void launch_gather_ragged(const ElementRows& of, std::int64_t elements, std::uint8_t* out,
                          cudaStream_t stream);
/// `out` [rows, length, element_bytes] with zeros behind the elements, `mask` [rows, length] true at them.
/// @pre no row has more than `length`
void launch_gather_padded(const ElementRows& of, std::int64_t length, std::uint8_t* out, bool* mask,
                          cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
