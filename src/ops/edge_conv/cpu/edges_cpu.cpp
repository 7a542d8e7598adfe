// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../edge_kernels.hpp"
#include "../edge_tensors.hpp"

namespace bunchtrain::ops::detail {
namespace {

template <class T>
void spread(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices, const at::Tensor& out) {
  const EdgeShape shape = shape_of(v, indices);
  const std::int64_t set_points = shape.points * shape.channels, set_edges = shape.points * shape.neighbours;
  const T* u_data = data_or_null<const T>(u);
  const T* v_data = data_or_null<const T>(v);
  const auto* index_data = indices.const_data_ptr<std::int32_t>();
  T* out_data = data_or_null<T>(out);
  constexpr std::int64_t kPointsPerTask = 32;
  at::parallel_for(0, v.size(0) * shape.points, kPointsPerTask, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t set = begin / shape.points, first = begin % shape.points;
      const std::int64_t last = std::min(shape.points, first + end - begin);
      spread_points(shape, first, last, u_data ? u_data + set * set_points : nullptr,
                    v_data + set * set_points, index_data + set * set_edges,
                    out_data + set * set_edges * shape.channels);
      begin += last - first;
    }
  });
}

template <class T>
void collect(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u, const at::Tensor& v) {
  const EdgeShape shape = shape_of(v, indices);
  const std::int64_t set_points = shape.points * shape.channels, set_edges = shape.points * shape.neighbours;
  const T* edge_data = data_or_null<const T>(edges);
  const auto* index_data = indices.const_data_ptr<std::int32_t>();
  T* u_data = data_or_null<T>(u);
  T* v_data = data_or_null<T>(v);
  at::parallel_for(0, v.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t set = begin; set < end; ++set)
      collect_set(shape, edge_data + set * set_edges * shape.channels, index_data + set * set_edges,
                  u_data ? u_data + set * set_points : nullptr, v_data + set * set_points);
  });
}

/// Sums in float and rounds once at the end.
template <class T>
void collect_narrow(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u,
                    const at::Tensor& v) {
  const EdgeShape shape = shape_of(v, indices);
  const std::int64_t set_points = shape.points * shape.channels, set_edges = shape.points * shape.neighbours;
  const T* edge_data = data_or_null<const T>(edges);
  const auto* index_data = indices.const_data_ptr<std::int32_t>();
  T* u_data = data_or_null<T>(u);
  T* v_data = data_or_null<T>(v);
  at::parallel_for(0, v.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> u_sum(u_data ? static_cast<std::size_t>(set_points) : 0),
        v_sum(static_cast<std::size_t>(set_points));
    for (std::int64_t set = begin; set < end; ++set) {
      collect_set(shape, edge_data + set * set_edges * shape.channels, index_data + set * set_edges,
                  u_data ? u_sum.data() : nullptr, v_sum.data());
      round_sums(v_sum.data(), set_points, v_data + set * set_points);
      if (u_data) round_sums(u_sum.data(), set_points, u_data + set * set_points);
    }
  });
}

}  // namespace

void spread_to_edges_cpu(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices,
                         const at::Tensor& out) {
  for_type(v.scalar_type(), [&]<class T>(T*) { spread<T>(u, v, indices, out); });
}

void collect_from_edges_cpu(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u,
                            const at::Tensor& v) {
  for_type(v.scalar_type(), [&]<class T>(T*) {
    if constexpr (std::is_floating_point_v<T>) {
      collect<T>(edges, indices, u, v);
    } else {
      collect_narrow<T>(edges, indices, u, v);
    }
  });
}

}  // namespace bunchtrain::ops::detail
