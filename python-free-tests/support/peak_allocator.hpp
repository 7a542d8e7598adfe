// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a test's tensors on the CPU take at most.

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstddef>
#include <memory>

namespace bunchtrain::test {

/// Passes on to LibTorch's own allocator and remembers how much was in use at most.
class PeakAllocator : public c10::Allocator {
 public:
  PeakAllocator() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, /*priority=*/1); }

  c10::DataPtr allocate(std::size_t bytes) override {
    const std::size_t now = in_use.fetch_add(bytes) + bytes;
    std::size_t before = peak.load();
    while (now > before && !peak.compare_exchange_weak(before, now)) {
    }
    auto* block = new Block{inner_->allocate(bytes), bytes};
    return {block->memory.get(), block, &release, at::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }

  static inline std::atomic<std::size_t> in_use = 0, peak = 0;

 private:
  struct Block {
    c10::DataPtr memory;
    std::size_t bytes;
  };
  static void release(void* pointer) {
    const std::unique_ptr<Block> block(static_cast<Block*>(pointer));
    in_use -= block->bytes;
  }
  c10::Allocator* inner_;
};

/// Once, and for good: tensors made with it outlive any scope.
inline void use_peak_allocator() { static PeakAllocator allocator; }

/// Bytes above what was in use before, at the worst moment of `action`.
template <class Action>
double peak_bytes(Action action) {
  use_peak_allocator();
  const std::size_t before = PeakAllocator::in_use;
  PeakAllocator::peak = before;
  action();
  return static_cast<double>(PeakAllocator::peak - before);
}

}  // namespace bunchtrain::test
