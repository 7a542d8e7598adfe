// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/conv3d.hpp"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/tensordot.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "bunchtrain/core/error.hpp"
#include "convolution.hpp"

namespace bunchtrain::ops {
namespace {

std::string describe(at::IntArrayRef sizes) { return fmt::format("[{}]", fmt::join(sizes, ", ")); }

void require_shapes(const at::Tensor& input, const at::Tensor& weight, const Extent3& factor,
                    const Padding3& padding) {
  if (input.dim() != 5 || weight.dim() != 5 || input.size(4) != weight.size(1))
    throw ConfigError(
        fmt::format("conv3d takes an input [B, X, Y, Z, C] and a weight [Cout, C, kx, ky, kz], not {} and {}",
                    describe(input.sizes()), describe(weight.sizes())));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto place = static_cast<std::int64_t>(axis);
    const std::int64_t cells =
        factor[axis] * input.size(1 + place) + padding.before[axis] + padding.after[axis];
    if (factor[axis] < 1 || padding.before[axis] < 0 || padding.after[axis] < 0 ||
        weight.size(2 + place) > cells)
      throw ConfigError(fmt::format("conv3d: a kernel of {} cells does not fit {} padded cells along axis {}",
                                    weight.size(2 + place), cells, axis));
  }
}

/// Zeros around [B, X, Y, Z, C]; negative numbers cut.
at::Tensor pad(const at::Tensor& input, const Extent3& before, const Extent3& after) {
  if (before == Extent3{} && after == Extent3{}) return input;
  return at::constant_pad_nd(input, {0, 0, before[2], after[2], before[1], after[1], before[0], after[0]});
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/// How one axis of an upsampled convolution falls apart into phases.
struct Phases {
  std::int64_t factor, kernel, padding;
  std::int64_t first, last;  ///< the small image's cells that an output cell sees, counted from its own

  Phases(std::int64_t factor, std::int64_t kernel, std::int64_t padding)
      : factor(factor),
        kernel(kernel),
        padding(padding),
        first(floor_divide(-padding, factor)),
        last(floor_divide(factor - 1 + kernel - 1 - padding, factor)) {}
  std::int64_t taps() const { return last - first + 1; }
  /// [factor, taps, kernel]: 1 where a kernel cell counts to a tap.
  at::Tensor sums(const at::TensorOptions& options) const {
    const at::Tensor host = at::zeros({factor, taps(), kernel}, at::kDouble);
    auto counts = host.accessor<double, 3>();
    for (std::int64_t phase = 0; phase < factor; ++phase)
      for (std::int64_t cell = 0; cell < kernel; ++cell)
        counts[phase][floor_divide(phase + cell - padding, factor) - first][cell] = 1;
    return host.to(options);
  }
};

/// `Phases::sums` of every shape and device that was asked for, made once: a step copies nothing to the
/// device.
class KeptSums {
 public:
  at::Tensor of(const Phases& phases, const at::TensorOptions& options) {
    const Key key{phases.factor,           phases.kernel,
                  phases.padding,          c10::typeMetaToScalarType(options.dtype()),
                  options.device().type(), options.device().index()};
    const std::lock_guard lock(mutex_);
    at::Tensor& kept = kept_[key];
    if (!kept.defined()) {
      const c10::InferenceMode plain(false);  // or it could not be used for training afterwards
      kept = phases.sums(options);
    }
    return kept;
  }

 private:
  using Key =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, at::ScalarType, c10::DeviceType, c10::DeviceIndex>;

  std::mutex mutex_;
  std::map<Key, at::Tensor> kept_;
};

/// Never destroyed: at the end of the process a GPU may be gone before it.
KeptSums& kept_sums() {
  static auto* const kept = new KeptSums;
  return *kept;
}

std::array<Phases, 3> phases_of(const at::Tensor& weight, const Extent3& factor, const Padding3& padding) {
  return {Phases(factor[0], weight.size(2), padding.before[0]),
          Phases(factor[1], weight.size(3), padding.before[1]),
          Phases(factor[2], weight.size(4), padding.before[2])};
}

}  // namespace

Padding3 Padding3::same(Extent3 kernel) {
  Padding3 padding;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    padding.before[axis] = (kernel[axis] - 1) / 2;
    padding.after[axis] = kernel[axis] - 1 - padding.before[axis];
  }
  return padding;
}

at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                  const Padding3& padding) {
  require_shapes(input, weight, {1, 1, 1}, padding);
  Extent3 symmetric, before, after;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    symmetric[axis] = std::min(padding.before[axis], padding.after[axis]);
    before[axis] = padding.before[axis] - symmetric[axis];
    after[axis] = padding.after[axis] - symmetric[axis];
  }
  return detail::convolve(pad(input, before, after), weight, bias, symmetric);
}

at::Tensor phase_kernels(const at::Tensor& weight, const Extent3& factor, const Padding3& padding) {
  // Sums of weights keep the weights' width, also under autocast.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto phases = phases_of(weight, factor, padding);
  at::Tensor sums = weight;
  for (const Phases& axis : phases)
    sums = at::tensordot(sums, kept_sums().of(axis, weight.options()), {2}, {2});
  return sums.permute({2, 4, 6, 0, 1, 3, 5, 7})
      .reshape({factor[0] * factor[1] * factor[2] * weight.size(0), weight.size(1), phases[0].taps(),
                phases[1].taps(), phases[2].taps()});
}

at::Tensor upsampled_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels) {
  require_shapes(input, weight, factor, padding);
  const auto phases = phases_of(weight, factor, padding);
  Extent3 outputs, steps, before,
      after;  // outputs in the fine grid; steps and padding (negative: cut) in the small one
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto place = static_cast<std::int64_t>(axis);
    const std::int64_t cells = input.size(1 + place);
    outputs[axis] =
        factor[axis] * cells + padding.before[axis] + padding.after[axis] - weight.size(2 + place) + 1;
    steps[axis] = (outputs[axis] + factor[axis] - 1) / factor[axis];
    before[axis] = -phases[axis].first;
    after[axis] = steps[axis] - 1 + phases[axis].last - (cells - 1);
  }
  const at::Tensor all_phases = detail::convolve(
      pad(input, before, after), kernels.defined() ? kernels : phase_kernels(weight, factor, padding),
      bias.defined() ? bias.repeat(factor[0] * factor[1] * factor[2]) : bias, {0, 0, 0});
  const std::int64_t batch = input.size(0), channels = weight.size(0);
  return all_phases.view({batch, steps[0], steps[1], steps[2], factor[0], factor[1], factor[2], channels})
      .permute({0, 1, 4, 2, 5, 3, 6, 7})
      .reshape({batch, steps[0] * factor[0], steps[1] * factor[1], steps[2] * factor[2], channels})
      .slice(1, 0, outputs[0])
      .slice(2, 0, outputs[1])
      .slice(3, 0, outputs[2])
      .contiguous();
}

}  // namespace bunchtrain::ops
