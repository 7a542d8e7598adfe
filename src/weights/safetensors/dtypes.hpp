// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Element types by the names that safetensors files use.

#include <optional>
#include <string_view>

#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::weights::detail {

/// Nothing if `name` is none that is read.
std::optional<Dtype> find_dtype(std::string_view name) noexcept;

/// "F64 F32 ...": for messages.
std::string_view dtype_names() noexcept;

}  // namespace bunchtrain::weights::detail
