// SPDX-License-Identifier: Apache-2.0
#include "replica_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::train {
namespace {

std::string hash_of(const TrainedNetwork& network) {
  Hasher hasher;
  for (const auto& owned : network.engine->owned_ranges()) {
    const at::Tensor& values = network.engine->arenas()[owned.arena].values();
    const at::Tensor host = values.detach().slice(0, owned.begin, owned.end).cpu().contiguous();
    hasher.update({static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  }
  return hasher.hex();
}

struct RankHash {
  int rank;
  std::string hash;
};

/// The hash that most ranks have; of equally many that of the lowest rank.
std::string most_common(const std::vector<RankHash>& hashes) {
  std::map<std::string, int> counts;
  for (const auto& [rank, hash] : hashes) ++counts[hash];
  return std::ranges::max_element(hashes, {}, [&](const RankHash& of) { return counts[of.hash]; })->hash;
}

/// "rank 1 differs from the others", or both hashes where nobody is in the majority.
std::string odd_ranks(const std::vector<RankHash>& hashes) {
  const std::string common = most_common(hashes);
  std::vector<std::string> odd;
  for (const auto& [rank, hash] : hashes)
    if (hash != common) odd.push_back(std::to_string(rank));
  if (2 * odd.size() < hashes.size())
    return fmt::format("rank{} {} differ{} from all others", odd.size() == 1 ? "" : "s", fmt::join(odd, ", "),
                       odd.size() == 1 ? "s" : "");
  std::vector<std::string> all;
  for (const auto& [rank, hash] : hashes)
    all.push_back(fmt::format("rank {} has {}", rank, hash.substr(0, 12)));
  return fmt::format("{}", fmt::join(all, ", "));
}

void require_equal(const std::vector<RankHash>& hashes, const TrainedNetwork& network, std::int64_t step) {
  const auto differs = [&](const RankHash& of) { return of.hash != hashes.front().hash; };
  if (std::ranges::any_of(hashes, differs))
    throw ReplicasDiffer(fmt::format(
        "the parameters of network '{}' are not the same on all ranks after step {}: {}. Code that changes "
        "parameters on some ranks only, a machine that computes wrongly, or unlike processors (then "
        "{} trains on without looking); no snapshot was written, the one before is sound: go on from it by {}",
        network.name, step, odd_ranks(hashes), setting("check_replicas", "-1"), setting("resume")));
}

}  // namespace

void require_equal_replicas(const comm::MeshShape& mesh, const mpi::Comm& control,
                            std::span<const TrainedNetwork> networks, std::int64_t step) {
  if (mesh.size(comm::Axis::data) == 1) return;
  for (const auto& network : networks) {
    const auto hashes = control.all_gather(hash_of(network));
    for (int first = 0; first < control.size(); ++first) {
      if (mesh.coordinate(first, comm::Axis::data) != 0) continue;
      std::vector<RankHash> replicas;
      for (const int rank : mesh.group_of(first, comm::Axis::data))
        replicas.push_back({.rank = rank, .hash = hashes[static_cast<std::size_t>(rank)]});
      require_equal(replicas, network, step);
    }
  }
}

}  // namespace bunchtrain::train
