// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Datasets with rows that are not there, written and opened.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "hdf5_samples.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

using Values = std::vector<float>;

inline const std::vector<hsize_t> kShape = {60, 5};
inline constexpr std::size_t kRow = 5;

inline Values counted(std::size_t rows, float from = 0, std::size_t row = kRow) {
  Values values(rows * row);
  std::iota(values.begin(), values.end(), from);
  return values;
}

class AbsentRowsTest : public Hdf5FilesTest {
 protected:
  static StoredDataset open(const std::string& file, const std::string& name = "x") {
    return StoredDataset(std::make_shared<const hdf5::File>(hdf5::open_read_only(file)),
                         std::make_shared<const FileBytes>(file), name);
  }

  static Values read(const StoredDataset& dataset, std::size_t first, std::size_t count,
                     bool library = false) {
    const std::size_t row_bytes = dataset.layout().row_bytes();
    Values values(count * row_bytes / sizeof(float));
    const auto sink = [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
      std::memcpy(reinterpret_cast<std::byte*>(values.data()) + at * row_bytes, bytes, rows * row_bytes);
    };
    library ? dataset.read_by_library(first, count, sink) : dataset.read(first, count, sink);
    return values;
  }

  static void expect_equals_library(const StoredDataset& dataset) {
    const std::size_t rows = dataset.layout().rows();
    for (const auto& [first, count] : std::vector<std::pair<std::size_t, std::size_t>>{
             {0, rows}, {0, 1}, {rows - 1, 1}, {rows / 3, rows / 2}, {rows / 2 - 1, 3}})
      EXPECT_EQ(read(dataset, first, count), read(dataset, first, count, true)) << count << " from " << first;
  }

  /// What opening for a card says; "" if all rows are there.
  static std::string refusal(const std::string& file, const std::string& name = "x", bool fill = false) {
    try {
      open(file, name).require_rows(fill);
    } catch (const DataError& error) {
      return error.what();
    }
    return {};
  }

  /// Writes rows [first, first + count) of a dataset [rows, 5].
  static void write_rows(hid_t dataset, hsize_t first, hsize_t count, hsize_t columns = kRow) {
    const hid_t space = H5Dget_space(dataset);
    const hsize_t start[] = {first, 0}, extent[] = {count, columns};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, extent, nullptr);
    const hid_t memory = H5Screate_simple(2, extent, nullptr);
    const Values values = counted(count, 1, columns);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values.data()), 0);
    H5Sclose(memory);
    H5Sclose(space);
  }

  std::string write_partly(const std::string& name, const StorageChoice& storage, hsize_t first,
                           hsize_t count, const FileChoice& format = {}, hsize_t columns = kRow) const {
    const hid_t file = create_file(path(name), format);
    write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, kShape, nullptr, storage);
    if (count > 0) {
      const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
      write_rows(dataset, first, count, columns);
      H5Dclose(dataset);
    }
    H5Fclose(file);
    return path(name);
  }
};

/// What opening itself says.
inline std::string refusal_to_open(const std::function<void()>& open) {
  try {
    open();
  } catch (const DataError& error) {
    return error.what();
  }
  return "opened";
}

/// Runs `action`, which says what it was told, in a process that may open `files` files.
inline std::string told_with_few_files(rlim_t files, const std::string& answer,
                                       const std::function<std::string()>& action) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit few{.rlim_cur = files, .rlim_max = files};
    std::ofstream out(answer);
    setrlimit(RLIMIT_NOFILE, &few);
    out << action() << std::flush;
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::ifstream in(answer);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace bunchtrain::data
