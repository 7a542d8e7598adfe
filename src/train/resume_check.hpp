// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A resumed run says what differs from the run that it goes on with.

#include <span>
#include <string>
#include <vector>

#include "run_facts.hpp"

namespace bunchtrain::train {

/// What differs, one line each: "batch was 256, is 128 (--batch)".
struct Changes {
  std::vector<std::string> settings;  ///< change what is computed
  std::vector<std::string> derived;   ///< follow from settings, or from code or files that changed
  std::vector<std::string> lengths;   ///< end the run earlier or later
  bool float64 = false;               ///< to or from float64: the tensors of a snapshot do not fit

  /// What a person should read: what follows from settings is left out where settings differ.
  const std::vector<std::string>& foremost() const noexcept { return settings.empty() ? derived : settings; }
};

Changes compare_facts(std::span<const Fact> saved, std::span<const Fact> now);

/// @throws ConfigError with every difference and the ways out, unless there is none or `allowed`.
void require_unchanged(const Changes& changes, const std::string& run_folder, bool allowed);

}  // namespace bunchtrain::train
