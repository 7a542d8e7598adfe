// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "device_block.hpp"

namespace bunchtrain::features::detail {
namespace {

/// Operations whose bits are the same on every device.
bool is_exact(const Instruction& step) {
  if (step.kind != Instruction::Kind::apply) return true;
  switch (step.op) {
    case Op::hypot:
    case Op::atan2:
    case Op::log:
    case Op::exp:
    case Op::tanh:
    case Op::sinh:
    case Op::cosh:
    case Op::asinh:
    case Op::sin:
    case Op::cos:
    case Op::wrap:
      return false;
    default:
      return true;
  }
}

/// Why a program cannot be run for one particle at a time; empty if it can.
std::string why_not_by_particle(const Program& program) {
  try {
    program.instructions();
    return {};
  } catch (const ConfigError& error) {
    return error.message();
  }
}

bool reads_particles(const CompiledCard& compiled) {
  const auto reads = [](const Program& program) { return program.reads_particles(); };
  return reads(compiled.label) || reads(compiled.weight) || std::ranges::any_of(compiled.targets, reads);
}

}  // namespace

std::string why_not_on_device(const Card& card, const CompiledCard& compiled) {
  if (card.sort_by_pt) return "the card sorts particles by pT, which the host does";
  if (reads_particles(compiled))
    return "label, weights or targets are made of values of particles, which the host does";
  if (compiled.has_mask) {
    if (!why_not_by_particle(compiled.mask).empty())
      return fmt::format("the mask \"{}\" takes values of the jet", card.mask);
    if (!std::ranges::all_of(compiled.mask.instructions().instructions, is_exact))
      return fmt::format("the mask \"{}\" has functions whose last bit is another one there", card.mask);
  }
  if (!why_not_by_particle(compiled.sums).empty())
    return "a sum() over particles takes values of the jet, which the host does";
  return why_not_by_particle(compiled.inputs);
}

}  // namespace bunchtrain::features::detail
