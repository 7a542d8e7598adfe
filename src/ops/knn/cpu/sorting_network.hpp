// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sorting networks as compile-time tables, so that every index into the values sorted is a constant and they
/// stay in registers. Plain constants: the CPU's vector units and CUDA kernels run the same networks.

#include <cstddef>

namespace bunchtrain::ops::detail {

/// Puts the smaller of both values in place `low`.
struct Comparator {
  int low;
  int high;
};

/// A list of comparators; a plain array, because kernels cannot call std::array.
template <std::size_t N>
struct ComparatorList {
  static constexpr std::size_t kSize = N;
  Comparator comparators[N];
};

/// Calls `visit(low, high)` for each comparator of Batcher's odd-even merge sort of `n` values, n a power
/// of two ("Sorting networks and their applications", AFIPS 1968).
template <class Visit>
constexpr void visit_sort_comparators(int n, Visit visit) {
  for (int p = 1; p < n; p *= 2)
    for (int k = p; k >= 1; k /= 2)
      for (int j = k % p; j + k < n; j += 2 * k)
        for (int i = 0; i < k && i + j + k < n; ++i)
          if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) visit(i + j, i + j + k);
}

/// The same for a bitonic sequence, such as the lower half of two sorted lists of which one is reversed.
template <class Visit>
constexpr void visit_merge_comparators(int n, Visit visit) {
  for (int half = n / 2; half >= 1; half /= 2)
    for (int start = 0; start < n; start += 2 * half)
      for (int i = start; i < start + half; ++i) visit(i, i + half);
}

template <int N>
constexpr auto make_sort_network() {
  constexpr auto kCount = [] {
    std::size_t count = 0;
    visit_sort_comparators(N, [&](int, int) { ++count; });
    return count;
  }();
  ComparatorList<kCount> list{};
  std::size_t next = 0;
  visit_sort_comparators(N, [&](int low, int high) { list.comparators[next++] = {low, high}; });
  return list;
}

template <int N>
constexpr auto make_merge_network() {
  constexpr auto kCount = [] {
    std::size_t count = 0;
    visit_merge_comparators(N, [&](int, int) { ++count; });
    return count;
  }();
  ComparatorList<kCount> list{};
  std::size_t next = 0;
  visit_merge_comparators(N, [&](int low, int high) { list.comparators[next++] = {low, high}; });
  return list;
}

/// Sorts N values.
template <int N>
struct SortNetwork {
  static constexpr auto kList = make_sort_network<N>();
};

/// Sorts a bitonic sequence of N values.
template <int N>
struct MergeNetwork {
  static constexpr auto kList = make_merge_network<N>();
};

}  // namespace bunchtrain::ops::detail
