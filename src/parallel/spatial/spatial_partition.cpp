// SPDX-License-Identifier: Apache-2.0
// Invariant: an operation and its adjoint are each other's backward, so that gradients of any order exist; both move the
// same stretches of the axis between the same ranks.
#include "bunchtrain/parallel/spatial_partition.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "../data/communicator_statistics.hpp"
#include "bunchtrain/core/error.hpp"
#include "transfers.hpp"

namespace bunchtrain::parallel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Messages, and what comes with them from each rank.
struct Transfer {
  TensorsOfRanks received;
  Messages messages;
};

/// What a call's backward needs: the ranks and the way.
struct Exchange final : torch::CustomClassHolder {
  Exchange(Line ranks, Route way) : line(std::move(ranks)), route(std::move(way)) {}

  /// The cells of this rank to those that it wants.
  at::Tensor gather(const at::Tensor& slab);
  /// The adjoint: each wanted cell is added where it came from, in the order of ranks.
  at::Tensor scatter(const at::Tensor& wanted);

  Transfer begin_gather(const at::Tensor& slab);
  nn::HaloInFlight::Arrived finish_halo(Transfer& transfer, const at::Tensor& slab);
  /// Of the wanted cells before and behind the slab.
  Transfer begin_scatter(const at::Tensor& before, const at::Tensor& behind);
  /// Adds what came to the slab.
  void finish_scatter(Transfer& transfer, const at::Tensor& slab);

  nn::CellRange own() const { return route.cut.of(line.here); }
  nn::CellRange wanted() const { return route.wanted[static_cast<std::size_t>(line.here)]; }
  /// The shape of a tensor with so many cells along the axis.
  std::vector<std::int64_t> sizes_with(const at::Tensor& like, std::int64_t cells) const;

  Line line;
  Route route;

 private:
  /// Of cells whose first is `first` on the axis.
  at::Tensor stretch(const at::Tensor& cells, nn::CellRange range, std::int64_t first) const {
    return cells.narrow(line.dimension, range.begin - first, range.size());
  }
  at::Tensor joined(const TensorsOfRanks& stretches, const at::Tensor& like) const;
  /// @param part of the cells that go to a rank
  template <class Part>
  Transfer begin(const at::Tensor& like, bool backwards, Part part);
};

std::vector<std::int64_t> Exchange::sizes_with(const at::Tensor& like, std::int64_t cells) const {
  auto sizes = like.sizes().vec();
  sizes[static_cast<std::size_t>(line.dimension)] = cells;
  return sizes;
}

at::Tensor Exchange::joined(const TensorsOfRanks& stretches, const at::Tensor& like) const {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : stretches)
    if (part.defined()) parts.push_back(part);
  return parts.empty() ? at::empty(sizes_with(like, 0), like.options()) : at::cat(parts, line.dimension);
}

template <class Part>
Transfer Exchange::begin(const at::Tensor& like, bool backwards, Part part) {
  const int here = line.here;
  const auto count = static_cast<std::size_t>(line.size());
  TensorsOfRanks sent(count), received(count);
  for (int rank = 0; rank < line.size(); ++rank) {
    if (rank == here) continue;
    const auto place = static_cast<std::size_t>(rank);
    const nn::CellRange asked = route.from_to(here, rank), wanted = route.from_to(rank, here);
    const nn::CellRange theirs = backwards ? wanted : asked, ours = backwards ? asked : wanted;
    if (!theirs.empty()) sent[place] = part(theirs).contiguous();
    if (!ours.empty()) received[place] = at::empty(sizes_with(like, ours.size()), like.options());
  }
  Messages messages(line, sent, received);
  return {std::move(received), std::move(messages)};
}

Transfer Exchange::begin_gather(const at::Tensor& slab) {
  return begin(slab, /*backwards=*/false,
               [&](nn::CellRange range) { return stretch(slab, range, own().begin); });
}

at::Tensor Exchange::gather(const at::Tensor& slab) {
  Transfer transfer = begin_gather(slab);
  const int here = line.here;
  if (const nn::CellRange kept = route.from_to(here, here); !kept.empty())
    transfer.received[static_cast<std::size_t>(here)] = stretch(slab, kept, own().begin);
  transfer.messages.wait();
  return joined(transfer.received, slab);
}

nn::HaloInFlight::Arrived Exchange::finish_halo(Transfer& transfer, const at::Tensor& slab) {
  transfer.messages.wait();
  const auto here = transfer.received.begin() + line.here;
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
  for (int rank = 0; rank < line.size(); ++rank)
    if (const at::Tensor& part = transfer.received[static_cast<std::size_t>(rank)]; part.defined())
      stretch(slab, route.from_to(line.here, rank), own().begin).add_(part);
}

at::Tensor Exchange::scatter(const at::Tensor& cells) {
  Transfer transfer = begin(cells, /*backwards=*/true,
                            [&](nn::CellRange range) { return stretch(cells, range, wanted().begin); });
  const at::Tensor sum = at::zeros(sizes_with(cells, own().size()), cells.options());
  const int here = line.here;
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
      const std::int64_t kept = nn::intersection(exchange.own(), exchange.wanted()).size();
      const at::Tensor own = at::zeros(exchange.sizes_with(before, kept), before.options());
      found[0] = Scatter::apply(at::cat({before, own, behind}, exchange.line.dimension), flight->exchange);
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

/// All ranks of a group, as autograd keeps them.
struct Group final : torch::CustomClassHolder {
  explicit Group(comm::Communicator communicator) : ranks(std::move(communicator)) {}
  comm::Communicator ranks;
};

/// Its own adjoint.
struct Sum : torch::autograd::Function<Sum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values,
                            const c10::intrusive_ptr<Group>& group) {
    context->saved_data["group"] = c10::IValue::make_capsule(group);
    at::Tensor sum = values.clone(at::MemoryFormat::Contiguous);
    group->ranks.all_reduce(sum).wait();
    return sum;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto group = c10::static_intrusive_pointer_cast<Group>(context->saved_data["group"].toCapsule());
    return {Sum::apply(gradients[0], group), {}};
  }
};

