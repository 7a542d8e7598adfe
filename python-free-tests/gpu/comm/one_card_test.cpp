// SPDX-License-Identifier: Apache-2.0
// Two ranks on one card: NCCL is not asked, the tensors travel by MPI.
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "one_card.hpp"

namespace bunchtrain::comm {
namespace {

const c10::Device kFirstGpu(c10::kCUDA, 0);

TEST(OneCardTest, AutomaticTakesMpiAndReduces) {
  auto comm = Communicator::create(test_world(), kFirstGpu);
  EXPECT_EQ(comm.backend(), Backend::mpi);
  const auto tensor = at::full({1000}, 1.0 + comm.rank(), at::TensorOptions().device(kFirstGpu));
  comm.all_reduce(tensor).wait();
  EXPECT_EQ(tensor.min().item<double>(), 3.0);
  EXPECT_EQ(tensor.max().item<double>(), 3.0);
  comm.close();
}

TEST(OneCardTest, NcclIsRefusedWithTheWayToStart) {
  unsetenv("NCCL_HOSTID");  // the kit starts all tests of two ranks with it
  try {
    Communicator::create(test_world(), kFirstGpu, {.backend = Backend::nccl});
    ADD_FAILURE() << "no ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), testing::AllOf(testing::HasSubstr("ranks 0, 1 share the GPU"),
                                                testing::HasSubstr("backend = mpi")));
  }
  test_world().barrier();
}

}  // namespace
}  // namespace bunchtrain::comm
