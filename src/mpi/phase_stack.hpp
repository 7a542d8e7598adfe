// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The phases of a job, innermost last.

#include <mutex>
#include <string>
#include <vector>

#include "bunchtrain/mpi/phase.hpp"

namespace bunchtrain::mpi {

/// Thread-safe.
struct Phase::Stack {
  struct Entry {
    const Phase* owner;
    std::string text;
    Waits waits;
  };

  std::string text() const;
  bool waits_for_disk() const;

  mutable std::mutex mutex;
  std::vector<Entry> phases;
};

}  // namespace bunchtrain::mpi
