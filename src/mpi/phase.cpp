// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/phase.hpp"

#include <utility>

#include "phase_stack.hpp"

namespace bunchtrain::mpi {

Phase::Phase(std::shared_ptr<Stack> stack, std::string text, Waits waits) : stack_(std::move(stack)) {
  const std::scoped_lock lock(stack_->mutex);
  stack_->phases.push_back({.owner = this, .text = std::move(text), .waits = waits});
}

Phase::~Phase() {
  const std::scoped_lock lock(stack_->mutex);
  std::erase_if(stack_->phases, [this](const Stack::Entry& entry) { return entry.owner == this; });
}

std::string Phase::Stack::text() const {
  const std::scoped_lock lock(mutex);
  return phases.empty() ? std::string() : phases.back().text;
}

bool Phase::Stack::waits_for_disk() const {
  const std::scoped_lock lock(mutex);
  return !phases.empty() && phases.back().waits == Waits::for_disk;
}

}  // namespace bunchtrain::mpi
