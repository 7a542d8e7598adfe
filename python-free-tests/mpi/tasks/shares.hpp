// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Batches that leave ranks without samples, and the comparison with one rank that has them all.

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "mpi/comm/world.hpp"

namespace bunchtrain::test {

/// Samples [begin, begin + count) of the data are one rank's part of a pass over `total` samples.
struct Share {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t total = 0;
};

/// How many samples each rank has in a pass: by turns only the last rank has some, only the first, every
/// second one, and all but the first.
inline std::vector<std::int64_t> samples_of_ranks(int world, int turn) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(world), 0);
  for (int rank = 0; rank < world; ++rank) {
    const bool has_some = turn % 4 == 0   ? rank == world - 1
                          : turn % 4 == 1 ? rank == 0
                          : turn % 4 == 2 ? rank % 2 == 0
                                          : rank > 0;
    if (has_some) counts[static_cast<std::size_t>(rank)] = 1 + (rank + turn) % 2;
  }
  return counts;
}

/// Every pass takes samples of its own: those of pass `turn` come behind those of the passes before.
class ShareTest : public testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }
  int rank() const { return communicator_.rank(); }
  int world() const { return communicator_.size(); }

  Share share(int turn) const { return share_from(turn, rank()); }
  /// The whole pass, as one rank takes it.
  Share whole(int turn) const {
    const Share first = share_from(turn, 0);
    return {first.begin, first.total, first.total};
  }
  /// Sum over ranks of a mean times its samples, divided by all samples.
  double mean_over_ranks(double mean, const Share& of) {
    at::Tensor sum =
        at::scalar_tensor(of.count > 0 ? mean * static_cast<double>(of.count) : 0.0, at::kDouble);
    communicator_.all_reduce(sum).wait();
    return sum.item<double>() / static_cast<double>(of.total);
  }
  void expect_same_on_all_ranks(const at::Tensor& tensor) {
    const at::Tensor flat = tensor.detach().contiguous().view({-1});
    at::Tensor all = at::empty_like(flat).repeat({world()});
    communicator_.all_gather(all, flat).wait();
    const at::Tensor rows = all.view({world(), -1});
    EXPECT_TRUE(rows.eq(rows[0]).all().item<bool>()) << "the ranks' replicas differ";
  }

  comm::Communicator communicator_ = comm::Communicator::create(
      test_world(), c10::kCPU, {.timeout = std::chrono::seconds(100), .checked = true});

 private:
  Share share_from(int turn, int of_rank) const {
    std::int64_t begin = 0;
    for (int before = 0; before < turn; ++before)
      for (const std::int64_t count : samples_of_ranks(world(), before)) begin += count;
    Share share;
    const auto counts = samples_of_ranks(world(), turn);
    for (int r = 0; r < world(); ++r) {
      const std::int64_t count = counts[static_cast<std::size_t>(r)];
      if (r < of_rank) begin += count;
      if (r == of_rank) share.count = count;
      share.total += count;
    }
    share.begin = begin;
    return share;
  }
};

/// Standard normal numbers [count, ...] of samples [begin, begin + count): the same whoever draws them.
inline at::Tensor normal_of_samples(const Share& share, std::vector<std::int64_t> shape,
                                    std::uint64_t stream) {
  shape.insert(shape.begin(), share.count);
  const at::Tensor values = at::empty(shape, at::kDouble);
  const std::int64_t each = share.count > 0 ? values.numel() / share.count : 0;
  const CounterRandom random(19, stream);
  double* value = values.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    value[i] = random.normal(static_cast<std::uint64_t>(share.begin * each + i));
  return values;
}

inline at::Tensor ids_of(const Share& share) {
  return at::arange(share.begin, share.begin + share.count, at::kLong);
}

/// Parameters and buffers, tensor by tensor, relative to the largest number in each.
inline void expect_same_state(const torch::nn::Module& found, const torch::nn::Module& expected,
                              double tolerance) {
  const auto compare = [&](const std::string& name, const at::Tensor& ours, const at::Tensor& theirs) {
    const at::Tensor reference = theirs.detach().to(at::kDouble);
    const double scale = 1e-3 + reference.abs().max().item<double>();
    EXPECT_LE(ours.detach().to(at::kDouble).sub(reference).abs().max().item<double>(), tolerance * scale)
        << name;
  };
  const auto parameters = expected.named_parameters();
  for (const auto& item : found.named_parameters()) compare(item.key(), item.value(), parameters[item.key()]);
  const auto buffers = expected.named_buffers();
  for (const auto& item : found.named_buffers()) compare(item.key(), item.value(), buffers[item.key()]);
}

}  // namespace bunchtrain::test
