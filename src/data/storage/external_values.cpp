// SPDX-License-Identifier: Apache-2.0
#include "external_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "bunchtrain/core/error.hpp"
#include "hdf5_library.hpp"
#include "io/file_bytes.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using hdf5::check;

// As H5D__build_file_prefix: relative to the working folder unless HDF5_EXTFILE_PREFIX says otherwise.
std::string resolve(const std::string& name, const std::string& path) {
  const char* variable = std::getenv("HDF5_EXTFILE_PREFIX");
  std::string prefix = variable == nullptr ? "" : variable;
  if (fs::path(name).is_absolute() || prefix.empty() || prefix == ".") return name;
  constexpr std::string_view kOrigin = "${ORIGIN}";
  std::error_code error;
  if (prefix.starts_with(kOrigin))
    prefix = fs::absolute(path, error).parent_path().string() + prefix.substr(kOrigin.size());
  return (fs::path(prefix) / name).string();
}

struct Part {
  std::string name;
  std::uint64_t offset = 0;
  hsize_t bytes = 0;
};

Part part_of(hid_t create, unsigned index, const std::string& where) {
  std::string name(4096, '\0');
  off_t offset = 0;
  Part part;
  check(H5Pget_external(create, index, name.size() - 1, name.data(), &offset, &part.bytes), where);
  part.name = name.c_str();
  part.offset = static_cast<std::uint64_t>(offset);
  return part;
}

}  // namespace

ExternalValues look_at_external_values(hid_t create, const DatasetLayout& layout, const std::string& path,
                                       const std::string& where) {
  ExternalValues values;
  const std::uint64_t row_bytes = layout.row_bytes(), all = row_bytes * layout.rows();
  // Rows with a byte in [begin, end) of the values.
  const auto add = [&](std::uint64_t begin, std::uint64_t end, std::string why, bool may_be_filled = true) {
    if (begin >= end) return;
    const std::uint64_t first = begin / row_bytes;
    values.absent.push_back({.rows = {{first, (end + row_bytes - 1) / row_bytes - first}},
                             .why = std::move(why),
                             .may_be_filled = may_be_filled});
  };
  std::uint64_t at = 0;
  const int parts = check(H5Pget_external_count(create), where);
  for (int i = 0; i < parts && at < all; ++i) {
    const Part part = part_of(create, static_cast<unsigned>(i), where);
    const std::uint64_t wanted =
        part.bytes == H5F_UNLIMITED ? all - at : std::min<hsize_t>(part.bytes, all - at);
    const std::string file = resolve(part.name, path);
    values.files.push_back(file);
    std::error_code error;
    if (fs::status(file, error).type() == fs::file_type::not_found) {
      add(at, at + wanted,
          fmt::format(
              "lie in the external file {}, which is not there (looked from folder {}; its folder can "
              "be named by HDF5_EXTFILE_PREFIX)",
              file, fs::current_path(error).string()));
    } else {
      try {
        const std::uint64_t size = FileBytes(file).size();
        const std::uint64_t there = std::min(size - std::min(size, part.offset), wanted);
        add(at + there, at + wanted,
            fmt::format("lie in the external file {}, which ends at byte {}", file, size));
      } catch (const DataError& failure) {
        add(at, at + wanted, fmt::format("lie in an external file: {}", failure.message()), false);
      }
    }
    at += wanted;
  }
  add(at, all, "are in none of its external files");
  return values;
}

}  // namespace bunchtrain::data
