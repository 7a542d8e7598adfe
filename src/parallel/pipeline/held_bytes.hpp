// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Counts the memory of tensors that is still held when some work is done.

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace bunchtrain::parallel {

/// Bytes allocated less bytes freed by the calling thread while it lives, on all devices. As LibTorch's memory profiler, in
/// whose place it stands.
class HeldBytes {
 public:
  HeldBytes() : count_(std::make_shared<Count>()), guard_(c10::DebugInfoKind::PROFILER_STATE, count_) {}
  std::int64_t now() const noexcept { return count_->bytes; }

 private:
  struct Count : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
      bytes += size;
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t bytes = 0;
  };
  std::shared_ptr<Count> count_;
  c10::DebugInfoGuard guard_;
};

}  // namespace bunchtrain::parallel
