// SPDX-License-Identifier: Apache-2.0
// Invariant: an operation and its adjoint are each other's backward, so that gradients of any order exist; both move the
// same stretches of the axis between the same ranks.
#include "bunchtrain/parallel/spatial_partition.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "../data/communicator_statistics.hpp"
#include "transfers.hpp"

namespace bunchtrain::parallel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor stretch(const at::Tensor& cells, nn::CellRange range, std::int64_t first) {
  return cells.narrow(1, range.begin - first, range.size());
}

at::Tensor empty_stretch(const at::Tensor& like, std::int64_t cells) {
  auto sizes = like.sizes().vec();
  sizes[1] = cells;
  return at::empty(sizes, like.options());
}

at::Tensor joined(const TensorsOfRanks& stretches, const at::Tensor& like) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : stretches)
    if (part.defined()) parts.push_back(part);
  return parts.empty() ? empty_stretch(like, 0) : at::cat(parts, 1);
}

/// Messages, and what comes with them from each rank.
struct Transfer {
  TensorsOfRanks received;
  Messages messages;
};

/// What a call's backward needs: the ranks and the way.
struct Exchange final : torch::CustomClassHolder {
  Exchange(comm::Communicator communicator, Route way)
      : ranks(std::move(communicator)), route(std::move(way)) {}

  /// [B, X, ...] of this rank to [B, X', ...] that it wants.
  at::Tensor gather(const at::Tensor& slab);
  /// The adjoint: each wanted cell is added where it came from, in the order of ranks.
  at::Tensor scatter(const at::Tensor& wanted);

  Transfer begin_gather(const at::Tensor& slab);
  nn::HaloInFlight::Arrived finish_halo(Transfer& transfer, const at::Tensor& slab);
  /// Of the wanted cells before and behind the slab.
  Transfer begin_scatter(const at::Tensor& before, const at::Tensor& behind);
  /// Adds what came to the slab.
  void finish_scatter(Transfer& transfer, const at::Tensor& slab);

  nn::CellRange own() const { return route.cut.of(ranks.rank()); }
  nn::CellRange wanted() const { return route.wanted[static_cast<std::size_t>(ranks.rank())]; }

  comm::Communicator ranks;
  Route route;

 private:
  /// @param part of the cells that go to a rank
  template <class Part>
  Transfer begin(const at::Tensor& like, bool backwards, Part part);
};

template <class Part>
Transfer Exchange::begin(const at::Tensor& like, bool backwards, Part part) {
  const int here = ranks.rank();
  const auto count = static_cast<std::size_t>(ranks.size());
  TensorsOfRanks sent(count), received(count);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    if (rank == here) continue;
    const auto place = static_cast<std::size_t>(rank);
    const nn::CellRange asked = route.from_to(here, rank), wanted = route.from_to(rank, here);
    const nn::CellRange theirs = backwards ? wanted : asked, ours = backwards ? asked : wanted;
    if (!theirs.empty()) sent[place] = part(theirs).contiguous();
    if (!ours.empty()) received[place] = empty_stretch(like, ours.size());
  }
  Messages messages(ranks, sent, received);
  return {std::move(received), std::move(messages)};
}

Transfer Exchange::begin_gather(const at::Tensor& slab) {
  return begin(slab, /*backwards=*/false,
               [&](nn::CellRange range) { return stretch(slab, range, own().begin); });
}

at::Tensor Exchange::gather(const at::Tensor& slab) {
  Transfer transfer = begin_gather(slab);
  const int here = ranks.rank();
  if (const nn::CellRange kept = route.from_to(here, here); !kept.empty())
    transfer.received[static_cast<std::size_t>(here)] = stretch(slab, kept, own().begin);
  transfer.messages.wait();
  return joined(transfer.received, slab);
}

nn::HaloInFlight::Arrived Exchange::finish_halo(Transfer& transfer, const at::Tensor& slab) {
  transfer.messages.wait();
  const auto here = transfer.received.begin() + ranks.rank();
  return {joined({transfer.received.begin(), here}, slab), joined({here, transfer.received.end()}, slab), {}};
}

Transfer Exchange::begin_scatter(const at::Tensor& before, const at::Tensor& behind) {
  return begin(before, /*backwards=*/true, [&](nn::CellRange range) {
    return range.begin < own().begin ? stretch(before, range, wanted().begin)
                                     : stretch(behind, range, std::max(own().end, wanted().begin));
  });
}

void Exchange::finish_scatter(Transfer& transfer, const at::Tensor& slab) {
  transfer.messages.wait();
  for (int rank = 0; rank < ranks.size(); ++rank)
    if (const at::Tensor& part = transfer.received[static_cast<std::size_t>(rank)]; part.defined())
      stretch(slab, route.from_to(ranks.rank(), rank), own().begin).add_(part);
}

