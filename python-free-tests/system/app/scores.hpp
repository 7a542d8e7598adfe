// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What `bunchtrain evaluate` wrote.

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace bunchtrain::test {

struct Scores {
  std::vector<std::int64_t> row, label;
  std::vector<std::uint8_t> selected;
  std::vector<float> qcd;
};

/// One member of the compound dataset `scores`, converted by HDF5.
template <class T>
std::vector<T> read_member(const std::string& file, const char* member, hid_t type) {
  const hid_t handle = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(handle, "scores", H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  const hid_t compound = H5Tcreate(H5T_COMPOUND, sizeof(T));
  H5Tinsert(compound, member, 0, type);
  EXPECT_GE(H5Dread(dataset, compound, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << member;
  H5Tclose(compound);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(handle);
  return values;
}

inline Scores read_scores(const std::string& file) {
  return {.row = read_member<std::int64_t>(file, "row", H5T_NATIVE_INT64),
          .label = read_member<std::int64_t>(file, "label", H5T_NATIVE_INT64),
          .selected = read_member<std::uint8_t>(file, "selected", H5T_NATIVE_UINT8),
          .qcd = read_member<float>(file, "score_qcd", H5T_NATIVE_FLOAT)};
}

inline double spread(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / count);
}

/// Estimates of energies follow them: what is left is well below their own spread. Rows that were not scored
/// hold NaN.
inline void expect_learned(const std::vector<double>& estimate, const std::vector<double>& target) {
  ASSERT_EQ(estimate.size(), target.size());
  std::vector<double> residual, judged;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (std::isnan(estimate[i])) continue;
    residual.push_back(estimate[i] - target[i]);
    judged.push_back(target[i]);
  }
  ASSERT_GT(residual.size(), 100U);
  EXPECT_LT(spread(residual), 0.7 * spread(judged));
}

}  // namespace bunchtrain::test
