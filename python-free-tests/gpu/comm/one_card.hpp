// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Ranks of a test and their GPUs: where there are fewer GPUs than ranks, some share one.

#include <c10/cuda/CUDAFunctions.h>

#include <cstdlib>
#include <string>

#include "mpi/comm/world.hpp"

namespace bunchtrain {

inline c10::Device test_gpu() {
  const int index = test_world().local_rank() % c10::cuda::device_count();
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

/// NCCL refuses two ranks of one machine on one GPU: lets them pass for ranks of different machines
/// that talk over the loopback device. For tests of function only, and unsupported by NCCL. Must
/// precede NCCL's first call.
inline void let_ranks_share_gpus() {
  if (test_world().local_size() <= c10::cuda::device_count()) return;
  setenv("NCCL_HOSTID", ("rank" + std::to_string(test_world().rank())).c_str(), 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 1);
  setenv("NCCL_IB_DISABLE", "1", 1);
  setenv("NCCL_NVLS_ENABLE", "0", 1);
  setenv("NCCL_MAX_CTAS", "2", 1);  // the kernels of both must fit on the card at once
  setenv("NCCL_RAS_ENABLE", "0", 1);
}

}  // namespace bunchtrain
