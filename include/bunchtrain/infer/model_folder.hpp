// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A plain folder of bundles, each with its SHA256SUMS: what a group keeps its networks in. Knows no LibTorch.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::infer {
inline namespace v0_1 {

/// The file of checksums in each bundle of such a folder; `sha256sum --check` reads it too.
inline constexpr std::string_view kChecksums = "SHA256SUMS";

/// A bundle in such a folder.
struct ListedModel {
  std::string name;          ///< of its folder
  std::string network = {};  ///< "particlenet-lite"; empty: its program makes it
  std::vector<std::string> classes = {};
  std::string hash = {};     ///< of the bundle
  std::string written = {};  ///< the version of bunchtrain that wrote it
  std::string fault = {};    ///< why it cannot be used; the rest is empty then
};

/// What is wrong in such a folder, and where.
struct ModelFault {
  std::string place;  ///< "top-tagger/model.onnx"
  std::string what;   ///< "is missing"
};

/// By name; a bundle that cannot be used is listed with its fault. What is no bundle is left out.
/// @throws ConfigError if there is no such folder.
std::vector<ListedModel> list_models(const std::filesystem::path& folder);

/// Copies a bundle there, with its checksums: whole or not at all. The folder is made if it is missing.
/// @param name letters, digits, '.', '_', '-'; empty: that of the bundle's folder
/// @throws ConfigError for a name that is none or is taken, also in other letters' case, and for a network that is there
/// under another name; CheckpointError for a bundle that cannot be used, IoError.
void add_model(const std::filesystem::path& folder, const std::filesystem::path& bundle,
               const std::string& name = {});

/// Proves every file of every bundle against its checksums, and the bundles themselves. Names files that are damaged,
/// missing, foreign or listed twice, bundles without checksums, names that differ in letters' case alone, networks that
/// are there twice, and what is no bundle.
/// @throws ConfigError if there is no such folder.
std::vector<ModelFault> verify_models(const std::filesystem::path& folder);

}  // namespace v0_1
}  // namespace bunchtrain::infer
