// SPDX-License-Identifier: Apache-2.0
// A sample's normalisation and modulation are one affine map per channel; so backward needs two sums per channel, and what is
// left of them per sample.
#include "bunchtrain/ops/modulated_norm.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "held_state.hpp"
#include "row_operations.hpp"
#include "rows/cpu/row_kernels.hpp"
#include "rows/row_storage.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {
namespace {

using detail::Activation, detail::Affine, detail::Real;
using detail::data_of, detail::for_storage;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kPieceRows = 2048;

/// [B, rows, C] in pieces of one sample each. Sums are added in the order of pieces, whatever the threads.
struct Pieces {
  explicit Pieces(const at::Tensor& x)
      : samples(x.size(0)),
        rows(x.size(1)),
        channels(x.size(2)),
        of_sample((rows + kPieceRows - 1) / kPieceRows) {}

  /// Calls `call(sample, place, rows, piece)` with the place of the piece's first number.
  template <class Call>
  void for_all(Call&& call) const {
    at::parallel_for(0, samples * of_sample, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t piece = first; piece < last; ++piece) {
        const std::int64_t sample = piece / of_sample, begin = piece % of_sample * kPieceRows;
        call(sample, (sample * rows + begin) * channels, std::min(kPieceRows, rows - begin), piece);
      }
    });
  }

  /// [B, 2, C] float64: `add(sample, place, rows, first, second)` adds a piece's sums.
  template <class Add>
  at::Tensor sum(Add&& add) const {
    const at::Tensor sums = at::zeros({samples, of_sample, 2, channels}, at::kDouble);
    auto* numbers = sums.mutable_data_ptr<double>();
    for_all([&](std::int64_t sample, std::int64_t place, std::int64_t count, std::int64_t piece) {
      double* first = numbers + piece * 2 * channels;
      add(sample, place, count, first, first + channels);
    });
    return sums.sum(1);
  }

  std::int64_t samples, rows, channels, of_sample;
};

/// [B, C] tensors of what rows are computed in.
struct SampleAffine {
  at::Tensor scale, shift;

  template <class S>
  Affine<Real<S>> of(std::int64_t sample) const {
    const std::int64_t place = sample * scale.size(1);
    return {data_of<Real<S>>(scale) + place, data_of<Real<S>>(shift) + place};
  }
};

SampleAffine computed_in(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift) {
  const at::ScalarType type = detail::compute_type(x.scalar_type());
  return {scale.to(type).contiguous(), shift.to(type).contiguous()};
}

/// What backward needs besides x.
struct State {
  SampleAffine affine;             ///< x to what the activation has
  at::Tensor mean, inverse_width;  ///< [B, 1] float64
  at::Tensor factor;               ///< [B, C] float64: 1 + scale
  double count = 0;                ///< numbers of a sample over all ranks
  std::shared_ptr<StatisticsReducer> reducer;
  at::ScalarType modulation_type = at::kFloat;
};

