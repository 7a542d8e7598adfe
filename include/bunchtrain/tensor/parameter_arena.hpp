// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Flat storage for the parameters and gradients of a network (DESIGN decision 1, the arena contract).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::tensor {

/// A parameter with its name, as given to the arena.
struct NamedParameter {
  std::string name;
  at::Tensor tensor;
};

/// Where one parameter lies in an arena's flat tensors: `[offset, offset + numel)` elements, 64-byte aligned.
struct ArenaSegment {
  std::string name;
  std::int64_t offset;
  std::int64_t numel;
  /// As of the last `begin_pass`. Frozen parameters have a place in `values()`, their gradient stays zero.
  bool requires_grad;
};

/// One flat tensor of parameters and one of gradients for one (device, dtype), of which every parameter and
/// its `grad()` are views made below autograd (strides preserved, shared parameters counted once).
///
/// The contract, checked at `begin_pass` and `end_pass`: undefined gradients are rebound and zeroed, strayed
/// ones copied back, moved parameters copied back; a changed dtype, device or shape is a `ConfigError`. Every
/// write through the arena bumps the version counters, so that autograd still catches stale saved tensors. An
/// unused parameter has a zero gradient. A frozen one has none, so that no optimizer touches it; freezing and
/// thawing take effect at the next `begin_pass`. User modules and `torch::optim` optimizers keep working on
/// the parameters themselves. Not thread-safe.
class ParameterArena {
 public:
  static constexpr std::int64_t kFooterElements = 16;

  /// Moves `parameters` (same dtype and device; order = expected ready order of
  /// gradients) into new flat storage.
  /// @throws ConfigError for an empty list, mixed dtypes or devices, a non-dense, expanded
  /// or overlapping parameter.
  explicit ParameterArena(std::vector<NamedParameter> parameters);
  ~ParameterArena();
  ParameterArena(ParameterArena&&) noexcept;
  ParameterArena& operator=(ParameterArena&&) noexcept;

  /// All parameters, flat, padding included (padding is zero and stays zero). Call
  /// `bump_versions` after writing.
  const at::Tensor& values() const noexcept;
  /// All gradients, flat, laid out as `values()`.
  const at::Tensor& gradients() const noexcept;
  std::span<const ArenaSegment> segments() const noexcept;
  /// Number of parameters' elements without padding.
  std::int64_t numel() const noexcept;
  const at::Tensor& parameter(std::size_t segment) const noexcept;

  /// New flat storage laid out as `values()`, zero: for optimizer state, EMA.
  at::Tensor make_like() const;
  /// The view of `flat` (laid out as `values()`) that belongs to a segment, with the
  /// parameter's sizes and strides.
  at::Tensor view(const at::Tensor& flat, std::size_t segment) const;

  /// `gradients()` and, behind it, `kFooterElements` elements of the same memory for whoever sums
  /// gradients over ranks: a message to itself that costs no second collective. Starts at zero; no
  /// other function touches it.
  const at::Tensor& gradients_with_footer() const noexcept;

  /// One fill of zeros; bumps versions.
  void zero_gradients();
  /// Repairs what user code did since the last pass (see the class comment); call before a backward pass.
  /// @throws ConfigError naming the parameter if its dtype, device or shape changed, or
  /// if its gradient is sparse.
  void begin_pass();
  /// The same after a backward pass; afterwards `gradients()` holds exactly what autograd accumulated.
  void end_pass();
  /// `end_pass` for one gradient, for hooks that run as soon as it is there.
  void settle_gradient(std::size_t segment);
  /// Tells autograd that the flat values were changed in place (optimizers, broadcast, loading), and forgets
  /// autocast's copies of them.
  void bump_versions();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The arenas of a network, one per (device, dtype), in a fixed order. Optimizers work on this.
using ParameterArenas = std::vector<ParameterArena>;

/// Moves parameters of any dtype and device into arenas, in order of first appearance.
/// @throws as `ParameterArena`
ParameterArenas create_arenas(std::vector<NamedParameter> parameters);

}  // namespace bunchtrain::tensor
