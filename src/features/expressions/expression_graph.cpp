// SPDX-License-Identifier: Apache-2.0
#include "expression_graph.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {
namespace {

double wrap_angle(double angle) noexcept {
  constexpr double kTurn = 2 * std::numbers::pi;
  return angle - kTurn * std::nearbyint(angle / kTurn);
}

bool commutes(Op op) noexcept {
  switch (op) {
    case Op::add:
    case Op::multiply:
    case Op::equal:
    case Op::not_equal:
    case Op::logical_and:
    case Op::logical_or:
    case Op::hypot:
      return true;
    default:
      return false;  // min and max keep their order: it decides what becomes of NaN
  }
}

}  // namespace

int num_arguments(Op op) noexcept {
  if (op <= Op::column) return 0;
  return op < Op::negate ? 2 : 1;
}

double apply_scalar(Op op, double a, double b) noexcept {
  switch (op) {
    case Op::constant:
    case Op::column:
    case Op::sum:
      return a;
    case Op::add:
      return a + b;
    case Op::subtract:
      return a - b;
    case Op::multiply:
      return a * b;
    case Op::divide:
      return a / b;
    case Op::less:
      return a < b;
    case Op::less_equal:
      return a <= b;
    case Op::greater:
      return a > b;
    case Op::greater_equal:
      return a >= b;
    case Op::equal:
      return a == b;
    case Op::not_equal:
      return a != b;
    case Op::logical_and:
      return a != 0 && b != 0;
    case Op::logical_or:
      return a != 0 || b != 0;
    case Op::hypot:
      return std::hypot(a, b);
    case Op::atan2:
      return std::atan2(a, b);
    case Op::min:
      return b < a ? b : a;
    case Op::max:
      return a < b ? b : a;
    case Op::negate:
      return -a;
    case Op::logical_not:
      return a == 0;
    case Op::log:
      return std::log(a);
    case Op::exp:
      return std::exp(a);
    case Op::sqrt:
      return std::sqrt(a);
    case Op::abs:
      return std::abs(a);
    case Op::sign:
      return a < 0 ? -1.0 : (a >= 0 ? 1.0 : a);  // sign(0) = 1, NaN stays
    case Op::tanh:
      return std::tanh(a);
    case Op::sinh:
      return std::sinh(a);
    case Op::cosh:
      return std::cosh(a);
    case Op::asinh:
      return std::asinh(a);
    case Op::sin:
      return std::sin(a);
    case Op::cos:
      return std::cos(a);
    case Op::wrap:
      return wrap_angle(a);
  }
  return a;
}

int ExpressionGraph::constant(double value) { return intern({.op = Op::constant, .value = value}); }

int ExpressionGraph::column(Level level, std::string_view name) {
  return intern({.op = Op::column, .level = level, .column = std::string(name)});
}

int ExpressionGraph::apply(Op op, int a, int b) {
  const Node& first = node(a);
  if (op == Op::sum) {
    if (first.level != Level::particle) {
      throw ConfigError("sum() adds over the particles of a jet; its argument has one value per jet only");
    }
    return intern({.op = op, .level = Level::jet, .a = a});
  }
  if (b >= 0 && commutes(op) && b < a) std::swap(a, b);
  const Level level = b < 0 ? node(a).level : std::max(node(a).level, node(b).level);
  if (level == Level::constant) return constant(apply_scalar(op, node(a).value, b < 0 ? 0 : node(b).value));
  return intern({.op = op, .level = level, .a = a, .b = b});
}

int ExpressionGraph::intern(Node node) {
  Key key{node.op, node.level, node.a, node.b, node.value, node.column};
  if (!std::isnan(node.value)) {  // NaN equals nothing, so it would break the map's order
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    known_.emplace(std::move(key), size());
  }
  nodes_.push_back(std::move(node));
  return size() - 1;
}

std::vector<bool> ExpressionGraph::reachable(const std::vector<int>& outputs) const {
  std::vector<bool> used(nodes_.size(), false);
  for (const int output : outputs) used[static_cast<std::size_t>(output)] = true;
  for (int id = size() - 1; id >= 0; --id) {
    if (!used[static_cast<std::size_t>(id)]) continue;
    for (const int argument : {node(id).a, node(id).b}) {
      if (argument >= 0) used[static_cast<std::size_t>(argument)] = true;
    }
  }
  return used;
}

std::vector<std::string> ExpressionGraph::columns_of(const std::vector<int>& outputs) const {
  const std::vector<bool> used = reachable(outputs);
  std::vector<std::string> names;
  for (int id = 0; id < size(); ++id) {
    if (!used[static_cast<std::size_t>(id)] || node(id).op != Op::column) continue;
    names.push_back((node(id).level == Level::jet ? "jet." : "part.") + node(id).column);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace bunchtrain::features::detail
