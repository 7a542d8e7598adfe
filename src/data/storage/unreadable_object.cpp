// SPDX-License-Identifier: Apache-2.0
#include "unreadable_object.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {
namespace {

#if H5_VERSION_GE(1, 12, 0)
using LinkInfo = H5L_info2_t;
#else
using LinkInfo = H5L_info_t;
#endif

std::string path_of(hid_t file) {
  const auto length = H5Fget_name(file, nullptr, 0);
  if (length <= 0) return "IN";
  std::string name(static_cast<std::size_t>(length) + 1, '\0');
  H5Fget_name(file, name.data(), name.size());
  name.pop_back();
  return name;
}

// Where a link that leads nowhere points to; empty for other links.
std::string explain_link(hid_t file, const std::string& name) {
  LinkInfo info{};
  if (H5Lget_info(file, name.c_str(), &info, H5P_DEFAULT) < 0)
    return H5Lexists(file, name.c_str(), H5P_DEFAULT) > 0 ? "" : "no such name";
  if (info.type == H5L_TYPE_HARD) return {};
  std::vector<char> value(info.u.val_size + 1, '\0');
  if (H5Lget_val(file, name.c_str(), value.data(), value.size(), H5P_DEFAULT) < 0) return {};
  if (info.type == H5L_TYPE_SOFT) return fmt::format("a soft link to '{}', which is not there", value.data());
  const char* target_file = nullptr;
  const char* target = nullptr;
  unsigned flags = 0;
  if (H5Lunpack_elink_val(value.data(), info.u.val_size, &flags, &target_file, &target) < 0) return {};
  return fmt::format("an external link to {}, '{}', which cannot be opened", target_file, target);
}

}  // namespace

std::string explain_unreadable(hid_t file, const std::string& name) {
  const std::string reason = hdf5::last_reason();
  const std::string link = explain_link(file, name);
  if (!link.empty()) return link;
  // "bad version number for layout message", "unknown chunk index type", ...
  if (reason.find("version") == std::string::npos && reason.find("unknown") == std::string::npos)
    return reason;
  return fmt::format("{}: it was written by a newer HDF5 than {}.{}.{}; rewrite the file for older ones: {}",
                     reason, H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE, rewriting_line(path_of(file)));
}

void refuse_object(hid_t file, const std::string& name, const std::string& where) {
  if (may_pass(hdf5::last_errno())) hdf5::fail(where + ": cannot be opened");
  throw DataError(fmt::format("{}: cannot be opened: {}", where, explain_unreadable(file, name)));
}

std::string rewriting_line(const std::string& path) {
  const std::string out = std::filesystem::path(path).replace_extension(".v110.h5").string();
  return fmt::format(
      "python3 -c \"import h5py; i = h5py.File('{}'); o = h5py.File('{}', 'w', libver=('earliest', "
      "'v110')); i.visititems(lambda n, d: o.create_dataset(n, data=d[()], chunks=d.chunks, "
      "compression=d.compression) and None if isinstance(d, h5py.Dataset) else None)\"",
      path, out);
}

}  // namespace bunchtrain::data
