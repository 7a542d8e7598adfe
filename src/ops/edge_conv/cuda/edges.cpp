// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "../edge_kernels.hpp"
#include "../edge_tensors.hpp"
#include "bunchtrain/device/detail/cuda_check.cuh"
#include "bunchtrain/ops/index_faults.hpp"
#include "edge_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

std::int32_t* fault_of(c10::Device device, int kind) {
  return index_faults(device).mutable_data_ptr<std::int32_t>() + kind;
}

}  // namespace

at::Tensor create_index_faults_cuda(c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  const at::Tensor flags = at::zeros({kIndexFaultKinds}, at::TensorOptions().dtype(at::kInt).device(device));
  device::check_cuda(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream()),
                     "prepare the flags of bad indices");
  return flags;
}

void spread_to_edges_cuda(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices,
                          const at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(v.device());
  for_type(v.scalar_type(), [&]<class T>(T*) {
    launch_spread<T>(shape_of(v, indices), v.size(0), data_or_null<T>(u), data_or_null<T>(v),
                     indices.const_data_ptr<std::int32_t>(), data_or_null<T>(out),
                     fault_of(v.device(), kSpreadFault), c10::cuda::getCurrentCUDAStream());
  });
}

void collect_from_edges_cuda(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u,
                             const at::Tensor& v) {
  const c10::cuda::CUDAGuard guard(v.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const EdgeShape shape = shape_of(v, indices);
  const at::Tensor offsets = at::empty({v.size(0), shape.points + 1}, indices.options());
  const at::Tensor order = at::empty_like(indices);
  require_countable(shape, v.size(0));
  const ReverseIndexPlan plan = plan_reverse_index(shape, v.size(0));
  const at::Tensor scratch = at::empty({plan.scratch_bytes()}, indices.options().dtype(at::kByte));
  launch_reverse_index(plan, shape, v.size(0), indices.const_data_ptr<std::int32_t>(),
                       offsets.mutable_data_ptr<std::int32_t>(), order.mutable_data_ptr<std::int32_t>(),
                       scratch.mutable_data_ptr(), fault_of(v.device(), kCollectFault), stream);
  for_type(v.scalar_type(), [&]<class T>(T*) {
    launch_collect<T>(shape, v.size(0), data_or_null<T>(edges), offsets.const_data_ptr<std::int32_t>(),
                      order.const_data_ptr<std::int32_t>(), data_or_null<T>(u), data_or_null<T>(v), stream);
  });
}

}  // namespace bunchtrain::ops::detail
