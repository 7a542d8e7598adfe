// SPDX-License-Identifier: Apache-2.0
#include "abandon.hpp"

#include <mutex>
#include <vector>

namespace bunchtrain::comm::detail {

void abandon(std::shared_ptr<void> memory) noexcept {
  static std::mutex mutex;
  // Never destroyed: MPI outlives static objects.
  static auto& graveyard = *new std::vector<std::shared_ptr<void>>;
  const std::scoped_lock lock(mutex);
  graveyard.push_back(std::move(memory));
}

}  // namespace bunchtrain::comm::detail