/// The rank of a place along an axis for one step along it: z is the fastest.
int stride_of(const std::array<int, 3>& grid, std::size_t axis) {
  int stride = 1;
  for (std::size_t faster = axis + 1; faster < grid.size(); ++faster) stride *= grid[faster];
  return stride;
}

int place_of(int rank, const std::array<int, 3>& grid, std::size_t axis) {
  return rank / stride_of(grid, axis) % grid[axis];
}

/// What all ranks have, [ranks, 3], along the axes of the grid.
nn::ImageCut cut_from(std::span<const std::int64_t> cells, const std::array<int, 3>& grid) {
  nn::ImageCut cut;
  for (std::size_t axis = 0; axis < grid.size(); ++axis) {
    std::vector<std::int64_t> along;
    for (int place = 0; place < grid[axis]; ++place)
      along.push_back(cells[3 * static_cast<std::size_t>(place * stride_of(grid, axis)) + axis]);
    cut[axis] = nn::AxisCut(along);
  }
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const int rank = static_cast<int>(i / 3);
    const std::size_t axis = i % 3;
    if (const std::int64_t met = cut[axis].of(place_of(rank, grid, axis)).size(); met != cells[i])
      throw ConfigError(fmt::format(
          "rank {} of a layer's slabs has {} cells along {} where others of its place have {}: slabs that lie "
          "side by side have the same cells, as nn::ToSlab cuts them",
          rank, cells[i], "xyz"[axis], met));
  }
  return cut;
}

class CommunicatorPartition final : public nn::SpatialPartition {
 public:
  CommunicatorPartition(comm::Communicator communicator, const std::array<int, 3>& grid, bool overlaps)
      : ranks_(std::move(communicator)), grid_(grid), overlaps_(overlaps) {
    for (std::size_t axis = 0; axis < grid.size(); ++axis) {
      const int stride = stride_of(grid, axis), here = place_of(ranks_.rank(), grid, axis);
      Line line{.group = ranks_, .here = here, .dimension = 1 + static_cast<std::int64_t>(axis)};
      for (int place = 0; place < grid[axis]; ++place)
        line.members.push_back(ranks_.rank() + (place - here) * stride);
      lines_.push_back(std::move(line));
    }
  }

  nn::AxisPlace along(std::size_t axis) const noexcept override {
    return {lines_[axis].here, lines_[axis].size()};
  }
  bool overlaps() const noexcept override { return overlaps_; }

  nn::ImageCut meet(const ops::Extent3& cells) override {
    const auto place = at::TensorOptions(at::kLong).device(ranks_.device());
    at::Tensor all = at::empty({3 * ranks_.size()}, place);
    ranks_.all_gather(all, at::tensor(at::IntArrayRef(cells), place)).wait();
    all = all.cpu();
    return cut_from({all.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(all.numel())}, grid_);
  }
  at::Tensor exchange(const at::Tensor& slab, std::size_t axis, const nn::AxisCut& cut,
                      const std::vector<nn::CellRange>& wanted) override {
    return Gather::apply(slab, c10::make_intrusive<Exchange>(lines_[axis], Route{cut, wanted}));
  }
  std::unique_ptr<nn::HaloInFlight> begin_exchange(const at::Tensor& slab, std::size_t axis,
                                                   const nn::AxisCut& cut,
                                                   const std::vector<nn::CellRange>& wanted) override {
    return std::make_unique<Halo>(slab, c10::make_intrusive<Exchange>(lines_[axis], Route{cut, wanted}));
  }
  at::Tensor sum(const at::Tensor& values) override {
    return Sum::apply(values, c10::make_intrusive<Group>(ranks_));
  }
  std::shared_ptr<ops::StatisticsReducer> statistics() override {
    return std::make_shared<CommunicatorStatistics>(ranks_);
  }

 private:
  comm::Communicator ranks_;
  std::array<int, 3> grid_;
  std::vector<Line> lines_ = {};
  bool overlaps_;
};

}  // namespace

std::shared_ptr<nn::SpatialPartition> create_spatial_partition(comm::Communicator communicator,
                                                               SpatialPartitionOptions options) {
  auto& grid = options.grid;
  if (grid == std::array<int, 3>{}) grid = {communicator.size(), 1, 1};
  if (std::ranges::min(grid) < 1 || grid[0] * grid[1] * grid[2] != communicator.size())
    throw ConfigError("grid of slabs", fmt::format("{}", fmt::join(grid, " x ")),
                      fmt::format("as many slabs as ranks, {}", communicator.size()));
  const bool overlaps = options.overlaps.value_or(communicator.backend() == comm::Backend::nccl);
  return std::make_shared<CommunicatorPartition>(std::move(communicator), grid, overlaps);
}

}  // namespace bunchtrain::parallel
