// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How long reading took, and whether what was read can be believed.

#include <chrono>

#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain {
class Error;
}

namespace bunchtrain::data {

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Adds what an activity of this thread takes.
template <class Action>
auto timed(double& seconds, const Action& action) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = action();
  seconds += seconds_since(begin);
  return result;
}

/// Processor time of the calling thread.
double processor_seconds();

/// Files that have changed make samples of two states of them. @throws DataError
void require_unchanged(const ReadPlan& from, ByteSource::Look look);

/// Whether an error says that data are damaged, which another try does not mend.
bool is_damage(const Error& error);

}  // namespace bunchtrain::data
