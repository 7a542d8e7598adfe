// SPDX-License-Identifier: Apache-2.0
#include "step_agreement.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace bunchtrain::train {
namespace {

enum Number { most, least, binds, hopes, objects, count };

/// A number for what is to be the same on all ranks.
double code_of(const StepWish& wish) {
  if (wish.kind == StepKind::eager) return 0;
  return 1 + 2.0 * wish.graph + (wish.kind == StepKind::repeated ? 1 : 0);
}

}  // namespace

StepAgreement::StepAgreement(comm::Communicator ranks)
    : ranks_(std::move(ranks)), shared_(at::empty({count}, at::kDouble)) {}

StepVerdict StepAgreement::agree(const StepWish& wish) {
  if (is_alone()) {
    const bool waits = wish.kind == StepKind::captured && !wish.binds;
    return {.kind = waits ? StepKind::eager : wish.kind, .hopes = wish.hopes, .obstacle = wish.obstacle};
  }
  auto* const number = shared_.mutable_data_ptr<double>();
  number[most] = code_of(wish);
  number[least] = -code_of(wish);
  number[binds] = wish.binds ? 1 : 0;
  number[hopes] = wish.hopes ? 1 : 0;
  number[objects] = wish.obstacle.empty() ? 0 : 1;
  ranks_.all_reduce(shared_, comm::ReduceOp::max).wait();
  StepVerdict verdict{.hopes = number[hopes] > 0};
  if (number[objects] > 0) {
    verdict.obstacle = gather_obstacles(wish.obstacle);
    return verdict;
  }
  const bool same = number[most] == -number[least];
  if (same && (wish.kind == StepKind::repeated || number[binds] > 0)) verdict.kind = wish.kind;
  return verdict;
}

std::string StepAgreement::first_of_all(const std::string& obstacle) {
  return agree({.obstacle = obstacle}).obstacle;
}

std::string StepAgreement::gather_obstacles(const std::string& obstacle) const {
  const std::vector<std::string> all = ranks_.control().all_gather(obstacle);
  const auto found = std::ranges::find_if(all, [](const auto& text) { return !text.empty(); });
  if (found == all.end() || std::ranges::count(all, *found) == std::ssize(all)) return all.front();
  return fmt::format("{} (rank {})", *found, found - all.begin());
}

}  // namespace bunchtrain::train
