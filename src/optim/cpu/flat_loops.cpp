// SPDX-License-Identifier: Apache-2.0
// Loops for the compiler's vectoriser; Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/flat_loops.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#undef BUNCHTRAIN_HOST_DEVICE
#define BUNCHTRAIN_HOST_DEVICE [[gnu::always_inline]]
#include "flat_loops.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::optim {
namespace HWY_NAMESPACE {
namespace {

template <template <class> class Rule, class T>
void update_loop(const Rule<T>& rule_in_memory, const FlatRange<T>& range, T scale, std::int64_t begin,
                 std::int64_t end) {
  const Rule<T> rule = rule_in_memory;  // in registers: stores below cannot alias it
  T* __restrict value = range.value;
  const T* __restrict gradient = range.gradient;
  T* __restrict first = range.state[0];
  T* __restrict second = range.state[1];
  T* __restrict third = range.state[2];
  if constexpr (Rule<T>::kStates == 0) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale);
  } else if constexpr (Rule<T>::kStates == 1) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale, first[i]);
  } else if constexpr (Rule<T>::kStates == 2) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale, first[i], second[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i)
      rule(value[i], gradient[i] * scale, first[i], second[i], third[i]);
  }
}

template <class T>
double sum_loop(const T* values, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

template <class T>
const FlatLoops<T>& table() {
#define BUNCHTRAIN_LOOP_OF(Rule) .of_##Rule = update_loop<Rule, T>,
  static constexpr FlatLoops<T> kTable{BUNCHTRAIN_UPDATE_RULES(BUNCHTRAIN_LOOP_OF).sum_of_squares =
                                           sum_loop<T>};
#undef BUNCHTRAIN_LOOP_OF
  return kTable;
}

}  // namespace

const FlatLoops<float>& loops_of_float() { return table<float>(); }
const FlatLoops<double>& loops_of_double() { return table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::optim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::optim {

HWY_EXPORT(loops_of_float);
HWY_EXPORT(loops_of_double);

template <>
const FlatLoops<float>& flat_loops<float>() {
  return HWY_DYNAMIC_DISPATCH(loops_of_float)();
}
template <>
const FlatLoops<double>& flat_loops<double>() {
  return HWY_DYNAMIC_DISPATCH(loops_of_double)();
}

}  // namespace bunchtrain::optim
#endif  // HWY_ONCE
