// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The chunks decoded last, for datasets whose chunks are larger than what is asked for at a time.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace bunchtrain::data {

/// Keeps the most recently used blocks, at most `kBytes` in all. Thread-safe.
class DecodedChunks {
 public:
  using Rows = std::vector<std::byte>;
  /// Whose block, and its number.
  struct Key {
    const void* owner;
    std::uint64_t block;
    bool operator==(const Key&) const = default;
  };

  std::shared_ptr<const Rows> find(const Key& block) {
    const std::lock_guard lock(mutex_);
    for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
      if (it->first != block) continue;
      blocks_.splice(blocks_.begin(), blocks_, it);
      return it->second;
    }
    return nullptr;
  }

  void keep(const Key& block, Rows rows) {
    if (rows.size() > kBytes) return;
    const std::lock_guard lock(mutex_);
    bytes_ += rows.size();
    blocks_.emplace_front(block, std::make_shared<const Rows>(std::move(rows)));
    while (bytes_ > kBytes) {
      bytes_ -= blocks_.back().second->size();
      blocks_.pop_back();
    }
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{32} << 20;
  std::mutex mutex_;
  std::list<std::pair<Key, std::shared_ptr<const Rows>>> blocks_;
  std::size_t bytes_ = 0;
};

}  // namespace bunchtrain::data
