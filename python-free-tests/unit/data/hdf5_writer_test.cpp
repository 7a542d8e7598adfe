// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/hdf5_writer.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

class Hdf5WriterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("bunchtrain-writer-" + std::to_string(getpid()));
    fs::create_directories(folder_);
    path_ = folder_ / "out.h5";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<float> read_floats(const char* dataset, std::vector<hsize_t>& shape) const {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t data = H5Dopen2(file, dataset, H5P_DEFAULT);
    const hid_t space = H5Dget_space(data);
    shape.resize(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
    H5Sget_simple_extent_dims(space, shape.data(), nullptr);
    std::vector<float> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
    EXPECT_GE(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Sclose(space);
    H5Dclose(data);
    H5Fclose(file);
    return values;
  }

  fs::path folder_, path_;
};

TEST_F(Hdf5WriterTest, GrowsAlongTheFirstAxis) {
  for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kLong, at::kInt, at::kShort, at::kByte}) {
    const at::Tensor values = at::arange(7 * 2 * 3, at::kFloat).reshape({7, 2, 3});
    {
      Hdf5Writer writer(path_);
      writer.create_dataset("group/x", values.narrow(0, 0, 4).to(type), 3);
      writer.append("group/x", values.narrow(0, 4, 3).to(type));
      writer.commit();
    }
    std::vector<hsize_t> shape;
    EXPECT_THAT(read_floats("group/x", shape),
                testing::Pointwise(testing::Eq(), std::vector<float>(values.data_ptr<float>(),
                                                                     values.data_ptr<float>() + 42)));
    EXPECT_THAT(shape, testing::ElementsAre(7, 2, 3));
  }
}

TEST_F(Hdf5WriterTest, WritesCompoundsAndAttributes) {
  {
    Hdf5Writer writer(path_);
    const std::vector<CompoundColumn> columns = {
        {.name = "row", .reals = {}, .integers = {5, 6}, .flags = {}},
        {.name = "score", .reals = {0.25, 0.75}, .integers = {}, .flags = {}},
        {.name = "selected", .reals = {}, .integers = {}, .flags = {1, 0}}};
    writer.write_compound("scores", columns);
    writer.write_attribute("scores", "classes", "qcd,top");
    writer.write_attribute("/", "run", "");
    writer.commit();
  }
  struct Row {
    std::int64_t row;
    float score;
    std::uint8_t selected;
  };
  const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(Row));
  H5Tinsert(type, "row", HOFFSET(Row, row), H5T_NATIVE_INT64);
  H5Tinsert(type, "score", HOFFSET(Row, score), H5T_NATIVE_FLOAT);
  H5Tinsert(type, "selected", HOFFSET(Row, selected), H5T_NATIVE_UINT8);
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t data = H5Dopen2(file, "scores", H5P_DEFAULT);
  std::vector<Row> rows(2);
  ASSERT_GE(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows.data()), 0);
  EXPECT_EQ(rows[1].row, 6);
  EXPECT_EQ(rows[0].score, 0.25F);
  EXPECT_EQ(rows[0].selected, 1);
  EXPECT_GT(H5Aexists(data, "classes"), 0);
  H5Tclose(type);
  H5Dclose(data);
  H5Fclose(file);
}

TEST_F(Hdf5WriterTest, LeavesNothingWithoutCommit) {
  {
    Hdf5Writer writer(path_);
    writer.create_dataset("x", at::zeros({10, 2}), 5);
    EXPECT_FALSE(fs::exists(path_));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Hdf5WriterTest, NamesTheFolderThatIsMissing) {
  try {
    Hdf5Writer writer(folder_ / "nowhere" / "out.h5");
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("nowhere"));
  }
}

TEST_F(Hdf5WriterTest, RefusesRowsThatDoNotFit) {
  Hdf5Writer writer(path_);
  writer.create_dataset("x", at::zeros({10, 2}), 5);
  EXPECT_THROW(writer.append("x", at::zeros({10, 3})), ConfigError);
  EXPECT_THROW(writer.append("x", at::zeros({10, 2}, at::kInt)), ConfigError);
  EXPECT_THROW(writer.append("y", at::zeros({10, 2})), ConfigError);
}

// Exits with 1 and the message if writing 400 kB fails as it should, with 2 if the
// file appeared nevertheless.
[[noreturn]] void write_to_a_full_disk(const fs::path& path) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
  setrlimit(RLIMIT_FSIZE, &limit);
  try {
    Hdf5Writer writer(path);
    writer.create_dataset("x", at::arange(100000, at::kFloat), 1000, 0);
    writer.commit();
  } catch (const DataError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(fs::exists(path) ? 2 : 1);
  }
  std::_Exit(0);
}

// A limit on the file size stands for a full disk: the reason of the system reaches the user.
TEST_F(Hdf5WriterTest, FullDiskIsReported) {
  EXPECT_EXIT(write_to_a_full_disk(path_), testing::ExitedWithCode(1), "out.h5.*File too large");
}

TEST_F(Hdf5WriterTest, RefusesNumbersThatHdf5HasNot) {
  Hdf5Writer writer(path_);
  try {
    writer.create_dataset("x", at::zeros({2}, at::kComplexFloat), 2);
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(),
                testing::AllOf(testing::HasSubstr("ComplexFloat"), testing::HasSubstr("float32, float64")));
  }
}

TEST_F(Hdf5WriterTest, AFolderInItsPlaceIsNamed) {
  Hdf5Writer writer(path_);
  writer.create_dataset("x", at::zeros({2}), 2);
  fs::create_directories(fs::path(path_) / "sub");
  try {
    writer.commit();
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("out.h5"));
  }
}

}  // namespace
}  // namespace bunchtrain::data
