// SPDX-License-Identifier: Apache-2.0 The published ParticleNet scores on the 404,000 jets of the top-tagging
// test set, and the figures known for them.

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <stdexcept>
#include <string>

#include "bunchtrain/core/detail/unique_handle.hpp"
#include "bunchtrain/metrics/classification.hpp"

namespace bunchtrain::metrics {
namespace {

template <herr_t (*Close)(hid_t)>
struct Hdf5Traits {
  using Handle = hid_t;
  static Handle null() noexcept { return -1; }
  static void close(Handle handle) noexcept { Close(handle); }
};

at::Tensor read(hid_t file, const char* name, hid_t type, at::ScalarType dtype) {
  const UniqueHandle<Hdf5Traits<H5Dclose>> dataset(H5Dopen2(file, name, H5P_DEFAULT));
  const UniqueHandle<Hdf5Traits<H5Sclose>> space(H5Dget_space(dataset.get()));
  at::Tensor tensor = at::empty({H5Sget_simple_extent_npoints(space.get())}, dtype);
  if (H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.data_ptr()) < 0) {
    throw std::runtime_error(std::string("cannot read ") + name);
  }
  return tensor;
}

TEST(PublishedScoresTest, ParticleNetOnTopTagging) {
  const std::string path = BUNCHTRAIN_TEST_DATA "/scores/particlenet_toptagging_run0.h5";
  const UniqueHandle<Hdf5Traits<H5Fclose>> file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  const at::Tensor score = read(file.get(), "score", H5T_NATIVE_DOUBLE, at::kDouble);
  const at::Tensor label = read(file.get(), "label", H5T_NATIVE_INT64, at::kLong);
  at::Tensor scores = at::empty({score.size(0), 2}, at::kDouble);
  scores.select(1, 1).copy_(score);
  scores.select(1, 0).copy_(score.neg().add_(1));

  ClassificationMetrics metrics({.classes = {"qcd", "top"}});
  metrics.add_scores(scores, label);
  const ClassificationResult result = metrics.compute();
  EXPECT_EQ(result.samples, 404'000);
  EXPECT_NEAR(result.accuracy, 0.938317, 1e-6);
  EXPECT_NEAR(result.auc, 0.984758, 1e-6);
  EXPECT_NEAR(result.rejection(0.5).value, 329.9, 0.05);
  EXPECT_NEAR(result.rejection(0.3).value, 1311.1, 0.05);
  EXPECT_FALSE(result.rejection(0.3).is_lower_limit);
  EXPECT_LE(result.signals[0].roc.size(), 400u);
}

}  // namespace
}  // namespace bunchtrain::metrics
