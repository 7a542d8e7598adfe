// SPDX-License-Identifier: Apache-2.0
// Invariant: an operation and its adjoint are each other's backward, so that gradients of any order exist; both move the
// same stretches of the axis between the same ranks.
#include "bunchtrain/parallel/spatial_partition.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "../data/communicator_statistics.hpp"
#include "transfers.hpp"

namespace bunchtrain::parallel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a call's backward needs: the ranks and the way.
struct Exchange final : torch::CustomClassHolder {
  Exchange(comm::Communicator communicator, Route way)
      : ranks(std::move(communicator)), route(std::move(way)) {}

  at::Tensor gather(const at::Tensor& slab);
  at::Tensor scatter(const at::Tensor& wanted);

  comm::Communicator ranks;
  Route route;
};

at::Tensor stretch(const at::Tensor& cells, nn::CellRange range, std::int64_t first) {
  return cells.narrow(1, range.begin - first, range.size());
}

at::Tensor empty_stretch(const at::Tensor& like, std::int64_t cells) {
  auto sizes = like.sizes().vec();
  sizes[1] = cells;
  return at::empty(sizes, like.options());
}

/// [B, X, ...] of this rank to [B, X', ...] that it wants.
at::Tensor Exchange::gather(const at::Tensor& slab) {
  const int here = ranks.rank();
  const auto count = static_cast<std::size_t>(ranks.size());
  TensorsOfRanks sent(count), received(count);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const auto place = static_cast<std::size_t>(rank);
    const nn::CellRange theirs = route.from_to(here, rank), ours = route.from_to(rank, here);
    if (rank == here) continue;
    if (!theirs.empty()) sent[place] = stretch(slab, theirs, route.cut.of(here).begin).contiguous();
    if (!ours.empty()) received[place] = empty_stretch(slab, ours.size());
  }
  Messages messages(ranks, sent, received);
  const nn::CellRange own = route.from_to(here, here);
  if (!own.empty()) received[static_cast<std::size_t>(here)] = stretch(slab, own, route.cut.of(here).begin);
  messages.wait();
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : received)
    if (part.defined()) parts.push_back(part);
  return parts.empty() ? empty_stretch(slab, 0) : at::cat(parts, 1);
}

/// The adjoint: each wanted cell is added where it came from, in the order of ranks.
at::Tensor Exchange::scatter(const at::Tensor& wanted) {
  const int here = ranks.rank();
  const auto count = static_cast<std::size_t>(ranks.size());
  const nn::CellRange slab = route.cut.of(here);
  const std::int64_t first = route.wanted[static_cast<std::size_t>(here)].begin;
  TensorsOfRanks sent(count), received(count);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const auto place = static_cast<std::size_t>(rank);
    const nn::CellRange theirs = route.from_to(rank, here), ours = route.from_to(here, rank);
    if (rank == here) continue;
    if (!theirs.empty()) sent[place] = stretch(wanted, theirs, first).contiguous();
    if (!ours.empty()) received[place] = empty_stretch(wanted, ours.size());
  }
  Messages messages(ranks, sent, received);
  auto sizes = wanted.sizes().vec();
  sizes[1] = slab.size();
  const at::Tensor sum = at::zeros(sizes, wanted.options());
  const nn::CellRange own = route.from_to(here, here);
  if (!own.empty()) received[static_cast<std::size_t>(here)] = stretch(wanted, own, first);
  messages.wait();
  for (int rank = 0; rank < ranks.size(); ++rank)
    if (const at::Tensor& part = received[static_cast<std::size_t>(rank)]; part.defined())
      stretch(sum, route.from_to(here, rank), slab.begin).add_(part);
  return sum;
}

c10::intrusive_ptr<Exchange> exchange_of(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Exchange>(context->saved_data["exchange"].toCapsule());
}

struct Gather : torch::autograd::Function<Gather> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& slab,
                            const c10::intrusive_ptr<Exchange>& exchange) {
    context->saved_data["exchange"] = c10::IValue::make_capsule(exchange);
    return exchange->gather(slab);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients);
};

struct Scatter : torch::autograd::Function<Scatter> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& wanted,
                            const c10::intrusive_ptr<Exchange>& exchange) {
    context->saved_data["exchange"] = c10::IValue::make_capsule(exchange);
    return exchange->scatter(wanted);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {Gather::apply(gradients[0], exchange_of(context)), {}};
  }
};

variable_list Gather::backward(AutogradContext* context, const variable_list& gradients) {
  return {Scatter::apply(gradients[0], exchange_of(context)), {}};
}

/// Its own adjoint.
struct Sum : torch::autograd::Function<Sum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values,
                            const c10::intrusive_ptr<Exchange>& exchange) {
    context->saved_data["exchange"] = c10::IValue::make_capsule(exchange);
    at::Tensor sum = values.clone(at::MemoryFormat::Contiguous);
    exchange->ranks.all_reduce(sum).wait();
    return sum;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {Sum::apply(gradients[0], exchange_of(context)), {}};
  }
};

class CommunicatorPartition final : public nn::SpatialPartition {
 public:
  explicit CommunicatorPartition(comm::Communicator communicator) : ranks_(std::move(communicator)) {}

  int rank() const noexcept override { return ranks_.rank(); }
  int ranks() const noexcept override { return ranks_.size(); }

  nn::AxisCut meet(std::int64_t cells) override {
    const auto place = at::TensorOptions(at::kLong).device(ranks_.device());
    at::Tensor all = at::empty({ranks_.size()}, place);
    ranks_.all_gather(all, at::full({1}, cells, place)).wait();
    all = all.cpu();
    return nn::AxisCut({all.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(all.numel())});
  }
  at::Tensor exchange(const at::Tensor& slab, const nn::AxisCut& cut,
                      const std::vector<nn::CellRange>& wanted) override {
    return Gather::apply(slab, c10::make_intrusive<Exchange>(ranks_, Route{cut, wanted}));
  }
  at::Tensor sum(const at::Tensor& values) override {
    return Sum::apply(values, c10::make_intrusive<Exchange>(ranks_, Route{}));
  }
  std::shared_ptr<ops::StatisticsReducer> statistics() override {
    return std::make_shared<CommunicatorStatistics>(ranks_);
  }

 private:
  comm::Communicator ranks_;
};

}  // namespace

std::shared_ptr<nn::SpatialPartition> create_spatial_partition(comm::Communicator communicator) {
  return std::make_shared<CommunicatorPartition>(std::move(communicator));
}

}  // namespace bunchtrain::parallel
