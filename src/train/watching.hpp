// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Work that only watches a training: whatever happens to it, the training goes on.

#include <functional>
#include <set>
#include <string>

#include "bunchtrain/core/logger.hpp"

namespace bunchtrain::train {

/// Runs such work. What fails is tried again by the caller at its next occasion; each name costs one warning
/// until it succeeds again. Not thread-safe.
class Watching {
 public:
  explicit Watching(Logger logger) : logger_(std::move(logger)) {}

  /// Whether `action` went well. Nothing that it throws gets out.
  bool try_to(const std::string& doing, const std::function<void()>& action);

 private:
  void warn(const std::string& doing, std::string_view fault);

  Logger logger_;
  std::set<std::string> failing_;
};

}  // namespace bunchtrain::train
