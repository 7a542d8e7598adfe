// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small HDF5 files for the tests, written by HDF5 itself.

#include <gtest/gtest.h>
#include <hdf5.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// A folder of its own per test, removed at the end.
class Hdf5FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("bunchtrain-" + std::to_string(getpid()) + "-" + info->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
};

/// How a dataset is to be stored.
struct StorageChoice {
  std::string name = "contiguous";
  std::vector<hsize_t> chunk = {};
  std::function<void(hid_t)> properties = [](hid_t) {};  ///< of the dataset creation list
};

/// How a file is to be created.
struct FileChoice {
  hsize_t userblock = 0;
  bool latest_format = false;
  bool track_order = false;  ///< makes version 2 object headers
};

inline hid_t create_file(const std::string& path, const FileChoice& choice = {}) {
  const hid_t create = H5Pcreate(H5P_FILE_CREATE);
  if (choice.userblock > 0) H5Pset_userblock(create, choice.userblock);
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (choice.latest_format) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create, access);
  H5Pclose(create);
  H5Pclose(access);
  return file;
}

/// Writes `values` (elements of `memory`, as many as `shape` holds; none if null) as a dataset of `type`.
inline void write_dataset(hid_t file, const std::string& name, hid_t type, hid_t memory,
                          const std::vector<hsize_t>& shape, const void* values,
                          const StorageChoice& storage = {}, bool track_order = false) {
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  if (!storage.chunk.empty())
    H5Pset_chunk(create, static_cast<int>(storage.chunk.size()), storage.chunk.data());
  if (track_order) H5Pset_attr_creation_order(create, H5P_CRT_ORDER_TRACKED);
  storage.properties(create);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const hid_t dataset = H5Dcreate2(file, name.c_str(), type, space, links, create, H5P_DEFAULT);
  EXPECT_GE(dataset, 0) << name;
  if (values != nullptr) {
    EXPECT_GE(H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0) << name;
  }
  H5Dclose(dataset);
  H5Pclose(links);
  H5Pclose(create);
  H5Sclose(space);
}

inline void write_floats(hid_t file, const std::string& name, const std::vector<hsize_t>& shape,
                         const std::vector<float>& values, const StorageChoice& storage = {}) {
  write_dataset(file, name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape, values.data(), storage);
}

}  // namespace bunchtrain::data
