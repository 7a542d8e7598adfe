// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What dtypes and reductions are in MPI.

#include <c10/core/ScalarType.h>
#include <mpi.h>

#include <array>

#include "bunchtrain/comm/communicator.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {

/// float16 and bfloat16, which MPI 3.1 does not know, travel as 16-bit integers; bool as uint8.
MPI_Datatype native_type(at::ScalarType dtype);

/// The reductions, with our own for the two 16-bit floating-point types: elements are combined in float32 and
/// rounded to nearest. All are commutative, so that every rank gets the same bits.
class ReductionOps {
 public:
  ReductionOps();
  MPI_Op get(ReduceOp op, at::ScalarType dtype) const;

 private:
  std::array<UniqueOp, 3> half_;      // by ReduceOp
  std::array<UniqueOp, 3> bfloat16_;  // by ReduceOp
};

/// `count` elements that repeat every `stride` elements: block r of a chunk lies at r * stride.
UniqueDatatype make_block_type(MPI_Datatype element, int count, std::int64_t stride);

}  // namespace bunchtrain::comm::detail
