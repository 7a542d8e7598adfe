// SPDX-License-Identifier: Apache-2.0
#include "cards.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "backend.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/mpi/detail/rank_ranges.hpp"

namespace bunchtrain::comm::detail {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

bool on_one_card(const RankCard& a, const RankCard& b) {
  return !a.card.empty() && a.card == b.card && a.machine == b.machine;
}

/// Whether NCCL takes two ranks for two on one GPU: NCCL_HOSTID stands for the machine where it is set.
bool collide(const RankCard& a, const RankCard& b) {
  const auto machine = [](const RankCard& rank) {
    return rank.nccl_host.empty() ? rank.machine : rank.nccl_host;
  };
  return !a.card.empty() && a.card == b.card && machine(a) == machine(b);
}

/// The ranks of the first pair that `matches`, with all others that match its first rank.
template <class Matches>
std::vector<int> first_group(std::span<const RankCard> ranks, Matches matches) {
  for (std::size_t first = 0; first < ranks.size(); ++first) {
    std::vector<int> group{static_cast<int>(first)};
    for (std::size_t other = first + 1; other < ranks.size(); ++other)
      if (matches(ranks[first], ranks[other])) group.push_back(static_cast<int>(other));
    if (group.size() > 1) return group;
  }
  return {};
}

std::string describe_sharing(std::span<const int> group, std::span<const RankCard> ranks) {
  const auto rank = [&](int index) -> const RankCard& { return ranks[static_cast<std::size_t>(index)]; };
  const RankCard& where = rank(group.front());
  if (!on_one_card(where, rank(group.back())))
    return fmt::format("{} have NCCL_HOSTID={} on different machines, and GPUs of one number",
                       mpi::rank_ranges(group), where.nccl_host);
  return fmt::format("{} share the GPU {} of {}", mpi::rank_ranges(group), where.card, where.host);
}

std::vector<int> ranks_without_card(std::span<const RankCard> ranks) {
  std::vector<int> found;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    if (ranks[rank].card.empty()) found.push_back(static_cast<int>(rank));
  return found;
}

BackendChoice judge_nccl(std::span<const RankCard> ranks) {
  if (const auto without = ranks_without_card(ranks); !without.empty())
    throw ConfigError(
        "backend", "nccl",
        fmt::format("mpi where tensors are on a CPU, as those of {} are", mpi::rank_ranges(without)));
  if (const auto group = first_group(ranks, collide); !group.empty())
    throw ConfigError(
        fmt::format("backend nccl takes one rank per GPU, but {}: start as many ranks per node as it "
                    "has GPUs (mpirun --map-by ppr:GPUS:node, srun --ntasks-per-node=GPUS), let each "
                    "see another GPU (CUDA_VISIBLE_DEVICES), or give {}",
                    describe_sharing(group, ranks), setting("backend", "mpi")));
  const auto group = first_group(ranks, on_one_card);
  if (group.empty()) return {Backend::nccl};
  return {Backend::nccl,
          fmt::format("{} and pass for ranks of different machines by NCCL_HOSTID: they take turns "
                      "and talk over sockets, which is for tests only",
                      describe_sharing(group, ranks))};
}

BackendChoice judge_automatic(std::span<const RankCard> ranks) {
  const auto without = ranks_without_card(ranks);
  if (without.size() == ranks.size()) return {Backend::mpi};
  if (!without.empty())
    return {Backend::mpi,
            fmt::format("backend mpi, not nccl: the tensors of {} are on a CPU", mpi::rank_ranges(without))};
  auto group = first_group(ranks, on_one_card);
  if (group.empty()) group = first_group(ranks, collide);
  if (group.empty()) return {Backend::nccl};
  return {Backend::mpi,
          fmt::format("backend mpi, not nccl: {}; tensors travel through the host. Start as many ranks "
                      "per node as it has GPUs for NCCL's speed",
                      describe_sharing(group, ranks))};
}

}  // namespace

BackendChoice judge_backend(Backend asked, std::span<const RankCard> ranks) {
  switch (asked) {
    case Backend::automatic:
      return judge_automatic(ranks);
    case Backend::nccl:
      return judge_nccl(ranks);
    default:
      return {asked};
  }
}

std::vector<RankCard> gather_cards(const mpi::Comm& comm, c10::Device device) {
  std::string card;
  comm.together([&] { card = device.is_cuda() ? pci_bus_id(device) : std::string(); });
  const auto lines = comm.all_gather(card + '\n' + environment("NCCL_HOSTID"));
  std::vector<RankCard> cards;
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    const auto end = lines[rank].find('\n');
    const ProcessIdentity& process = comm.process_of(static_cast<int>(rank));
    cards.push_back({process.machine, process.host, lines[rank].substr(0, end), lines[rank].substr(end + 1)});
  }
  return cards;
}

}  // namespace bunchtrain::comm::detail
