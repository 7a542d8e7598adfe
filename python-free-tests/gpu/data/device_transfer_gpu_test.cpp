// SPDX-License-Identifier: Apache-2.0 Batches arrive on the card as they left: under load, in order, on any
// stream, with memory that is used again.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "gpu/device_under_test.hpp"
#include "loader/device_transfer.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::data {
namespace {

const c10::Device& device() {
  static const c10::Device device = test::device_under_test();
  return device;
}

/// Something for the device to do for a while.
class Load {
 public:
  void operator()() {
    for (int i = 0; i < (device().is_cpu() ? 1 : 20); ++i) matrix_ = matrix_.mm(matrix_).clamp(-1, 1);
  }

 private:
  at::Tensor matrix_ =
      at::full({device().is_cpu() ? 64 : 2048, device().is_cpu() ? 64 : 2048}, 1e-3, at::kFloat).to(device());
};

/// 1,003 samples of several types; the first column of "features" counts them.
DatasetPtr make_samples() {
  constexpr std::int64_t kSamples = 1003;
  NamedTensors tensors;
  const at::Tensor numbers = at::arange(kSamples);
  tensors.set("features", numbers.to(at::kFloat).view({-1, 1, 1}).expand({kSamples, 50, 7}) +
                              at::arange(350, at::kFloat).view({50, 7}) * 1e-4);
  tensors.set("mask", numbers.view({-1, 1}).gt(at::arange(50)));
  tensors.set("label", numbers.remainder(5));
  return make_memory_dataset(std::move(tensors), 64);
}

DataLoaderOptions options_for(c10::Device where, int threads) {
  return {.global_batch = 96, .seed = 4, .threads = threads, .device = where};
}

void expect_equal(const Batch& found, const Batch& expected) {
  EXPECT_TRUE(found.sample_ids.cpu().equal(expected.sample_ids.cpu()));
  for (const auto& [name, tensor] : expected.tensors) {
    EXPECT_EQ(found[name].device().type(), device().type()) << name;
    EXPECT_TRUE(found[name].cpu().equal(tensor)) << name << ", step " << expected.step;
  }
}

TEST(DeviceTransferGpuTest, ALoaderUnderLoadGivesTheBatchesOfTheCpuInTheirOrder) {
  const DatasetPtr samples = make_samples();
  for (const int threads : {1, 4}) {
    DataLoader on_cpu(samples, options_for(c10::kCPU, 1)), loader(samples, options_for(device(), threads));
    Load load;
    for (int epoch = 0; epoch < 3; ++epoch) {
      while (auto expected = on_cpu.next()) {
        load();
        const auto found = loader.next();
        ASSERT_TRUE(found);
        EXPECT_EQ(found->step, expected->step);
        expect_equal(*found, *expected);
      }
      EXPECT_FALSE(loader.next());
    }
  }
}

TEST(DeviceTransferGpuTest, BatchesThatAreKeptStayAsTheyAre) {
  const DatasetPtr samples = make_samples();
  DataLoader on_cpu(samples, options_for(c10::kCPU, 1)), loader(samples, options_for(device(), 2));
  Load load;
  std::vector<Batch> expected, kept;
  while (auto batch = on_cpu.next()) expected.push_back(*batch);
  while (auto batch = loader.next()) {
    load();
    if (batch->step % 3 == 0) kept.push_back(*batch);  // the memory of the others is free for the next ones
  }
  for (const Batch& batch : kept) expect_equal(batch, expected[static_cast<std::size_t>(batch.step)]);
}

TEST(DeviceTransferGpuTest, WorkOnABatchThatIsDroppedAtOnceIsNotOverwritten) {
  const DatasetPtr samples = make_samples();
  DataLoader loader(samples, options_for(device(), 4));
  Load load;
  std::vector<at::Tensor> sums;
  std::vector<double> expected;
  for (int epoch = 0; epoch < 2; ++epoch)
    while (auto batch = loader.next()) {
      load();  // the sum below waits behind it while the next batches are copied
      sums.push_back(batch->tensors["features"].select(1, 0).select(1, 0).to(at::kDouble).sum());
      expected.push_back(batch->sample_ids.cpu().to(at::kDouble).sum().item<double>());
    }
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_EQ(sums[i].item<double>(), expected[i]) << i;
}

/// A tensor of one value in staging memory.
NamedTensors staged(const DeviceTransfer& transfer, double value) {
  NamedTensors tensors;
  const at::Tensor host = transfer.allocate({256, 1024}, at::kFloat);
  EXPECT_EQ(host.is_pinned(), device().is_cuda());
  tensors.set("x", host.fill_(value));
  return tensors;
}

TEST(DeviceTransferGpuTest, ManyCopiesOfSeveralThreadsAreUnderWayAtOnce) {
  constexpr int kThreads = 4, kCopies = 25;
  const DeviceTransfer transfer(device());
  std::vector<std::vector<DeviceTransfer::Pending>> pending(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < kCopies; ++i)
          pending[static_cast<std::size_t>(t)].push_back(transfer.start(staged(transfer, 100 * t + i)));
      });
  }
  for (int t = 0; t < kThreads; ++t)
    for (int i = 0; i < kCopies; ++i) {
      const NamedTensors arrived =
          transfer.finish(std::move(pending[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)]));
      EXPECT_EQ(arrived["x"].min().item<float>(), static_cast<float>(100 * t + i));
      EXPECT_EQ(arrived["x"].max().item<float>(), static_cast<float>(100 * t + i));
    }
}

TEST(DeviceTransferGpuTest, ArrivesOnWhateverStreamIsCurrent) {
  const DeviceTransfer transfer(device());
  const c10::impl::VirtualGuardImpl devices(device().type());
  Load load;
  std::vector<at::Tensor> sums;
  for (int round = 0; round < 10; ++round) {
    const c10::StreamGuard guard(device().is_cpu() ? devices.getStream(device())
                                                   : devices.getStreamFromGlobalPool(device()));
    load();
    // Dropped while the stream is still busy: the memory must not be given to the next copy before that.
    const NamedTensors arrived = transfer.finish(transfer.start(staged(transfer, round)));
    sums.push_back(arrived["x"].to(at::kDouble).sum());
  }
  if (device().is_cuda()) devices.synchronizeDevice(device().index());
  for (int round = 0; round < 10; ++round)
    EXPECT_EQ(sums[static_cast<std::size_t>(round)].item<double>(), round * 256.0 * 1024.0);
}

TEST(DeviceTransferGpuTest, ACopyThatNobodyAsksForHarmsNothing) {
  const DeviceTransfer transfer(device());
  for (int round = 0; round < 50; ++round) transfer.start(staged(transfer, round));
  const NamedTensors arrived = transfer.finish(transfer.start(staged(transfer, 7)));
  EXPECT_EQ(arrived["x"].sum().item<float>(), 7 * 256.0F * 1024.0F);
}

}  // namespace
}  // namespace bunchtrain::data
