// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/detail/gather_rows.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm {
namespace {

constexpr std::int64_t kMessageBytes = std::int64_t{64} << 20;

std::vector<std::int64_t> counts_of_all(std::int64_t mine, Communicator& communicator, c10::Device device) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(device);
  at::Tensor all = at::empty({communicator.size()}, integers);
  communicator.all_gather(all, at::full({1}, mine, integers)).wait();
  all = all.cpu();
  const std::int64_t* const first = all.const_data_ptr<std::int64_t>();
  return {first, first + all.numel()};
}

/// Calls `action` for one block of rows after the other, each small enough for a message.
template <class Action>
void for_each_message(const at::Tensor& rows, const Action& action) {
  const std::int64_t row_bytes = std::max<std::int64_t>(rows.size(1) * rows.element_size(), 1);
  const std::int64_t most = std::max<std::int64_t>(kMessageBytes / row_bytes, 1);
  for (std::int64_t begin = 0; begin < rows.size(0); begin += most)
    action(rows.narrow(0, begin, std::min(most, rows.size(0) - begin)));
}

}  // namespace

at::Tensor gather_rows(const at::Tensor& rows, Communicator& communicator, int root) {
  expects(rows.dim() == 2 && rows.is_cpu() && rows.is_contiguous(),
          "gather_rows takes a contiguous table on the CPU");
  if (communicator.size() == 1) return rows;
  const c10::Device device =
      communicator.backend() == Backend::mpi ? c10::Device(at::kCPU) : communicator.device();
  const auto counts = counts_of_all(rows.size(0), communicator, device);
  if (communicator.rank() != root) {
    for_each_message(rows, [&](const at::Tensor& part) { communicator.send(part.to(device), root).wait(); });
    return at::empty({0, rows.size(1)}, rows.options());
  }
  at::Tensor all = at::empty({std::reduce(counts.begin(), counts.end()), rows.size(1)}, rows.options());
  std::int64_t begin = 0;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    at::Tensor of_rank = all.narrow(0, begin, counts[static_cast<std::size_t>(rank)]);
    begin += of_rank.size(0);
    if (rank == root) {
      of_rank.copy_(rows);
      continue;
    }
    for_each_message(of_rank, [&](const at::Tensor& part) {
      const at::Tensor received =
          device.is_cpu() ? part : at::empty_like(part, part.options().device(device));
      communicator.receive(received, rank).wait();
      if (!device.is_cpu()) part.copy_(received);
    });
  }
  return all;
}

}  // namespace bunchtrain::comm
