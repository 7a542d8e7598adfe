// SPDX-License-Identifier: Apache-2.0
// The conversion lines that messages print are run as they are printed, and their results read. Registered
// only where Python with h5py is, which the project itself does not need.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using namespace std::string_literals;

class AdviceTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
  }
  /// Runs the line in `message`.
  static void follow(const std::string& message) {
    const auto begin = message.find("python3 -c \"");
    ASSERT_NE(begin, std::string::npos) << message;
    const std::string line = message.substr(begin, message.find('"', begin + 12) + 1 - begin);
    EXPECT_EQ(std::system(line.c_str()), 0) << line;
  }
  void follow_refusal_of(const std::string& name) const {
    try {
      OpenedFile{path(name)};
      FAIL() << name << " is accepted";
    } catch (const DataError& error) {
      follow(error.message());
    }
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("bunchtrain_advice_" + std::to_string(getpid()));
};

// Version 1 of NumPy's format: [4, 2] doubles.
std::string npy_of_eight_numbers() {
  std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 2), }";
  header.resize(117, ' ');
  header += '\n';
  std::string values(64, '\0');
  return "\x93NUMPY\x01\0"s + static_cast<char>(header.size()) + '\0' + header + values;
}

TEST_F(AdviceTest, ArraysOfNumPyAreConverted) {
  write("jets.npy", npy_of_eight_numbers());
  follow_refusal_of("jets.npy");
  EXPECT_EQ(list_contents(path("jets.h5")).at(0).text, "[4, 2] float64");
}

TEST_F(AdviceTest, ArchivesOfNumPyAreConverted) {
  const std::string line = "python3 -c \"import numpy; numpy.savez('" + path("jets.npz") +
                           "', X=numpy.ones((3, 2)), y=numpy.arange(3))\"";
  ASSERT_EQ(std::system(line.c_str()), 0);
  follow_refusal_of("jets.npz");
  const auto contents = list_contents(path("jets.h5"));
  ASSERT_EQ(contents.size(), 2U);
  EXPECT_EQ(contents[0].text, "[3, 2] float64");
  EXPECT_EQ(contents[1].text, "[3] int64");
}

TEST_F(AdviceTest, FilesOfANewerHdf5AreRewritten) {
  std::filesystem::copy_file(BUNCHTRAIN_TEST_DATA "/trouble/hdf5_2_latest.h5", path("new.h5"));
  follow(list_contents(path("new.h5")).at(0).unreadable);
  const auto contents = list_contents(path("new.v110.h5"));
  ASSERT_EQ(contents.size(), 3U);
  EXPECT_EQ(contents[0].text, "[90, 4] float32");
  EXPECT_EQ(contents[2].text, "[90, 30, 4] float32");
  EXPECT_EQ(OpenedFile(path("new.v110.h5")).open("particle_features", false).layout().rows(), 90U);
}

}  // namespace
}  // namespace bunchtrain::data
