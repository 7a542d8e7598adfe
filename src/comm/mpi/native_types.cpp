// SPDX-License-Identifier: Apache-2.0
#include "native_types.hpp"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm::detail {
namespace {

struct Sum {
  float operator()(float a, float b) const { return a + b; }
};
struct Min {
  float operator()(float a, float b) const { return std::min(a, b); }
};
struct Max {
  float operator()(float a, float b) const { return std::max(a, b); }
};

/// The signature that MPI_Op_create wants.
template <class Element, class Combine>
void reduce(void* in, void* in_out, int* count, MPI_Datatype*) {
  const auto* from = static_cast<const Element*>(in);
  auto* to = static_cast<Element*>(in_out);
  for (int i = 0; i < *count; ++i) {
    to[i] = static_cast<Element>(Combine{}(static_cast<float>(from[i]), static_cast<float>(to[i])));
  }
}

UniqueOp create_op(MPI_User_function* function) {
  MPI_Op op = MPI_OP_NULL;
  mpi::check(MPI_Op_create(function, /*commute=*/1, &op), "MPI_Op_create");
  return UniqueOp(op);
}

template <class Element>
std::array<UniqueOp, 3> create_ops() {
  return {create_op(reduce<Element, Sum>), create_op(reduce<Element, Min>), create_op(reduce<Element, Max>)};
}

MPI_Op native_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return MPI_SUM;
    case ReduceOp::min:
      return MPI_MIN;
    case ReduceOp::max:
      return MPI_MAX;
  }
  return MPI_OP_NULL;
}

}  // namespace

MPI_Datatype native_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kHalf:
    case at::kBFloat16:
      return MPI_UINT16_T;
    case at::kChar:
      return MPI_INT8_T;
    case at::kInt:
      return MPI_INT32_T;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
    case at::kBool:
      return MPI_UINT8_T;
    default:
      throw ConfigError(std::string("dtype ") + c10::toString(dtype) + " cannot travel over MPI");
  }
}

ReductionOps::ReductionOps() : half_(create_ops<at::Half>()), bfloat16_(create_ops<at::BFloat16>()) {}

MPI_Op ReductionOps::get(ReduceOp op, at::ScalarType dtype) const {
  const auto index = static_cast<std::size_t>(op);
  if (dtype == at::kHalf) return half_[index].get();
  if (dtype == at::kBFloat16) return bfloat16_[index].get();
  return native_op(op);
}

UniqueDatatype make_block_type(MPI_Datatype element, int count, std::int64_t stride) {
  MPI_Aint lower = 0;
  MPI_Aint element_bytes = 0;
  mpi::check(MPI_Type_get_extent(element, &lower, &element_bytes), "MPI_Type_get_extent");
  MPI_Datatype chunk = MPI_DATATYPE_NULL;
  mpi::check(MPI_Type_contiguous(count, element, &chunk), "MPI_Type_contiguous");
  const UniqueDatatype owned_chunk(chunk);
  MPI_Datatype block = MPI_DATATYPE_NULL;
  mpi::check(MPI_Type_create_resized(chunk, 0, stride * element_bytes, &block), "MPI_Type_create_resized");
  UniqueDatatype owned_block(block);
  mpi::check(MPI_Type_commit(&block), "MPI_Type_commit");
  return owned_block;
}

}  // namespace bunchtrain::comm::detail