at::Tensor Exchange::scatter(const at::Tensor& cells) {
  Transfer transfer = begin(cells, /*backwards=*/true,
                            [&](nn::CellRange range) { return stretch(cells, range, wanted().begin); });
  auto sizes = cells.sizes().vec();
  sizes[1] = own().size();
  const at::Tensor sum = at::zeros(sizes, cells.options());
  const int here = ranks.rank();
  if (const nn::CellRange kept = route.from_to(here, here); !kept.empty())
    transfer.received[static_cast<std::size_t>(here)] = stretch(cells, kept, wanted().begin);
  finish_scatter(transfer, sum);
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

/// A halo and its gradients in flight, from the one half of an exchange to the other.
struct Flight final : torch::CustomClassHolder {
  explicit Flight(c10::intrusive_ptr<Exchange> of) : exchange(std::move(of)) {}

  c10::intrusive_ptr<Exchange> exchange;
  std::optional<Transfer> halo, gradients;
};

c10::intrusive_ptr<Flight> flight_of(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Flight>(context->saved_data["flight"].toCapsule());
}

/// The first half: in backward the last, which awaits the gradients of the cells that others have had.
struct BeginHalo : torch::autograd::Function<BeginHalo> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& slab,
                            const c10::intrusive_ptr<Flight>& flight) {
    context->saved_data["flight"] = c10::IValue::make_capsule(flight);
    flight->halo.emplace(flight->exchange->begin_gather(slab));
    return slab.view_as(slab);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto flight = flight_of(context);
    if (!flight->gradients) return {gradients[0], {}};
    at::Tensor sum = gradients[0].clone();
    flight->exchange->finish_scatter(*flight->gradients, sum);
    flight->gradients.reset();
    return {sum, {}};
  }
};

/// The second half. What was computed meanwhile passes through, so that every rank comes here in backward before that.
struct FinishHalo : torch::autograd::Function<FinishHalo> {
  static variable_list forward(AutogradContext* context, const at::Tensor& slab,
                               const std::optional<at::Tensor>& inside,
                               const c10::intrusive_ptr<Flight>& flight) {
    context->saved_data["flight"] = c10::IValue::make_capsule(flight);
    const auto arrived = flight->exchange->finish_halo(*flight->halo, slab);
    flight->halo.reset();
    variable_list outputs = {arrived.before, arrived.behind};
    if (inside) outputs.push_back(inside->view_as(*inside));
    return outputs;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto flight = flight_of(context);
    const at::Tensor &before = gradients[0], &behind = gradients[1];
    variable_list found = {{}, gradients.size() > 2 ? gradients[2] : at::Tensor(), {}};
    if (!context->needs_input_grad(0)) return found;
    if (c10::GradMode::is_enabled()) {
      const Exchange& exchange = *flight->exchange;
      auto own = before.sizes().vec();
      own[1] = nn::intersection(exchange.own(), exchange.wanted()).size();
      found[0] =
          Scatter::apply(at::cat({before, at::zeros(own, before.options()), behind}, 1), flight->exchange);
    } else {
      flight->gradients.emplace(flight->exchange->begin_scatter(before, behind));
    }
    return found;
  }
};

class Halo final : public nn::HaloInFlight {
 public:
  Halo(const at::Tensor& slab, c10::intrusive_ptr<Exchange> exchange)
      : flight_(c10::make_intrusive<Flight>(std::move(exchange))), slab_(BeginHalo::apply(slab, flight_)) {}

  const at::Tensor& slab() const noexcept override { return slab_; }
  Arrived finish(const at::Tensor& inside) override {
    if (!slab_.requires_grad()) {
      Arrived arrived = flight_->exchange->finish_halo(*flight_->halo, slab_);
      arrived.inside = inside;
      return arrived;
    }
    auto arrived = FinishHalo::apply(slab_, inside.defined() ? std::optional(inside) : std::nullopt, flight_);
    return {arrived[0], arrived[1], inside.defined() ? arrived[2] : at::Tensor()};
  }

 private:
  c10::intrusive_ptr<Flight> flight_;
  at::Tensor slab_;
};

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
  CommunicatorPartition(comm::Communicator communicator, bool overlaps)
      : ranks_(std::move(communicator)), overlaps_(overlaps) {}

  int rank() const noexcept override { return ranks_.rank(); }
  int ranks() const noexcept override { return ranks_.size(); }
  bool overlaps() const noexcept override { return overlaps_; }

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
  std::unique_ptr<nn::HaloInFlight> begin_exchange(const at::Tensor& slab, const nn::AxisCut& cut,
                                                   const std::vector<nn::CellRange>& wanted) override {
    return std::make_unique<Halo>(slab, c10::make_intrusive<Exchange>(ranks_, Route{cut, wanted}));
  }
  at::Tensor sum(const at::Tensor& values) override {
    return Sum::apply(values, c10::make_intrusive<Exchange>(ranks_, Route{}));
  }
  std::shared_ptr<ops::StatisticsReducer> statistics() override {
    return std::make_shared<CommunicatorStatistics>(ranks_);
  }

 private:
  comm::Communicator ranks_;
  bool overlaps_;
};

}  // namespace

std::shared_ptr<nn::SpatialPartition> create_spatial_partition(comm::Communicator communicator,
                                                               SpatialPartitionOptions options) {
  const bool overlaps = options.overlaps.value_or(communicator.backend() == comm::Backend::nccl);
  return std::make_shared<CommunicatorPartition>(std::move(communicator), overlaps);
}

}  // namespace bunchtrain::parallel
