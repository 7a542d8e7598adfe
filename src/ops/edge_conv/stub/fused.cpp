// SPDX-License-Identifier: Apache-2.0
#include "../fused.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {
namespace {

[[noreturn]] void fail() { throw NotBuiltError("fused EdgeConv on a GPU", "BUNCHTRAIN_CUDA"); }

}  // namespace

FusedCard fused_card(c10::Device) { fail(); }

std::int64_t fused_bytes(const FusedCard&, const FusedCall&) { fail(); }

std::optional<at::Tensor> block_by_fused_passes(const at::Tensor&, const at::Tensor&, const Padding&,
                                                const EdgeConvLayers&, const EdgeConvShortcut&) {
  fail();
}

at::Tensor mean_by_fused_passes(const at::Tensor&, const at::Tensor&, const Padding&, const EdgeConvLayers&) {
  fail();
}

}  // namespace bunchtrain::ops::detail
