// SPDX-License-Identifier: Apache-2.0 The angles that the variable-angle file carries were measured from its
// images by the published formula, in another program.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <array>
#include <filesystem>
#include <string>

#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::ops {
namespace {

class ShowerFile {
 public:
  ShowerFile()
      : file_(H5Fopen(
            (std::filesystem::path(BUNCHTRAIN_TEST_DATA) / "showers/Ele_VarAngleMeas_10_100_000.h5").c_str(),
            H5F_ACC_RDONLY, H5P_DEFAULT)) {}
  ~ShowerFile() { H5Fclose(file_); }
  ShowerFile(const ShowerFile&) = delete;
  ShowerFile& operator=(const ShowerFile&) = delete;

  /// Rows [first, first + shape[0]) of a dataset, float32.
  at::Tensor rows(const char* name, hsize_t first, std::vector<std::int64_t> shape) const {
    const at::Tensor values = at::empty(shape, at::kFloat);
    std::vector<hsize_t> start(shape.size(), 0), count(shape.begin(), shape.end());
    start[0] = first;
    const hid_t dataset = H5Dopen2(file_, name, H5P_DEFAULT);
    const hid_t space = H5Dget_space(dataset);
    const hid_t memory = H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values.mutable_data_ptr()), 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(dataset);
    return values;
  }

 private:
  hid_t file_;
};

TEST(MeasuredAnglesTest, EqualThoseOfTheFile) {
  constexpr std::int64_t kShowers = 100;
  const ShowerFile file;
  for (const hsize_t first : {0, 1000, 3900}) {
    const at::Tensor image = file.rows("ECAL", first, {kShowers, 51, 51, 25});
    const at::Tensor measured = file.rows("mtheta", first, {kShowers});
    EXPECT_LT((ecal_angle(image) - measured).abs().max().item<float>(), 1e-4) << "from " << first;
    // As the discriminator sees them: to the power 0.85 and back.
    EXPECT_LT((ecal_angle(image.pow(0.85), 0.85) - measured).abs().max().item<float>(), 1e-4)
        << "from " << first;
  }
}

}  // namespace
}  // namespace bunchtrain::ops
