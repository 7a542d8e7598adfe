// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Writes HDF5 files atomically: toy jets, scores.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/core/output_file.hpp"

namespace bunchtrain::data {

/// One column of a compound dataset: exactly one of the vectors is used.
struct CompoundColumn {
  std::string name = {};
  std::vector<double> reals = {};  ///< written as `real_bytes`
  std::vector<std::int64_t> integers = {};
  std::vector<std::uint8_t> flags = {};
  int real_bytes = 4;
};

/// A file that appears under its name only by `commit()`. @throws DataError with the system's
/// reason (disk full, read-only).
class Hdf5Writer {
 public:
  explicit Hdf5Writer(std::filesystem::path path);
  /// For commands: refuses what `require_writable_output` refuses, here and again in `commit`, and marks the
  /// file as `kind`, by which the same command knows its own (own_file.hpp). @throws ConfigError
  Hdf5Writer(OutputFile output, std::string_view kind);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  /// A chunked dataset (deflate + shuffle if `deflate_level` > 0) that grows along
  /// its first axis by `append`.
  void create_dataset(std::string_view name, const at::Tensor& first_rows, std::int64_t chunk_rows,
                      int deflate_level = 4);
  void append(std::string_view name, const at::Tensor& rows);
  void write_compound(std::string_view name, std::span<const CompoundColumn> columns);
  /// On a dataset, or on the root if `object` is "/".
  void write_attribute(std::string_view object, std::string_view name, std::string_view value);
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
