// SPDX-License-Identifier: Apache-2.0
// Snapshots of CUDA tensors hold what was there when they were saved, and are read anywhere.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "gpu/device_under_test.hpp"
#include "unit/checkpoint/store_fixture.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::checkpoint {
namespace {

class StoreGpuTest : public StoreFixture {
 protected:
  const c10::Device device_ = test::device_under_test();
};

TEST_F(StoreGpuTest, KeepsEveryTypeAndLayoutBitByBit) {
  const at::Tensor values = nn::random_normal({6, 5, 4, 3, 2}, 1);
  Components components;
  NamedTensors& tensors = components["model"].tensors;
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kInt, at::kBool})
    tensors.set(c10::toString(type), values.mul(3).to(type).to(device_));
  tensors.set("channels-last",
              values.to(at::kFloat).to(device_).contiguous(at::MemoryFormat::ChannelsLast3d));
  tensors.set("view", values.to(at::kFloat).to(device_).slice(1, 1, 4).transpose(0, 2));
  tensors.set("empty", values.to(device_).narrow(0, 0, 0));
  Store store = make_store();
  store.save({.step = 1, .components = components});
  const auto snapshot = make_store().load_latest();
  ASSERT_TRUE(snapshot);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& read = snapshot->components.at("model").tensors[name];
    EXPECT_TRUE(read.device().is_cpu()) << name;
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(read.equal(tensor.cpu())) << name;
  }
}

TEST_F(StoreGpuTest, HoldsWhatTheDeviceWasStillComputing) {
  Store store = make_store();
  at::Tensor values = nn::random_normal({512, 512}, 1, at::kFloat).to(device_);
  for (int i = 0; i < 50; ++i) values = values.mm(values).clamp(-1, 1);
  Components components;
  components["model"].tensors.set("values", values);
  store.save({.step = 1, .components = components});
  const at::Tensor before = values.cpu().clone();
  values.zero_();  // after the save: nothing of it may be there
  EXPECT_TRUE(make_store().load_latest()->components.at("model").tensors["values"].equal(before));
}

}  // namespace
}  // namespace bunchtrain::checkpoint
