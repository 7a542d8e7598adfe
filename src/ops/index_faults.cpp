// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/index_faults.hpp"

#include <ATen/ops/zeros.h>

#include <map>
#include <mutex>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "edge_conv/edge_kernels.hpp"

namespace bunchtrain::ops {

at::Tensor index_faults(c10::Device device) {
  static std::mutex mutex;
  // Never destroyed: it may outlive the driver.
  static auto& kept = *new std::map<c10::DeviceIndex, at::Tensor>;
  const c10::DeviceIndex key = device.is_cpu() ? -1 : device.index();
  const std::scoped_lock lock(mutex);
  at::Tensor& flags = kept[key];
  if (!flags.defined())
    flags = device.is_cpu() ? at::zeros({detail::kIndexFaultKinds}, at::kInt)
                            : detail::create_index_faults_cuda(device);
  return flags;
}

void require_no_index_faults(std::span<const double> flags) {
  expects(flags.size() == std::size_t{detail::kIndexFaultKinds},
          "require_no_index_faults takes a copy of all index_faults");
  std::string operations;
  if (flags[detail::kSpreadFault] != 0)
    operations = "edge_conv, gather_neighbours or edge_sum (or scatter_neighbours' backward)";
  if (flags[detail::kCollectFault] != 0) {
    if (!operations.empty()) operations += " and ";
    operations += "scatter_neighbours (or the backward of gather_neighbours and edge_sum)";
  }
  if (operations.empty()) return;
  throw ConfigError(
      "an index outside its set of points reached " + operations +
      " on the GPU, in the step before this one or earlier: what was computed since is wrong. On the CPU (" +
      setting("device", "cpu") +
      ") the operation itself refuses such an index and names its place; indices of "
      "ops::knn are always inside");
}

}  // namespace bunchtrain::ops
