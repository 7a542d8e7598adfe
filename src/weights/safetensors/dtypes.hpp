// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The names of element types, for messages.

#include <string_view>

namespace bunchtrain::weights::detail {

/// "F64 F32 ...": for messages.
std::string_view dtype_names() noexcept;

}  // namespace bunchtrain::weights::detail
