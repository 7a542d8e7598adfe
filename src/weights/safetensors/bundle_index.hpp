// SPDX-License-Identifier: Apache-2.0
#pragma once
/// bundle.json: what a bundle says of its network, with the checksum of every file and of itself.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/weights/bundle_content.hpp"

namespace bunchtrain::weights::detail {

inline constexpr const char* kBundleIndex = "bundle.json";
inline constexpr const char* kBundleWeights = "model.safetensors";
inline constexpr const char* kBundleCard = "card.toml";

struct BundleFile {
  std::string name;  ///< one of the two above
  std::uint64_t bytes = 0;
  std::string hash;  ///< XXH3-128
};

/// All of a bundle but what its other files hold.
struct BundleIndex {
  BundleContent content;
  std::vector<BundleFile> files;
};

struct IndexText {
  std::string text;
  std::string hash;
};
IndexText format_index(const BundleIndex& index);
/// @throws CheckpointError naming the fault; `origin` is the file.
BundleIndex parse_index(std::string_view text, std::string_view origin);

}  // namespace bunchtrain::weights::detail
