// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Text of one expression to nodes of the graph.

#include <functional>
#include <string>
#include <string_view>

#include "expression_graph.hpp"

namespace bunchtrain::features::detail {

/// Gives the node of a name ("part.pt"); throws ConfigError for one it does not know.
using NameResolver = std::function<int(std::string_view name)>;

/// Parses `text` into `graph`. @throws ConfigError with the expression, the place in
/// it and what was expected.
int parse_expression(std::string_view text, ExpressionGraph& graph, const NameResolver& resolve);

/// A column as expressions name it behind "jet." or "part.": in quotes if it is no plain name.
std::string quote_column(std::string_view column);

/// A name as cards may use it: letters, digits, _ and dots, not beginning with a digit.
bool is_name(std::string_view text) noexcept;

}  // namespace bunchtrain::features::detail
