// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Expressions of a card as one graph without duplicates: a common subexpression is one node, evaluated once.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace bunchtrain::features::detail {

// clang-format off
enum class Op : std::uint8_t {
  constant, column,                                            // leaves
  add, subtract, multiply, divide,                             // two arguments from here
  less, less_equal, greater, greater_equal, equal, not_equal,  // 1 or 0
  logical_and, logical_or,                                     // of "not 0"
  hypot, atan2, min, max,
  negate, logical_not,                                         // one argument from here
  log, exp, sqrt, abs, sign, tanh, sinh, cosh, asinh, sin, cos, wrap,
  sum,                                                         // over the real particles of a jet
};
// clang-format on

/// Over what a value varies.
enum class Level : std::uint8_t { constant, jet, particle };

/// A node of the graph; `a` and `b` are earlier nodes (so node order is an order of evaluation), -1 = none.
struct Node {
  Op op = Op::constant;
  Level level = Level::constant;
  int a = -1;
  int b = -1;
  double value = 0;         ///< of a constant
  std::string column = {};  ///< of a column, without prefix
};

int num_arguments(Op op) noexcept;

/// One scalar application in double precision: constant folding, jet-level evaluation.
double apply_scalar(Op op, double a, double b) noexcept;

/// Builds nodes, folding constants and finding equal ones again. Not thread-safe while built.
class ExpressionGraph {
 public:
  int constant(double value);
  int column(Level level, std::string_view name);
  /// @throws ConfigError for a sum over something that does not vary over particles.
  int apply(Op op, int a, int b = -1);

  const Node& node(int id) const { return nodes_[static_cast<std::size_t>(id)]; }
  int size() const noexcept { return static_cast<int>(nodes_.size()); }
  /// Column names with prefix ("jet.pt", "part.e") that the nodes `outputs` depend on, sorted.
  std::vector<std::string> columns_of(const std::vector<int>& outputs) const;
  /// Marks every node that `outputs` depend on, themselves included.
  std::vector<bool> reachable(const std::vector<int>& outputs) const;

 private:
  using Key = std::tuple<Op, Level, int, int, double, std::string>;
  int intern(Node node);

  std::vector<Node> nodes_;
  std::map<Key, int> known_;
};

}  // namespace bunchtrain::features::detail
