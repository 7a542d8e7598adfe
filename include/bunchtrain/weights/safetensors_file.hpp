// SPDX-License-Identifier: Apache-2.0
#pragma once
/// safetensors files as bytes: read without trust, written atomically. Knows no LibTorch: a host application may have
/// another one, and a rank may want a part of a tensor only.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::weights {

/// The element types that are read and written.
enum class Dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };
/// "F64", as in the files.
std::string_view to_string(Dtype dtype) noexcept;
/// Nothing if `name` is none of them.
std::optional<Dtype> parse_dtype(std::string_view name) noexcept;
std::size_t bytes_of(Dtype dtype) noexcept;

/// One tensor of a file: dense, row-major, little-endian.
struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape = {};
  std::uint64_t begin = 0;  ///< in bytes behind the file's header
  std::uint64_t end = 0;
  std::uint64_t size() const noexcept { return end - begin; }
};

/// A file's header, checked: every count, offset and shape fits the file's size, names are unique, data are
/// contiguous without holes. Data are read when asked for. Threads may read at once.
class SafeTensorsFile {
 public:
  /// @throws CheckpointError naming the file, the tensor and the fault; IoError.
  explicit SafeTensorsFile(const std::filesystem::path& path);
  /// The same from memory, which must outlive it. `origin` is used in messages.
  SafeTensorsFile(std::span<const std::byte> bytes, std::string_view origin);
  ~SafeTensorsFile();
  SafeTensorsFile(SafeTensorsFile&&) noexcept;
  SafeTensorsFile& operator=(SafeTensorsFile&&) noexcept;

  /// In the order of the header.
  const std::vector<TensorEntry>& entries() const noexcept;
  const std::map<std::string, std::string>& metadata() const noexcept;
  /// nullptr if there is none.
  const TensorEntry* find(std::string_view name) const noexcept;

  /// Bytes of the tensor from `offset` on, as many as fit `destination`. @throws CheckpointError, IoError; ConfigError
  /// if they lie outside of the tensor.
  void read(const TensorEntry& entry, std::span<std::byte> destination, std::uint64_t offset = 0) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What was written, known without reading it back.
struct WrittenFile {
  std::uint64_t bytes = 0;
  std::string hash = {};  ///< XXH3-128
};

/// A tensor to write; `bytes` must be as many as dtype and shape say.
struct TensorBytes {
  std::string name;
  Dtype dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes atomically (temporary, fsync, rename). Data lie by falling element size, so that each is aligned to its own.
/// @throws IoError with the system's reason if the disk is full, CheckpointError if the folder is missing or
/// read-only; nothing is left behind.
WrittenFile write_safetensors_file(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                                   const std::map<std::string, std::string>& metadata);

}  // namespace bunchtrain::weights
