// SPDX-License-Identifier: Apache-2.0
#pragma once
/// bundle.json: what a bundle says of its network, with the checksum of every file and of itself.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/weights/bundle_content.hpp"

namespace bunchtrain::weights::detail {

inline constexpr const char* kBundleIndex = "bundle.json";
inline constexpr const char* kBundleWeights = "model.safetensors";
inline constexpr const char* kBundleCard = "card.toml";
/// What other programs read. A bundle with such files is of version 2.
inline constexpr std::array<std::string_view, 4> kBundleExtras = {"model.onnx", "model.onnx.data",
                                                                  "model_card.json", "preprocess.json"};

struct BundleFile {
  std::string name;  ///< one of those above
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
