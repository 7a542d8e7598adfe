// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/kernels.hpp"

#include <atomic>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops {
namespace {

// Backward of a program's own loop may run in threads of autograd: a choice by thread would not reach them.
std::atomic<Kernels> of_process = Kernels::automatic;

}  // namespace

Kernels parse_kernels(std::string_view text) {
  for (const Kernels kernels : {Kernels::automatic, Kernels::libtorch})
    if (text == to_string(kernels)) return kernels;
  throw ConfigError("kernels", text, "auto, libtorch");
}

std::string_view to_string(Kernels kernels) noexcept {
  return kernels == Kernels::automatic ? "auto" : "libtorch";
}

Kernels kernels() noexcept { return of_process.load(std::memory_order_relaxed); }

KernelsGuard::KernelsGuard(Kernels kernels) noexcept : before_(of_process.exchange(kernels)) {}
KernelsGuard::~KernelsGuard() { of_process = before_; }

}  // namespace bunchtrain::ops
