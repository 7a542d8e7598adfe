// SPDX-License-Identifier: Apache-2.0
#include "leave_to_mpi.hpp"

#include <mutex>
#include <utility>
#include <vector>

namespace bunchtrain::mpi {

void leave_to_mpi(std::shared_ptr<void> buffers) {
  static std::mutex mutex;
  // Never destroyed: MPI outlives static objects.
  static auto& left = *new std::vector<std::shared_ptr<void>>;
  const std::scoped_lock lock(mutex);
  left.push_back(std::move(buffers));
}

}  // namespace bunchtrain::mpi
