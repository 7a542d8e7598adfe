// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Images cut into slabs over ranks: what layers ask of those who have the other slabs.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bunchtrain/nn/axis_cut.hpp"
#include "bunchtrain/ops/statistics_reducer.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// A halo on its way, beside which a slab is computed on. Destroyed early, its communicator parks the messages.
class HaloInFlight {
 public:
  virtual ~HaloInFlight() = default;
  /// The slab to compute from.
  virtual const at::Tensor& slab() const noexcept = 0;
  /// The wanted cells of other ranks before and behind the slab, either may have none, and what was computed meanwhile.
  struct Arrived {
    at::Tensor before, behind, inside;
  };
  /// Waits. Once, on every rank, with what was computed of `slab` meanwhile, if anything: backward comes here before it
  /// differentiates that, the halo's gradients set out, and travel beside. What is computed from `before` and `behind` has to
  /// depend on them also where they are empty, or `inside` has to be given: else this rank's backward would not come here.
  virtual Arrived finish(const at::Tensor& inside) = 0;
};

/// Where a rank is along an axis of images.
struct AxisPlace {
  int rank = 0, ranks = 1;
};

/// The ranks that have slabs of the same images, along one to three axes. `parallel` injects one over a communicator; layers without one
/// have whole images. What the layers of all ranks compute is a function of all slabs: each operation here is linear, and
/// its backward is its adjoint over the same ranks, so that gradients are right if the ranks' losses are summed. All are
/// differentiable to any order. Collective, forward and backward: all its ranks, same order. Use from one thread.
class SpatialPartition {
 public:
  virtual ~SpatialPartition() = default;
  /// This rank's along x (0), y (1) or z (2).
  virtual AxisPlace along(std::size_t axis) const noexcept = 0;

  /// Whether messages travel while this rank computes: only then is it worth to compute first what needs no halo.
  virtual bool overlaps() const noexcept = 0;

  /// How many cells each rank has of each axis, from what each has.
  /// @throws ConfigError on all ranks if slabs that lie side by side have different cells.
  virtual ImageCut meet(const ops::Extent3& cells) = 0;
  /// The cells `wanted[rank]` of an axis, in order, from those along it who have them: along x [B, X', ...] of [B, X, ...].
  /// With all cells wanted by all it gathers. Axis after axis, corners come with the later ones.
  virtual at::Tensor exchange(const at::Tensor& slab, std::size_t axis, const AxisCut& cut,
                              const std::vector<CellRange>& wanted) = 0;
  /// The same in two halves, without a copy of what this rank has itself. Other ranks may call `exchange`.
  virtual std::unique_ptr<HaloInFlight> begin_exchange(const at::Tensor& slab, std::size_t axis,
                                                       const AxisCut& cut,
                                                       const std::vector<CellRange>& wanted) = 0;
  /// The sum over ranks.
  virtual at::Tensor sum(const at::Tensor& values) = 0;
  /// Of statistics over all slabs.
  virtual std::shared_ptr<ops::StatisticsReducer> statistics() = 0;
};

/// A layer that works on slabs [B, X, Y, Z, ...] if a partition was set, and on whole images else. Which cells of the whole a
/// slab is, the ranks tell each other at the first image; later images have the same shape.
class SpatialLayer {
 public:
  virtual ~SpatialLayer() = default;
  /// nullptr: whole images again. @throws ConfigError if the layer's images cannot be cut so.
  virtual void set_partition(std::shared_ptr<SpatialPartition> partition);

 protected:
  SpatialLayer() = default;
  SpatialLayer(const SpatialLayer&) = default;
  SpatialLayer& operator=(const SpatialLayer&) = default;

  SpatialPartition* partition() const noexcept { return partition_.get(); }
  /// Collective at the first call. @throws ConfigError if this rank has another number of cells than then.
  const ImageCut& cut_of(const at::Tensor& slab);
  /// The cells of this rank.
  CellBox box_of(const ImageCut& cut) const;
  /// So many values of a slab are how many of the whole image?
  std::int64_t of_whole(const at::Tensor& slab, std::int64_t values);
  /// What this rank wants, axis after axis: the last first, down to `first`; axes that are not cut stay as they are.
  at::Tensor fetch(const at::Tensor& slab, const WantedCells& wanted, std::size_t first = 0);

 private:
  std::shared_ptr<SpatialPartition> partition_;
  ImageCut cut_;
};

/// Gives a network's layers the partition. Layers that need no neighbours (products over channels, activations) work on
/// slabs as they are. Batch norms sum their statistics over the slabs; who wants more ranks sets a reducer afterwards.
/// @throws ConfigError if no layer of the network cuts images (`ToSlab`), or naming the first layer of LibTorch
/// (`torch::nn::Conv3d`) that would need cells of other ranks or draws random numbers by place.
void set_partition(torch::nn::Module& module, const std::shared_ptr<SpatialPartition>& partition);

}  // namespace bunchtrain::nn
