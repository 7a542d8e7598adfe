// SPDX-License-Identifier: Apache-2.0
#pragma once
/// An ordered map from names to tensors: what a batch, a model's inputs or a file of weights is made of.

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain {

/// Tensors by name, in the order of insertion. Tensors are shared, not copied. Not thread-safe while written.
class NamedTensors {
 public:
  struct Entry {
    std::string name;
    at::Tensor tensor;
  };

  NamedTensors() = default;
  /// {{"logits", x}, {"energy", y}}
  NamedTensors(std::initializer_list<Entry> entries) : entries_(entries) {}

  /// Adds or replaces. A replaced tensor keeps its place.
  void set(std::string name, at::Tensor tensor);
  /// @throws ConfigError naming the missing tensor and those present.
  const at::Tensor& operator[](std::string_view name) const;
  /// nullptr if there is none.
  const at::Tensor* find(std::string_view name) const noexcept;
  bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }
  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  auto begin() const noexcept { return entries_.begin(); }
  auto end() const noexcept { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace bunchtrain
