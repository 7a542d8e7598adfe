// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which backend fits the cards that the ranks compute on: NCCL refuses two ranks on one GPU.

#include <c10/core/Device.h>

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"

namespace bunchtrain::comm::detail {

/// Where a rank keeps its tensors.
struct RankCard {
  std::string machine;  ///< the running kernel
  std::string host;     ///< the machine for people
  std::string card;     ///< PCI bus id; empty: the CPU
  std::string
      nccl_host;  ///< NCCL_HOSTID of its environment, by which NCCL tells machines apart; empty: not set
};

struct BackendChoice {
  Backend backend;
  std::string notice = {};  ///< for the user, or empty
};

/// Pure: mpi or nccl for the `ranks` of a world of several, in rank order. `automatic` takes nccl where each
/// rank has a GPU of its own, else mpi, with a notice where there are GPUs. `nccl` is judged as NCCL does it:
/// ranks that share a GPU must differ in NCCL_HOSTID, which tests use to run two ranks on one card (over
/// sockets, at no useful speed). @throws ConfigError for `nccl` where NCCL would refuse, with how to start
BackendChoice judge_backend(Backend asked, std::span<const RankCard> ranks);

/// Collective: the cards of all ranks.
std::vector<RankCard> gather_cards(const mpi::Comm& comm, c10::Device device);

}  // namespace bunchtrain::comm::detail
