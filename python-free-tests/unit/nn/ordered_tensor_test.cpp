// SPDX-License-Identifier: Apache-2.0
// Tensors between streams, on a device that only notes what it is asked for.
#include "ordered_tensor.hpp"

#include <ATen/ops/ones.h>
#include <c10/core/TensorImpl.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <string>
#include <vector>

namespace bunchtrain::nn::detail {
namespace {

thread_local c10::StreamId current = 0;
std::vector<std::string> calls;

void note(const std::string& what, const c10::Stream& stream) {
  calls.push_back(what + " on stream " + std::to_string(stream.id()));
}

struct NotedStreams final : c10::impl::DeviceGuardImplInterface {
  static constexpr auto static_type = c10::DeviceType::PrivateUse1;
  NotedStreams() = default;
  explicit NotedStreams(c10::DeviceType) {}
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {static_type, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, current);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream& stream, c10::DeviceIndex, c10::EventFlag) const override {
    *event = &calls;  // any address
    note("record", stream);
  }
  void block(void* event, const c10::Stream& stream) const override {
    EXPECT_EQ(event, &calls);
    note("wait", stream);
  }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, NotedStreams);

void record_stream(at::Tensor& /*tensor*/, c10::Stream stream) { note("keep", stream); }
TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) { library.impl("record_stream", &record_stream); }

at::Tensor tensor_on_the_device() {
  return at::Tensor(c10::make_intrusive<c10::TensorImpl>(c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                                         caffe2::TypeMeta::Make<float>(),
                                                         c10::Device(NotedStreams::static_type, 0)));
}

using Calls = std::vector<std::string>;

TEST(OrderedTensorTest, OtherStreamsWaitForTheWriterAndKeepTheMemory) {
  calls.clear();
  current = 1;
  const OrderedTensor tensor(tensor_on_the_device());
  EXPECT_EQ(calls, Calls{"record on stream 1"});
  calls.clear();
  tensor.on_current_stream();
  EXPECT_EQ(calls, Calls{}) << "the writer's own stream is in order";
  current = 2;
  tensor.on_current_stream();
  EXPECT_EQ(calls, (Calls{"wait on stream 2", "keep on stream 2"}));
}

TEST(OrderedTensorTest, TheCpuHasNoStreams) {
  calls.clear();
  const at::Tensor ones = at::ones({2});
  EXPECT_TRUE(OrderedTensor(ones).on_current_stream().is_same(ones));
  EXPECT_FALSE(OrderedTensor().on_current_stream().defined());
  EXPECT_EQ(calls, Calls{});
}

}  // namespace
}  // namespace bunchtrain::nn::detail
