// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What each optimizer does to one element: the same source for the CPU loops and the GPU kernel.
///
/// A rule is a struct of scalars, called as rule(value, gradient, state...) with references to one
/// element. Optimizers fill it in float64 once per step; `as<T>()` rounds it to the parameters' type
/// and loops and kernels read it from memory.
/// Padding (value, gradient and state 0) stays 0. The CUDA source defines BUNCHTRAIN_HOST_DEVICE
/// before it includes this file.

#include <cmath>

#ifndef BUNCHTRAIN_HOST_DEVICE
#define BUNCHTRAIN_HOST_DEVICE
#endif

namespace bunchtrain::optim {

template <class T>
struct SgdRule {
  static constexpr int kStates = 0;
  T learning_rate, weight_decay;

  template <class U>
  SgdRule<U> as() const {
    return {U(learning_rate), U(weight_decay)};
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient) const {
    value -= learning_rate * (gradient + weight_decay * value);
  }
};

template <class T>
struct MomentumRule {
  static constexpr int kStates = 1;
  T learning_rate, weight_decay, momentum;
  T from_gradient,
      from_buffer;  ///< the step is from_gradient * gradient + from_buffer * buffer (Nesterov: 1, momentum)

  template <class U>
  MomentumRule<U> as() const {
    return {U(learning_rate), U(weight_decay), U(momentum), U(from_gradient), U(from_buffer)};
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& buffer) const {
    gradient += weight_decay * value;
    buffer = momentum * buffer + gradient;
    value -= learning_rate * (from_gradient * gradient + from_buffer * buffer);
  }
};

/// Adam (L2 decay) and AdamW (decoupled decay).
template <class T>
struct AdamRule {
  static constexpr int kStates = 2;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
  T l2;                  ///< weight decay added to the gradient
  T keep;                ///< 1 - learning_rate * decoupled weight decay
  T step_size;           ///< learning_rate / (1 - beta1^t)
  T inverse_bias2_root;  ///< 1 / sqrt(1 - beta2^t)

  template <class U>
  AdamRule<U> as() const {
    return {U(beta1),     U(one_minus_beta1),   U(beta2), U(one_minus_beta2), U(epsilon), U(l2), U(keep),
            U(step_size), U(inverse_bias2_root)};
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& exp_avg, T& exp_avg_sq) const {
    gradient += l2 * value;
    exp_avg = beta1 * exp_avg + one_minus_beta1 * gradient;
    exp_avg_sq = beta2 * exp_avg_sq + one_minus_beta2 * gradient * gradient;
    value = keep * value - step_size * exp_avg / (std::sqrt(exp_avg_sq) * inverse_bias2_root + epsilon);
  }
};

/// Rectified Adam, step t: `adaptive` 1 with the rectified step size, or 0 with the plain one while the
/// variance of the adaptive rate is intractable (the first steps).
template <class T>
struct RadamRule {
  static constexpr int kStates = 2;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
  T keep;       ///< 1 - learning_rate * weight decay
  T step_size;  ///< with bias corrections and rectification
  T adaptive;

  template <class U>
  RadamRule<U> as() const {
    return {U(beta1), U(one_minus_beta1), U(beta2),   U(one_minus_beta2), U(epsilon),
            U(keep),  U(step_size),       U(adaptive)};
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& exp_avg, T& exp_avg_sq) const {
    exp_avg = beta1 * exp_avg + one_minus_beta1 * gradient;
    exp_avg_sq = beta2 * exp_avg_sq + one_minus_beta2 * gradient * gradient;
    const T denominator = adaptive * (std::sqrt(exp_avg_sq) + epsilon) + (T(1) - adaptive);
    value = keep * value - step_size * exp_avg / denominator;
  }
};

/// Rectified Adam with Lookahead (1907.08610): with a factor the slow weights move towards the fast ones, which restart
/// from there; with factor 0, in the steps between, they lie still.
template <class T>
struct RangerRule {
  static constexpr int kStates = 3;
  RadamRule<T> radam;
  T factor;

  template <class U>
  RangerRule<U> as() const {
    return {radam.template as<U>(), U(factor)};
  }
  BUNCHTRAIN_HOST_DEVICE int states_in_use() const { return factor == 0 ? 2 : 3; }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& exp_avg, T& exp_avg_sq, T& slow) const {
    radam(value, gradient, exp_avg, exp_avg_sq);
    if (factor == 0) return;
    slow += factor * (value - slow);
    value = slow;
  }
};

/// Both forms of RMSprop divide by sqrt(v + inside) + outside.
template <class T>
struct RmspropRule {
  static constexpr int kStates = 1;
  T learning_rate, weight_decay, decay, one_minus_decay, inside, outside;

  template <class U>
  RmspropRule<U> as() const {
    return {U(learning_rate), U(weight_decay), U(decay), U(one_minus_decay), U(inside), U(outside)};
  }
  /// gradient / root mean square, the average updated
  BUNCHTRAIN_HOST_DEVICE T normalised(T value, T gradient, T& square_avg) const {
    gradient += weight_decay * value;
    square_avg = decay * square_avg + one_minus_decay * gradient * gradient;
    return gradient / (std::sqrt(square_avg + inside) + outside);
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& square_avg) const {
    value -= learning_rate * normalised(value, gradient, square_avg);
  }
};

template <class T>
struct RmspropMomentumRule {
  static constexpr int kStates = 2;
  RmspropRule<T> plain;
  T momentum;
  T into_buffer;  ///< Keras: the learning rate; PyTorch: 1
  T from_buffer;  ///< Keras: 1; PyTorch: the learning rate

  template <class U>
  RmspropMomentumRule<U> as() const {
    return {plain.template as<U>(), U(momentum), U(into_buffer), U(from_buffer)};
  }
  BUNCHTRAIN_HOST_DEVICE void operator()(T& value, T gradient, T& square_avg, T& buffer) const {
    buffer = momentum * buffer + into_buffer * plain.normalised(value, gradient, square_avg);
    value -= from_buffer * buffer;
  }
};

/// How many of its states a rule reads and writes in this step.
template <class Rule>
BUNCHTRAIN_HOST_DEVICE constexpr int states_in_use(const Rule& rule) {
  if constexpr (requires { rule.states_in_use(); })
    return rule.states_in_use();
  else
    return Rule::kStates;
}

/// A moving average follows a value by `weight` of the way: the formula of `at::lerp`, which is exact at both ends.
template <class T>
struct AverageRule {
  T weight;

  BUNCHTRAIN_HOST_DEVICE void operator()(T value, T& average) const {
    const T way = value - average;
    average = weight < T(0.5) ? std::fma(weight, way, average) : std::fma(weight - T(1), way, value);
  }
};

}  // namespace bunchtrain::optim

/// All rules, for what is made once for each.
#define BUNCHTRAIN_UPDATE_RULES(MAKE) \
  MAKE(SgdRule)                       \
  MAKE(MomentumRule)                  \
  MAKE(AdamRule)                      \
  MAKE(RadamRule)                     \
  MAKE(RangerRule)                    \
  MAKE(RmspropRule)                   \
  MAKE(RmspropMomentumRule)
