// SPDX-License-Identifier: Apache-2.0
// What happens on the GPU when a rank is missing, and the order of streams.
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "one_card.hpp"

namespace bunchtrain::comm {
namespace {

class NcclFaultTest : public testing::Test {
 protected:
  NcclFaultTest() { let_ranks_share_gpus(); }
  Communicator create(std::chrono::milliseconds timeout) {
    return Communicator::create(test_world(), device,
                                {.backend = Backend::nccl, .timeout = timeout, .name = "trial"});
  }
  int rank = test_world().rank();
  int size = test_world().size();
  c10::Device device = test_gpu();
};

TEST_F(NcclFaultTest, OperationsAreOrderedAfterAndBeforeTheCallersStream) {
  auto comm = create(std::chrono::seconds(30));
  const auto stream = c10::cuda::getStreamFromPool(false, device.index());
  const c10::cuda::CUDAStreamGuard guard(stream);
  for (int round = 0; round < 20; ++round) {
    auto tensor =
        at::full({1 << 20}, static_cast<double>(round), at::TensorOptions().dtype(at::kFloat).device(device));
    tensor.add_(1);  // still running when the operation is issued
    comm.all_reduce(tensor).wait();
    tensor.mul_(2);  // issued before the operation is complete
    EXPECT_EQ(tensor.max().item<float>(), static_cast<float>(2 * (round + 1) * size));
    EXPECT_EQ(tensor.min().item<float>(), static_cast<float>(2 * (round + 1) * size));
  }
  comm.close();
}

TEST_F(NcclFaultTest, MissingRankIsNamedAndTheStreamComesBack) {
  auto comm = create(std::chrono::seconds(2));
  const auto tensor = at::ones({1024}, at::TensorOptions().dtype(at::kFloat).device(device));
  comm.all_reduce(tensor).wait();
  if (rank == 0) {
    auto work = comm.all_reduce(tensor);
    std::string text;
    try {
      while (!work.poll()) {
      }
    } catch (const CommError& error) {
      text = error.message();
    }
    EXPECT_THAT(text, testing::HasSubstr("Silent: rank 1"));
    c10::cuda::device_synchronize();  // would hang if the kernel were still spinning
    EXPECT_THROW(comm.barrier(), CommError);
  }
  test_world().barrier();
}

TEST_F(NcclFaultTest, WaitingForAMissingRankFailsTheCommunicatorAsWell) {
  auto comm = create(std::chrono::seconds(2));
  const auto tensor = at::ones({1024}, at::TensorOptions().dtype(at::kFloat).device(device));
  comm.all_reduce(tensor).wait();
  if (rank == 0) {
    auto work = comm.all_reduce(tensor);
    work.wait();                      // orders the stream
    c10::cuda::device_synchronize();  // comes back when the watchdog has aborted
    EXPECT_THROW(comm.all_reduce(tensor).wait(), CommError);
    EXPECT_THROW(comm.barrier(), CommError);
  }
  test_world().barrier();
}

}  // namespace
}  // namespace bunchtrain::comm
