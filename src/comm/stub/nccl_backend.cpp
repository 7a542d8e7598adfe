// SPDX-License-Identifier: Apache-2.0
// Takes the place of nccl/ in builds without NCCL.

#include "backend.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm::detail {

std::unique_ptr<CollectiveBackend> create_nccl_backend(const mpi::Comm&, c10::Device,
                                                       const CommunicatorOptions&) {
  throw NotBuiltError("the nccl backend", "BUNCHTRAIN_CUDA");
}

bool nccl_is_built() noexcept { return false; }

std::string pci_bus_id(c10::Device) { throw NotBuiltError("the nccl backend", "BUNCHTRAIN_CUDA"); }

}  // namespace bunchtrain::comm::detail
