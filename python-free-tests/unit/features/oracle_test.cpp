// SPDX-License-Identifier: Apache-2.0 The features of real top-tagging jets against those that an independent
// implementation computed (oracle files).
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::features {
namespace {

const std::string kData = BUNCHTRAIN_TEST_DATA;

/// All rows of a top-tagging file, 200 constituents each.
RawColumns read_top_tagging(const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "table/table", H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  hsize_t rows = 0;
  H5Sget_simple_extent_dims(space, &rows, nullptr);
  const hsize_t width = 804;
  const hid_t array = H5Tarray_create2(H5T_NATIVE_FLOAT, 1, &width);
  const hid_t member = H5Tcreate(H5T_COMPOUND, H5Tget_size(array));
  H5Tinsert(member, "values_block_0", 0, array);
  std::vector<float> table(rows * width);
  EXPECT_GE(H5Dread(dataset, member, H5S_ALL, H5S_ALL, H5P_DEFAULT, table.data()), 0);
  for (const hid_t type : {member, array}) H5Tclose(type);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);

  RawColumns raw;
  raw.rows = static_cast<std::int64_t>(rows);
  raw.slots = 200;
  raw.file = path;
  const char* names[] = {"e", "px", "py", "pz"};
  for (const char* name : names) raw.particle[name].resize(rows * 200);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < 800; ++i)
      raw.particle[names[i % 4]][row * 200 + i / 4] = table[row * width + i];
  }
  return raw;
}

TEST(FeatureOracleTest, KinematicsOfRealJetsEqualTheOracles) {
  const weights::SafeTensors oracle = weights::read_safetensors(kData + "/oracle/particlenet.safetensors");
  // [16, 7, 128].
  const at::Tensor expected = oracle.tensors["input.features"].toType(at::kFloat).contiguous();
  ASSERT_EQ(expected.sizes(), (std::vector<std::int64_t>{16, 7, 128}));
  const RawColumns raw = read_top_tagging(kData + "/jets/toptagging_val.h5");
  std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
  std::iota(rows.begin(), rows.end(), 0);
  const FeatureBlock block = FeaturePipeline(load_card("top_tagging")).evaluate(raw, rows);
  const float* got = block.tensors["features"].const_data_ptr<float>();  // [rows, 128, 7]
  const float* wanted = expected.const_data_ptr<float>();

  // The oracle does not say which rows it took: each of its jets must be one of the file's, in every feature.
  for (std::int64_t jet = 0; jet < 16; ++jet) {
    double best = 1e9;
    for (std::int64_t row = 0; row < raw.rows && best > 1e-5; ++row) {
      double worst = 0;
      for (std::int64_t i = 0; i < 128 * 7 && worst < best; ++i) {
        const double difference = static_cast<double>(got[row * 128 * 7 + i]) -
                                  static_cast<double>(wanted[(jet * 7 + i % 7) * 128 + i / 7]);
        worst = std::max(worst, std::abs(difference));
      }
      best = std::min(best, worst);
    }
    EXPECT_LT(best, 1e-5) << "oracle jet " << jet;
  }
}

}  // namespace
}  // namespace bunchtrain::features
