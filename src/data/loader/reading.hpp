// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Reads ranges of a dataset, and says how long it took.

#include <chrono>
#include <cstddef>
#include <utility>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain {
class Error;
}

namespace bunchtrain::data {

class Staging;

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

/// A range with contiguous tensors: from copies where there are some, and again from the files where these bring what cannot be
/// decoded. @param staging may be null. @throws DataError, IoError
SampleBlock read_on_host(const Dataset& dataset, std::size_t range, Staging* staging,
                         LoaderStatistics& spent);

/// Tells the engines that a range is read soon, so that storage works while others are decoded. Never throws: the read will
/// say what is wrong. @param staging may be null
void expect_range(const Dataset& dataset, std::size_t range, const Staging* staging) noexcept;

/// Whether an error says that data are damaged, which another try does not mend.
bool is_damage(const Error& error);

}  // namespace bunchtrain::data
