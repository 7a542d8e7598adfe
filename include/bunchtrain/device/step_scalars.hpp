// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers that change from step to step, in one block of memory that kernels read.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace bunchtrain::device {

/// A slot of `StepScalars`.
template <class T>
struct StepScalar {
  std::size_t offset;  ///< in bytes
};

/// Rates, counts and keys of a step where kernels find them, not in the arguments of their launches, so that the same launches
/// may be repeated with other numbers (a captured CUDA graph). The host sets slots, `upload` writes them all at once: one
/// asynchronous copy on the device's current stream, behind the kernels that read the numbers before. On the CPU kernels read
/// what the host sets, and there is no copy. Readers belong on the stream of the copy. Not thread-safe.
class StepScalars {
 public:
  explicit StepScalars(c10::Device device);
  ~StepScalars();
  StepScalars(StepScalars&&) noexcept;
  StepScalars& operator=(StepScalars&&) noexcept;

  /// A slot of zeros until it is set. Addresses and views from before may be those of memory that is not written any more.
  template <class T>
  StepScalar<T> add() {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    return {add_bytes(sizeof(T))};
  }
  /// The same for memory whose size is known late, 16-byte aligned: a table that kernels go through.
  StepScalar<std::byte> add_table(std::size_t bytes) { return {add_bytes(bytes)}; }
  template <class T>
  void set(StepScalar<T> slot, const T& value) {
    set_bytes(slot.offset, &value, sizeof(T));
  }
  /// The first bytes of a table.
  void set_table(StepScalar<std::byte> table, std::span<const std::byte> bytes) {
    set_bytes(table.offset, bytes.data(), bytes.size());
  }
  /// What was set last.
  template <class T>
  T get(StepScalar<T> slot) const {
    T value;
    get_bytes(slot.offset, &value, sizeof(T));
    return value;
  }
  /// Writes what was set since the last upload, if anything was.
  void upload();
  /// Copies to the device so far, or what would be copies on a GPU.
  std::int64_t uploads() const noexcept;

  /// For kernels: on the device, the same address for every step.
  template <class T>
  const T* address(StepScalar<T> slot) const {
    return reinterpret_cast<const T*>(address_of(slot.offset));
  }
  /// [N] of 64 bits, a slot of N such numbers on the device, for LibTorch's kernels: to be read in the step.
  template <class T>
  at::Tensor view(StepScalar<T> slot, at::ScalarType type = at::kDouble) const {
    static_assert(sizeof(T) % sizeof(double) == 0);
    return view_of(slot.offset, sizeof(T), type);
  }
  c10::Device device() const noexcept;

 private:
  static constexpr std::size_t kAlignment = 16;

  std::size_t add_bytes(std::size_t bytes);
  void set_bytes(std::size_t offset, const void* value, std::size_t bytes);
  void get_bytes(std::size_t offset, void* value, std::size_t bytes) const;
  const std::byte* address_of(std::size_t offset) const;
  at::Tensor view_of(std::size_t offset, std::size_t bytes, at::ScalarType type) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::device
