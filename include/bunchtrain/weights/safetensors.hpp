// SPDX-License-Identifier: Apache-2.0
#pragma once
/// safetensors files as named tensors plus text metadata (safetensors_file.hpp: as bytes).

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::weights {

/// The element type by which a tensor is stored. @throws CheckpointError if it cannot be stored, naming `what`.
Dtype dtype_of(const at::Tensor& tensor, std::string_view what);
at::ScalarType scalar_type_of(Dtype dtype) noexcept;

/// The content of a safetensors file.
struct SafeTensors {
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a whole file. Every count, offset and shape is checked against the file's size before anything is
/// allocated; names must be unique, data contiguous without holes.
/// @throws CheckpointError naming the file, the tensor and the fault; IoError.
SafeTensors read_safetensors(const std::filesystem::path& path);
/// The same from memory (tests, fuzzing). `origin` is used in messages.
SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view origin);

/// Writes atomically (temporary, fsync, rename). Tensors are moved to the CPU and made contiguous as needed.
/// @throws IoError with the system's reason if the disk is full, CheckpointError if the folder is missing or
/// read-only; nothing is left behind.
WrittenFile write_safetensors(const std::filesystem::path& path, const SafeTensors& content);

}  // namespace bunchtrain::weights
