// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for the manifests of snapshots: any text is either a manifest, whose tensors are complete, or throws
// CheckpointError.

#include <cstdint>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bunchtrain::checkpoint;
  try {
    const Manifest manifest = parse_manifest_content({reinterpret_cast<const char*>(data), size});
    for (const FileEntry& file : manifest.files)
      for (const StoredSlice& stored : file.tensors) stored.slice.validate();
    if (manifest.version > 1) check_complete(manifest.files);
  } catch (const bunchtrain::CheckpointError&) {
    return 0;
  }
  return 0;
}
