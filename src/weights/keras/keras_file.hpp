// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a Keras weight file is made of, read without trust: groups, lists of names, arrays.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hdf5_library.hpp"

namespace bunchtrain::weights::detail {

/// An open file. Paths are those of HDF5 ("dense_1/dense_1/kernel:0"), from the root, "" = the root itself;
/// only hard links are followed. Every call @throws CheckpointError naming file and object.
class KerasFile {
 public:
  explicit KerasFile(const std::filesystem::path& path);
  ~KerasFile();
  KerasFile(const KerasFile&) = delete;
  KerasFile& operator=(const KerasFile&) = delete;

  bool has_group(const std::string& path) const;
  /// The list of names that a group has as attribute; also in the parts NAME0, NAME1, ... that h5py's users
  /// make of long ones. nullopt if it has none.
  std::optional<std::vector<std::string>> names(const std::string& group, const std::string& attribute) const;
  /// Paths of all arrays below a group, names with numbers in the order of the numbers.
  std::vector<std::string> arrays_below(const std::string& group) const;
  /// float32, or float64 if the file has it so. Sizes are checked before anything is allocated.
  at::Tensor read(const std::string& path);

  [[noreturn]] void fail(const std::string& object, const std::string& fault) const;

 private:
  hdf5::Object open(const std::string& path) const;
  std::vector<std::string> read_names(hid_t object, const std::string& attribute,
                                      const std::string& path) const;
  std::vector<std::int64_t> checked_shape(hid_t dataset, const std::string& path);
  void check_storage(hid_t dataset, std::uint64_t elements, const std::string& path);
  struct Listing {
    std::vector<std::string> arrays;
    std::size_t visited = 0;  ///< a group may contain itself
  };
  void list(const std::string& path, int depth, Listing& listing) const;

  std::string path_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t bytes_left_ = 0;  ///< of the file, not yet claimed by an array
  hdf5::File file_;
};

/// Whether `left` comes before `right`: text as text, numbers in it as numbers (conv3d_9 before conv3d_10).
bool natural_less(const std::string& left, const std::string& right);

}  // namespace bunchtrain::weights::detail
