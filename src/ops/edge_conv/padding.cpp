// SPDX-License-Identifier: Apache-2.0
#include "padding.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/where.h>

namespace bunchtrain::ops::detail {

at::Tensor join_padding(const at::Tensor& indices, const at::Tensor& mask) {
  const std::int64_t sets = indices.size(0), points = indices.size(1), k = indices.size(2);
  // Padded points first, both kinds by index; a point's place in that order is the inverse permutation.
  const at::Tensor order = at::argsort(mask.to(at::kInt), /*stable=*/true, /*dim=*/1, /*descending=*/false);
  const at::Tensor place = at::argsort(order, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  // The first k of the order other than the point itself: everything from its own place on moves up by one.
  const at::Tensor slot = at::arange(k, indices.options().dtype(at::kLong)).expand({sets, points, k});
  const at::Tensor skipped = slot.add(slot.ge(place.unsqueeze(2)));
  const at::Tensor padded = order.unsqueeze(1).expand({sets, points, points}).gather(2, skipped).to(at::kInt);
  return at::where(mask.unsqueeze(2), indices, padded);
}

}  // namespace bunchtrain::ops::detail
