// SPDX-License-Identifier: Apache-2.0
#include "gather_tensors.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <sstream>
#include <string>

#include "links.hpp"

namespace bunchtrain::parallel {
namespace {

/// One line per tensor: its name, then the numbers of its header.
std::string describe(const NamedTensors& tensors) {
  std::ostringstream text;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor numbers = TensorHeader::of(tensor, false).to_tensor();
    text << name;
    for (std::int64_t i = 0; i < numbers.numel(); ++i)
      text << ' ' << numbers.const_data_ptr<std::int64_t>()[i];
    text << '\n';
  }
  return text.str();
}

void receive_all(comm::Communicator& ranks, int peer, const std::string& described, c10::Device device,
                 NamedTensors& gathered) {
  std::istringstream lines(described);
  for (std::string name; lines >> name;) {
    at::Tensor numbers = at::empty({TensorHeader::kNumbers}, at::kLong);
    for (std::int64_t i = 0; i < numbers.numel(); ++i) lines >> numbers.mutable_data_ptr<std::int64_t>()[i];
    const TensorHeader header = TensorHeader::from(numbers);
    const at::Tensor tensor = at::empty(header.sizes, at::TensorOptions(header.dtype).device(device));
    if (tensor.numel() > 0) ranks.receive(tensor, peer).wait();
    gathered.set(name, tensor);
  }
}

}  // namespace

NamedTensors gather_tensors(comm::Communicator& ranks, const NamedTensors& ours, c10::Device device) {
  const at::NoGradGuard no_gradients;
  const auto described = ranks.control().all_gather(describe(ours));
  if (ranks.rank() > 0) {
    for (const auto& [name, tensor] : ours)
      if (tensor.numel() > 0) ranks.send(tensor.detach().contiguous(), 0).wait();
    return {};
  }
  NamedTensors gathered = ours;
  for (int peer = 1; peer < ranks.size(); ++peer)
    receive_all(ranks, peer, described[static_cast<std::size_t>(peer)], device, gathered);
  return gathered;
}

}  // namespace bunchtrain::parallel
