// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A bundle of a 3DGAN generator, read without LibTorch.

#include <filesystem>
#include <string_view>

#include "bunchtrain/weights/bundle_content.hpp"
#include "folded_generator.hpp"

namespace bunchtrain::infer::detail {

/// As descriptions call it.
inline constexpr std::string_view kGeneratorModel = "3dgan-generator";

struct LoadedGenerator {
  weights::BundleContent content;
  FoldedGenerator network;
};

/// Whether a bundle says that it is of a generator, in order or not.
bool is_generator(const weights::BundleContent& content);

/// @throws CheckpointError for a bundle that is none, damaged, newer, of another network.
LoadedGenerator load_generator(const std::filesystem::path& bundle);

}  // namespace bunchtrain::infer::detail
