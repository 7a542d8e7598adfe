// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the report page looks.

#include <string_view>

namespace bunchtrain::report {

/// CSS of the page without that of the plots.
std::string_view page_style_sheet();
/// Shows values beside the pointer; without it the page lacks nothing else.
std::string_view page_script();

}  // namespace bunchtrain::report
