// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../flat_update.hpp"
#include "flat_loops.hpp"

namespace bunchtrain::optim {

namespace {

constexpr std::int64_t kGrain = 16384;  // elements per task: a few microseconds
constexpr std::int64_t kSumPiece = 4096;

}  // namespace

template <template <class> class Rule, class T>
void update_on_cpu(const Rule<T>& rule, const FlatRange<T>& range, double gradient_scale) {
  const T scale = static_cast<T>(gradient_scale);
  if (!std::isfinite(scale)) return;
  const FlatLoops<T>& loops = flat_loops<T>();
  at::parallel_for(0, range.count, kGrain,
                   [&](std::int64_t begin, std::int64_t end) { loops(rule, range, scale, begin, end); });
}

template <class T>
double sum_of_squares_on_cpu(const T* values, std::int64_t count) {
  const std::int64_t pieces = (count + kSumPiece - 1) / kSumPiece;
  std::vector<double> sums(static_cast<std::size_t>(pieces));
  const FlatLoops<T>& loops = flat_loops<T>();
  at::parallel_for(0, pieces, kGrain / kSumPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t start = piece * kSumPiece;
      sums[static_cast<std::size_t>(piece)] =
          loops.sum_of_squares(values + start, std::min(kSumPiece, count - start));
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

#define INSTANTIATE(Rule)                                                           \
  template void update_on_cpu(const Rule<float>&, const FlatRange<float>&, double); \
  template void update_on_cpu(const Rule<double>&, const FlatRange<double>&, double);
BUNCHTRAIN_UPDATE_RULES(INSTANTIATE)
#undef INSTANTIATE
template double sum_of_squares_on_cpu(const float*, std::int64_t);
template double sum_of_squares_on_cpu(const double*, std::int64_t);

}  // namespace bunchtrain::optim
