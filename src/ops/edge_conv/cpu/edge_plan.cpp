// SPDX-License-Identifier: Apache-2.0
#include "edge_plan.hpp"

#include <algorithm>

#include "../padding.hpp"

namespace bunchtrain::ops::detail {
namespace {

constexpr std::int64_t kMaxGroups = 64;

/// Adds the points of one jet to a plan.
void add_set(EdgePlan& plan, std::int64_t set, const bool* real, const Padding& padding) {
  const std::int64_t padded = plan.points - std::count(real, real + plan.points, true);
  // Padded points are nearest to each other: with more than k of them no edge leads from
  // padding to a real particle.
  const bool padding_is_inert = padding.zeroed && (padded > plan.k || !padding.counted);
  for (std::int64_t p = 0; p < plan.points; ++p) {
    if (!real[p] && padding_is_inert) continue;
    plan.nodes.push_back(static_cast<std::int32_t>(set * plan.points + p));
    if (!padding.counted && !padding.zeroed) plan.counted.push_back(real[p]);
  }
  if (padding_is_inert && padding.counted) plan.inert_edges += padded * plan.k;
}

/// Cuts the jets into groups of about equally many computed points.
void make_groups(EdgePlan& plan, const std::vector<std::int64_t>& nodes_before_set) {
  const std::int64_t count = std::min(kMaxGroups, plan.sets);
  const auto total = static_cast<std::int64_t>(plan.nodes.size());
  std::int64_t first_set = 0;
  for (std::int64_t group = 1; group <= count; ++group) {
    std::int64_t last_set = first_set;
    while (last_set < plan.sets && (group == count || nodes_before_set[last_set] < total * group / count))
      ++last_set;
    if (last_set == first_set) continue;
    plan.groups.push_back({.first_node = nodes_before_set[first_set],
                           .last_node = nodes_before_set[last_set],
                           .first_point = first_set * plan.points,
                           .last_point = last_set * plan.points});
    first_set = last_set;
  }
}

}  // namespace

double EdgePlan::counted_edges() const noexcept {
  const auto active = counted.empty() ? static_cast<std::int64_t>(nodes.size())
                                      : std::count(counted.begin(), counted.end(), true);
  return static_cast<double>(active * k + inert_edges);
}

std::vector<EdgePiece> EdgePlan::pieces(const EdgeGroup& group, std::int64_t max_nodes) const {
  std::vector<EdgePiece> pieces;
  for (std::int64_t first = group.first_node; first < group.last_node;) {
    const bool counts = counted.empty() || counted[first];
    std::int64_t last = first + 1;
    while (last < group.last_node && last - first < max_nodes && (counted.empty() || counted[last] == counts))
      ++last;
    pieces.push_back({first, last, counts});
    first = last;
  }
  return pieces;
}

EdgePlan make_edge_plan(const at::Tensor& indices, const Padding& padding) {
  EdgePlan plan;
  plan.sets = indices.size(0);
  plan.points = indices.size(1);
  plan.k = indices.size(2);
  const at::Tensor mask = padding.mask.contiguous();
  const bool* real = mask.const_data_ptr<bool>();
  std::vector<std::int64_t> nodes_before_set = {0};
  bool computes_padding = false;
  for (std::int64_t set = 0; set < plan.sets; ++set) {
    const auto before = plan.nodes.size();
    add_set(plan, set, real + set * plan.points, padding);
    nodes_before_set.push_back(static_cast<std::int64_t>(plan.nodes.size()));
    for (auto n = before; n < plan.nodes.size(); ++n) computes_padding |= !real[plan.nodes[n]];
  }
  make_groups(plan, nodes_before_set);
  plan.indices = (computes_padding ? join_padding(indices, mask) : indices).contiguous();
  return plan;
}

}  // namespace bunchtrain::ops::detail
