// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/detail/own_file.hpp"

#include <string>

#include "bunchtrain/core/error.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {

bool is_own_file(const std::filesystem::path& path, std::string_view kind) {
  const hdf5::LibraryLock lock;
  try {
    const hdf5::File file = hdf5::open_read_only(path.string());
    if (H5Aexists(file.get(), kOwnFileAttribute) <= 0) return false;
    const hdf5::Attribute attribute(
        hdf5::check(H5Aopen(file.get(), kOwnFileAttribute, H5P_DEFAULT), kOwnFileAttribute));
    const hdf5::Datatype type(hdf5::check(H5Aget_type(attribute.get()), kOwnFileAttribute));
    if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) > 0) return false;
    std::string text(H5Tget_size(type.get()), '\0');
    hdf5::check(H5Aread(attribute.get(), type.get(), text.data()), kOwnFileAttribute);
    return text == kind;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace bunchtrain::data
