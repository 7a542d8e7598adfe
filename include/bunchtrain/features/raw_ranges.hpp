// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What raw columns held in a training: beyond it a network was never tried. Knows no LibTorch.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace bunchtrain::features {

/// The least and the greatest finite value of a raw column, in the unit of its file.
struct ValueRange {
  double minimum = 0, maximum = 0;

  bool operator==(const ValueRange&) const = default;
};

/// Ranges of the raw columns ("jet.pt", "part.e") that inputs are computed from, over some jets: of particle columns over
/// their real particles.
struct RawRanges {
  std::int64_t jets = 0;  ///< that were looked at
  std::map<std::string, ValueRange, std::less<>> columns = {};

  bool operator==(const RawRanges&) const = default;
};

/// Where the metadata of a bundle hold the text of ranges.
inline constexpr const char* kRangesKey = "ranges";

/// One line of JSON.
std::string to_text(const RawRanges& ranges);
/// @throws CheckpointError if the text is none of `to_text`.
RawRanges parse_ranges(std::string_view text);

}  // namespace bunchtrain::features
