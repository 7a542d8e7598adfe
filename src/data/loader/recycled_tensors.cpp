// SPDX-License-Identifier: Apache-2.0
#include "recycled_tensors.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace bunchtrain::data {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallest = std::size_t{64} << 10;  // below, the allocator is as good

struct Free {
  void operator()(std::byte* memory) const noexcept {
    ::operator delete (memory, std::align_val_t{kAlignment});
  }
};
using Memory = std::unique_ptr<std::byte, Free>;

}  // namespace

struct RecycledTensors::Store {
  const std::size_t most_idle_bytes;
  std::mutex mutex;
  std::map<std::size_t, std::vector<Memory>> idle;  // by size
  std::size_t idle_bytes = 0;

  explicit Store(std::size_t most) : most_idle_bytes(most) {}

  Memory take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex);
      const auto same_size = idle.find(bytes);
      if (same_size != idle.end() && !same_size->second.empty()) {
        Memory memory = std::move(same_size->second.back());
        same_size->second.pop_back();
        idle_bytes -= bytes;
        return memory;
      }
    }
    return Memory(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kAlignment})));
  }

  void give_back(Memory memory, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    if (idle_bytes + bytes > most_idle_bytes) return;
    idle[bytes].push_back(std::move(memory));
    idle_bytes += bytes;
  }
};

RecycledTensors::RecycledTensors(std::size_t most_idle_bytes)
    : store_(std::make_shared<Store>(most_idle_bytes)) {}

at::Tensor RecycledTensors::empty(at::IntArrayRef sizes, at::ScalarType type) const {
  const auto options = at::TensorOptions().dtype(type);
  std::size_t bytes = c10::elementSize(type);
  for (const auto extent : sizes) bytes *= static_cast<std::size_t>(extent);
  if (bytes < kSmallest) return at::empty(sizes, options);
  std::byte* memory = store_->take(bytes).release();
  return at::from_blob(
      memory, sizes,
      [store = store_, bytes](void* left) { store->give_back(Memory(static_cast<std::byte*>(left)), bytes); },
      options);
}

std::size_t RecycledTensors::idle_bytes() const {
  const std::lock_guard lock(store_->mutex);
  return store_->idle_bytes;
}

}  // namespace bunchtrain::data
