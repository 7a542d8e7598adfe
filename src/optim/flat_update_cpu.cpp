// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#define BUNCHTRAIN_HOST_DEVICE [[gnu::always_inline]]
#include "flat_update.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

namespace {

constexpr std::int64_t kGrain = 16384;  // elements per task: a few microseconds
constexpr std::int64_t kSumPiece = 4096;

template <template <class> class Rule, class T>
[[gnu::always_inline]] inline void update_loop(const Rule<T>& rule_in_memory, const FlatRange<T>& range,
                                               std::int64_t begin, std::int64_t end) {
  const Rule<T> rule = rule_in_memory;  // in registers: stores below cannot alias it
  T* __restrict value = range.value;
  const T* __restrict gradient = range.gradient;
  const T scale = range.gradient_scale;
  if constexpr (Rule<T>::kStates == 0) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale);
  } else if constexpr (Rule<T>::kStates == 1) {
    T* __restrict first = range.state[0];
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale, first[i]);
  } else {
    T* __restrict first = range.state[0];
    T* __restrict second = range.state[1];
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rule(value[i], gradient[i] * scale, first[i], second[i]);
  }
}

template <class T>
[[gnu::always_inline]] inline double sum_loop(const T* values, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

// The same loops for three instruction sets: the build itself stays at the oldest processor.
#if defined(__x86_64__)

const bool kHasAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
const bool kHasAvx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");

template <template <class> class Rule, class T>
[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]] void update_avx512(const Rule<T>& rule,
                                                                                  const FlatRange<T>& range,
                                                                                  std::int64_t begin,
                                                                                  std::int64_t end) {
  update_loop(rule, range, begin, end);
}

template <template <class> class Rule, class T>
[[gnu::target("avx2,fma")]] void update_avx2(const Rule<T>& rule, const FlatRange<T>& range,
                                             std::int64_t begin, std::int64_t end) {
  update_loop(rule, range, begin, end);
}

template <class T>
[[gnu::target("avx2,fma")]] double sum_avx2(const T* values, std::int64_t count) {
  return sum_loop(values, count);
}

template <template <class> class Rule, class T>
void update_piece(const Rule<T>& rule, const FlatRange<T>& range, std::int64_t begin, std::int64_t end) {
  if (kHasAvx512) return update_avx512(rule, range, begin, end);
  if (kHasAvx2) return update_avx2(rule, range, begin, end);
  update_loop(rule, range, begin, end);
}

template <class T>
double sum_piece(const T* values, std::int64_t count) {
  return kHasAvx2 ? sum_avx2(values, count) : sum_loop(values, count);
}

#else

template <template <class> class Rule, class T>
void update_piece(const Rule<T>& rule, const FlatRange<T>& range, std::int64_t begin, std::int64_t end) {
  update_loop(rule, range, begin, end);
}

template <class T>
double sum_piece(const T* values, std::int64_t count) {
  return sum_loop(values, count);
}

#endif

}  // namespace

template <template <class> class Rule, class T>
void update_on_cpu(const Rule<T>& rule, const FlatRange<T>& range) {
  if (!std::isfinite(range.gradient_scale)) return;
  at::parallel_for(0, range.count, kGrain,
                   [&](std::int64_t begin, std::int64_t end) { update_piece(rule, range, begin, end); });
}

template <class T>
double sum_of_squares_on_cpu(const T* values, std::int64_t count) {
  const std::int64_t pieces = (count + kSumPiece - 1) / kSumPiece;
  std::vector<double> sums(static_cast<std::size_t>(pieces));
  at::parallel_for(0, pieces, kGrain / kSumPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t start = piece * kSumPiece;
      sums[static_cast<std::size_t>(piece)] = sum_piece(values + start, std::min(kSumPiece, count - start));
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

#define INSTANTIATE(Rule)                                                   \
  template void update_on_cpu(const Rule<float>&, const FlatRange<float>&); \
  template void update_on_cpu(const Rule<double>&, const FlatRange<double>&)
INSTANTIATE(SgdRule);
INSTANTIATE(MomentumRule);
INSTANTIATE(AdamRule);
INSTANTIATE(RadamRule);
INSTANTIATE(LookaheadRule);
INSTANTIATE(RmspropRule);
INSTANTIATE(RmspropMomentumRule);
#undef INSTANTIATE
template double sum_of_squares_on_cpu(const float*, std::int64_t);
template double sum_of_squares_on_cpu(const double*, std::int64_t);

}  // namespace bunchtrain::optim
