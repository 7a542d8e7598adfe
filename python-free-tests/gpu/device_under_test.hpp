// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where the GPU tests compute.

#include <c10/core/Device.h>
#include <c10/cuda/CUDAFunctions.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace bunchtrain::test {

/// The card of the `local_rank`-th rank; more ranks than cards share them. BUNCHTRAIN_TEST_DEVICE=cpu tries
/// the tests themselves where there is none.
inline c10::Device device_under_test(int local_rank = 0) {
  const char* wish = std::getenv("BUNCHTRAIN_TEST_DEVICE");
  if (wish && std::string_view(wish) == "cpu") return c10::kCPU;
  const int cards = c10::cuda::device_count_ensure_non_zero();
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(local_rank % cards)};
}

/// Lets several NCCL ranks share a card: they pass for different hosts (research: NCCL 2.28 refuses two ranks
/// of one host on one card). Call it before NCCL's first call. For tests of function, never of speed.
inline void let_ranks_share_cards(int rank, int world) {
  if (device_under_test().is_cpu() || world <= c10::cuda::device_count()) return;
  setenv("NCCL_HOSTID", ("rank" + std::to_string(rank)).c_str(), 1);
  for (const auto& [name, value] : {std::pair{"NCCL_SOCKET_IFNAME", "lo"},
                                    {"NCCL_IB_DISABLE", "1"},
                                    {"NCCL_NVLS_ENABLE", "0"},
                                    {"NCCL_MAX_CTAS", "2"},
                                    {"NCCL_RAS_ENABLE", "0"}})
    setenv(name, value, 1);
}

}  // namespace bunchtrain::test
