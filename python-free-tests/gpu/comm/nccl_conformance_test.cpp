// SPDX-License-Identifier: Apache-2.0
// The suite over NCCL, and over MPI with GPU tensors staged through the host. More ranks than GPUs share a
// GPU.
#include <c10/cuda/CUDAFunctions.h>

#include "mpi/comm/world.hpp"
#include "unit/comm/conformance.hpp"

namespace bunchtrain::comm::under_test {

Communicator create(CommunicatorOptions options) {
  // NCCL refuses two ranks of one host on one GPU: let them look like different hosts. Must precede NCCL's
  // first call.
  if (test_world().size() > c10::cuda::device_count()) {
    setenv("NCCL_HOSTID", ("rank" + std::to_string(test_world().rank())).c_str(), 1);
    setenv("NCCL_SOCKET_IFNAME", "lo", 1);
  }
  options.backend = BUNCHTRAIN_TEST_BACKEND;
  return Communicator::create(test_world(), device(), std::move(options));
}

c10::Device device() {
  const int index = test_world().local_rank() % c10::cuda::device_count();
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace bunchtrain::comm::under_test
