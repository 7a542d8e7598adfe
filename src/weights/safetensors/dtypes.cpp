// SPDX-License-Identifier: Apache-2.0
#include "dtypes.hpp"

#include <algorithm>
#include <array>

#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::weights {
namespace {

struct DtypeInfo {
  std::string_view name;
  std::size_t bytes;
};

/// In the order of Dtype.
constexpr std::array<DtypeInfo, 10> kDtypes = {{{"F64", 8},
                                                {"F32", 4},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"I64", 8},
                                                {"I32", 4},
                                                {"I16", 2},
                                                {"I8", 1},
                                                {"U8", 1},
                                                {"BOOL", 1}}};

const DtypeInfo& info_of(Dtype dtype) noexcept { return kDtypes[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::string_view to_string(Dtype dtype) noexcept { return info_of(dtype).name; }
std::size_t bytes_of(Dtype dtype) noexcept { return info_of(dtype).bytes; }

std::optional<Dtype> parse_dtype(std::string_view name) noexcept {
  const auto found = std::ranges::find(kDtypes, name, &DtypeInfo::name);
  if (found == kDtypes.end()) return std::nullopt;
  return static_cast<Dtype>(found - kDtypes.begin());
}

std::string_view detail::dtype_names() noexcept { return "F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL"; }

}  // namespace bunchtrain::weights
