// SPDX-License-Identifier: Apache-2.0
#include "row_kernels.hpp"

namespace bunchtrain::nn::detail {
namespace {

template <class S>
BUNCHTRAIN_INLINE void moments_loop(const S* x, std::int64_t rows, std::int64_t channels,
                                    double* __restrict sum, double* __restrict square) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const double value = load(x[c]);
      sum[c] += value;
      square[c] += value * value;
    }
  }
}

template <class S, bool kRelu>
BUNCHTRAIN_INLINE void affine_loop(const S* x, S* y, std::int64_t rows, std::int64_t channels,
                                   const Real<S>* __restrict scale, const Real<S>* __restrict shift) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]) * scale[c] + shift[c];
      store(y[c], kRelu ? (value > 0 ? value : Real<S>(0)) : value);
    }
  }
}

template <class S, bool kRelu>
BUNCHTRAIN_INLINE void gradient_moments_loop(const S* dy, const S* x, std::int64_t rows,
                                             std::int64_t channels, const Real<S>* __restrict scale,
                                             const Real<S>* __restrict shift, double* __restrict sum,
                                             double* __restrict product) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels, dy += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]);
      const Real<S> gradient = load(dy[c]);
      const Real<S> kept = !kRelu || value * scale[c] + shift[c] > 0 ? gradient : Real<S>(0);
      const double wide = kept;
      sum[c] += wide;
      product[c] += wide * static_cast<double>(value);
    }
  }
}

template <class S, bool kRelu>
BUNCHTRAIN_INLINE void backward_loop(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                                     const Real<S>* __restrict scale, const Real<S>* __restrict shift,
                                     const Real<S>* __restrict slope, const Real<S>* __restrict offset) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]);
      const Real<S> gradient = load(dy[c]);
      const Real<S> kept = !kRelu || value * scale[c] + shift[c] > 0 ? gradient : Real<S>(0);
      store(dx[c], scale[c] * kept - offset[c] - slope[c] * value);
    }
  }
}

// target_clones does not work on templates: one plain function per storage type.
#define BUNCHTRAIN_ROW_KERNELS(S)                                                                       \
  BUNCHTRAIN_VECTOR_CLONES void moments_of(const S* x, std::int64_t rows, std::int64_t channels,        \
                                           double* sum, double* square) {                               \
    moments_loop(x, rows, channels, sum, square);                                                       \
  }                                                                                                     \
  BUNCHTRAIN_VECTOR_CLONES void affine_of(const S* x, S* y, std::int64_t rows, std::int64_t channels,   \
                                          Affine<Real<S>> affine, bool relu) {                          \
    if (relu) {                                                                                         \
      affine_loop<S, true>(x, y, rows, channels, affine.scale, affine.shift);                           \
    } else {                                                                                            \
      affine_loop<S, false>(x, y, rows, channels, affine.scale, affine.shift);                          \
    }                                                                                                   \
  }                                                                                                     \
  BUNCHTRAIN_VECTOR_CLONES void gradient_moments_of(const S* dy, const S* x, std::int64_t rows,         \
                                                    std::int64_t channels, Affine<Real<S>> affine,      \
                                                    bool relu, double* sum, double* product) {          \
    if (relu) {                                                                                         \
      gradient_moments_loop<S, true>(dy, x, rows, channels, affine.scale, affine.shift, sum, product);  \
    } else {                                                                                            \
      gradient_moments_loop<S, false>(dy, x, rows, channels, affine.scale, affine.shift, sum, product); \
    }                                                                                                   \
  }                                                                                                     \
  BUNCHTRAIN_VECTOR_CLONES void backward_of(const S* dy, const S* x, S* dx, std::int64_t rows,          \
                                            std::int64_t channels, Affine<Real<S>> affine, bool relu,   \
                                            Affine<Real<S>> correction) {                               \
    if (relu) {                                                                                         \
      backward_loop<S, true>(dy, x, dx, rows, channels, affine.scale, affine.shift, correction.scale,   \
                             correction.shift);                                                         \
    } else {                                                                                            \
      backward_loop<S, false>(dy, x, dx, rows, channels, affine.scale, affine.shift, correction.scale,  \
                              correction.shift);                                                        \
    }                                                                                                   \
  }
BUNCHTRAIN_ROW_KERNELS(float)
BUNCHTRAIN_ROW_KERNELS(double)
BUNCHTRAIN_ROW_KERNELS(Bf16)

}  // namespace

template <class S>
void add_moments(const S* x, std::int64_t rows, std::int64_t channels, double* sum, double* square) {
  moments_of(x, rows, channels, sum, square);
}
template <class S>
void apply_affine(const S* x, S* y, std::int64_t rows, std::int64_t channels, Affine<Real<S>> affine,
                  bool relu) {
  affine_of(x, y, rows, channels, affine, relu);
}
template <class S>
void add_gradient_moments(const S* dy, const S* x, std::int64_t rows, std::int64_t channels,
                          Affine<Real<S>> affine, bool relu, double* sum, double* product) {
  gradient_moments_of(dy, x, rows, channels, affine, relu, sum, product);
}
template <class S>
void normalise_backward(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                        Affine<Real<S>> affine, bool relu, Affine<Real<S>> correction) {
  backward_of(dy, x, dx, rows, channels, affine, relu, correction);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                          \
  template void add_moments<S>(const S*, std::int64_t, std::int64_t, double*, double*);                    \
  template void apply_affine<S>(const S*, S*, std::int64_t, std::int64_t, Affine<Real<S>>, bool);          \
  template void add_gradient_moments<S>(const S*, const S*, std::int64_t, std::int64_t, Affine<Real<S>>,   \
                                        bool, double*, double*);                                           \
  template void normalise_backward<S>(const S*, const S*, S*, std::int64_t, std::int64_t, Affine<Real<S>>, \
                                      bool, Affine<Real<S>>);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(double)
BUNCHTRAIN_INSTANTIATE(Bf16)

}  // namespace bunchtrain::nn::detail