class ModulatedNorm : public torch::autograd::Function<ModulatedNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& shift, const ModulatedNormOptions& options) {
    const auto state = std::make_shared<State>();
    const Pieces pieces(x);
    state->reducer = options.reducer;
    state->count = static_cast<double>((options.cells > 0 ? options.cells : pieces.rows) * pieces.channels);
    state->modulation_type = scale.scalar_type();
    set_statistics(*state, moments(x, pieces), options.epsilon);
    state->factor = scale.to(at::kDouble) + 1;
    const at::Tensor slope = state->factor * state->inverse_width;
    state->affine = computed_in(x, slope, shift.to(at::kDouble) - state->mean * slope);
    context->save_for_backward({x});
    at::Tensor y = activate(x, pieces, state->affine);
    detail::hold_state(context, state);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto& state = detail::held_state<State>(context);
    const at::Tensor x = context->get_saved_variables()[0], dy = gradients[0].contiguous();
    const Pieces pieces(x);
    const at::Tensor sums = gradient_moments(dy, x, pieces, state.affine);
    const at::Tensor of_shift = sums.select(1, 0);
    const at::Tensor of_scale = (sums.select(1, 1) - state.mean * of_shift) * state.inverse_width;
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = input_gradient(dy, x, pieces, state, of_shift, of_scale);
    return {dx, of_scale.to(state.modulation_type), of_shift.to(state.modulation_type), {}};
  }

 private:
  /// [B, 2] float64
  static at::Tensor moments(const at::Tensor& x, const Pieces& pieces) {
    at::Tensor sums;
    for_storage(x, [&]<class S>(S) {
      sums =
          pieces.sum([&](std::int64_t, std::int64_t place, std::int64_t rows, double* sum, double* square) {
            detail::add_moments(data_of<S>(x) + place, rows, pieces.channels, sum, square);
          });
    });
    return sums.sum(2);
  }

  static void set_statistics(State& state, at::Tensor sums, double epsilon) {
    if (state.reducer) state.reducer->all_reduce_sum(sums);
    const at::Tensor means = sums / state.count;
    state.mean = means.narrow(1, 0, 1);
    state.inverse_width = (means.narrow(1, 1, 1) - state.mean.square()).clamp_min(0).add(epsilon).rsqrt();
  }

  static at::Tensor activate(const at::Tensor& x, const Pieces& pieces, const SampleAffine& affine) {
    at::Tensor y = at::empty_like(x);
    for_storage(x, [&]<class S>(S) {
      S* const out = static_cast<S*>(y.mutable_data_ptr());
      pieces.for_all([&](std::int64_t sample, std::int64_t place, std::int64_t rows, std::int64_t) {
        detail::apply_affine(data_of<S>(x) + place, out + place, rows, pieces.channels, affine.of<S>(sample),
                             Activation::silu);
      });
    });
    return y;
  }

  static at::Tensor gradient_moments(const at::Tensor& dy, const at::Tensor& x, const Pieces& pieces,
                                     const SampleAffine& affine) {
    at::Tensor sums;
    for_storage(x, [&]<class S>(S) {
      sums = pieces.sum(
          [&](std::int64_t sample, std::int64_t place, std::int64_t rows, double* sum, double* product) {
            detail::add_gradient_moments(data_of<S>(dy) + place, data_of<S>(x) + place, rows, pieces.channels,
                                         affine.of<S>(sample), Activation::silu, sum, product);
          });
    });
    return sums;
  }

  /// Less what a change of the sample's mean and width takes back.
  static at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& x, const Pieces& pieces,
                                   const State& state, const at::Tensor& of_shift,
                                   const at::Tensor& of_scale) {
    at::Tensor sums = at::stack({(state.factor * of_shift).sum(1), (state.factor * of_scale).sum(1)}, 1);
    if (state.reducer) state.reducer->all_reduce_sum(sums);
    const at::Tensor means = sums / state.count;
    const at::Tensor slope = state.inverse_width.square() * means.narrow(1, 1, 1);
    const at::Tensor offset = state.inverse_width * means.narrow(1, 0, 1) - state.mean * slope;
    const SampleAffine correction =
        computed_in(x, slope.expand({-1, pieces.channels}), offset.expand({-1, pieces.channels}));
    at::Tensor dx = at::empty_like(x);
    for_storage(x, [&]<class S>(S) {
      S* const out = static_cast<S*>(dx.mutable_data_ptr());
      pieces.for_all([&](std::int64_t sample, std::int64_t place, std::int64_t rows, std::int64_t) {
        detail::normalise_backward(data_of<S>(dy) + place, data_of<S>(x) + place, out + place, rows,
                                   pieces.channels, state.affine.of<S>(sample), Activation::silu,
                                   correction.of<S>(sample));
      });
    });
    return dx;
  }
};

bool is_taken(const at::Tensor& x) noexcept {
  const at::ScalarType type = x.scalar_type();
  return x.is_cpu() && (type == at::kFloat || type == at::kDouble || type == at::kBFloat16);
}

}  // namespace

bool has_modulated_norm(const at::Tensor& x) noexcept {
  return kernels() == Kernels::automatic && is_taken(x);
}

at::Tensor modulated_norm_silu(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                               const ModulatedNormOptions& options) {
  if (!is_taken(x) || x.dim() < 2)
    throw ConfigError(fmt::format(
        "modulated norm expects [B, ..., C] of float32, float64 or bfloat16 on the CPU; the input is {}",
        detail::tensor_text(x)));
  const std::int64_t samples = x.size(0), channels = x.size(-1);
  for (const at::Tensor& modulation : {scale, shift})
    if (modulation.defined() != scale.defined() ||
        (modulation.defined() && modulation.sizes() != at::IntArrayRef({samples, channels})))
      throw ConfigError(fmt::format(
          "scale and shift of a modulated norm must be [{}, {}], or both undefined; they are {} and {}",
          samples, channels, detail::tensor_text(scale), detail::tensor_text(shift)));
  const at::Tensor none = scale.defined() ? at::Tensor() : at::zeros({samples, channels}, at::kFloat);
  const std::int64_t rows = c10::multiply_integers(x.sizes().slice(1, x.dim() - 2));
  return ModulatedNorm::apply(x.contiguous().view({samples, rows, channels}), scale.defined() ? scale : none,
                              shift.defined() ? shift : none, options)
      .view(x.sizes());
}

}  // namespace bunchtrain::ops
