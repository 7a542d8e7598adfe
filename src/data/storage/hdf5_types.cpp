// SPDX-License-Identifier: Apache-2.0
#include "hdf5_types.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::hdf5 {
namespace {

// IEEE 754 binary16: HDF5 1.10 knows no such type by name.
Datatype make_half() {
  const std::string_view what = "describing half precision to HDF5";
  Datatype half(check(H5Tcopy(H5T_NATIVE_FLOAT), what));
  check(H5Tset_fields(half.get(), 15, 10, 5, 0, 10), what);
  check(H5Tset_size(half.get(), 2), what);
  check(H5Tset_ebias(half.get(), 15), what);
  return half;
}

hid_t native_type(c10::ScalarType type) {
  switch (type) {
    case c10::ScalarType::Float:
      return H5T_NATIVE_FLOAT;
    case c10::ScalarType::Double:
      return H5T_NATIVE_DOUBLE;
    case c10::ScalarType::Bool:
    case c10::ScalarType::Byte:
      return H5T_NATIVE_UINT8;
    case c10::ScalarType::Char:
      return H5T_NATIVE_INT8;
    case c10::ScalarType::Short:
      return H5T_NATIVE_INT16;
    case c10::ScalarType::Int:
      return H5T_NATIVE_INT32;
    case c10::ScalarType::Long:
      return H5T_NATIVE_INT64;
    default:
      throw ConfigError("dtype", c10::toString(type),
                        "float16, float32, float64, bool or an integer to be written to HDF5");
  }
}

}  // namespace

Datatype type_of(c10::ScalarType type) {
  if (type == c10::ScalarType::Half) return make_half();
  return Datatype(check(H5Tcopy(native_type(type)), "copying an HDF5 type"));
}

}  // namespace bunchtrain::hdf5
