// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files of one component: what a rank writes of it, and how it is put together again.

#include <filesystem>
#include <map>
#include <string>

#include "bunchtrain/tensor/state_dict.hpp"
#include "manifest.hpp"

namespace bunchtrain::checkpoint {

/// That the file holds what the manifest says, of its types and shapes. @throws CheckpointError naming file and tensor; IoError.
void check_contents(const Manifest& manifest, const FileEntry& file);

/// Puts a component together from its files, or the parts of it that are wanted.
class ComponentReader {
 public:
  /// @param wanted parts instead of whole tensors, by name; may be null
  ComponentReader(StateDict& state, const std::map<std::string, tensor::Slice, std::less<>>* wanted)
      : state_(state), wanted_(wanted) {}

  /// Reads of the file what is needed. @throws CheckpointError naming file and tensor if it does not hold what the manifest
  /// says; IoError.
  void read(const Manifest& manifest, const FileEntry& file);

 private:
  StateDict& state_;
  const std::map<std::string, tensor::Slice, std::less<>>* wanted_;
};

}  // namespace bunchtrain::checkpoint
