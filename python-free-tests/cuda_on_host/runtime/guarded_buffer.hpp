// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory for kernels on the host that shows every access outside of it.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace bunchtrain::host_cuda {

/// A fixed number of elements that end where readable memory ends: an access behind them faults. What is in
/// front is looked at by the destructor, which ends the program if it has changed. Elements start as 0xFF
/// (NaN). A size that is a multiple of 16 bytes gives an address that is.
template <class T>
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size) : size_(size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    usable_ = (size * sizeof(T) + kFront + page - 1) / page * page;
    mapped_ = usable_ + page;
    void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<unsigned char*>(memory);
    std::fill(memory_, memory_ + usable_, kFill);
    mprotect(memory_ + usable_, page, PROT_NONE);
  }
  explicit GuardedBuffer(const std::vector<T>& values) : GuardedBuffer(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }
  GuardedBuffer(GuardedBuffer&& other) noexcept
      : size_(other.size_),
        usable_(other.usable_),
        mapped_(other.mapped_),
        memory_(std::exchange(other.memory_, nullptr)) {}
  ~GuardedBuffer() {
    if (!memory_) return;
    const auto* front = memory_;
    const bool intact = std::all_of(front, front + (usable_ - size_ * sizeof(T)),
                                    [](unsigned char byte) { return byte == kFill; });
    if (!intact) {
      std::fputs("a kernel wrote in front of a buffer\n", stderr);
      std::abort();
    }
    munmap(memory_, mapped_);
  }
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_ + usable_) - size_; }
  const T* data() const { return reinterpret_cast<const T*>(memory_ + usable_) - size_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  std::vector<T> values() const { return {data(), data() + size_}; }

 private:
  static constexpr std::size_t kFront = 256;  ///< bytes in front at least
  static constexpr unsigned char kFill = 0xFF;

  std::size_t size_, usable_ = 0, mapped_ = 0;
  unsigned char* memory_ = nullptr;
};

}  // namespace bunchtrain::host_cuda
