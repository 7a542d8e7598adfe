// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The complete state of one object (model, optimizer, schedule, loader): tensors plus
/// small text values, by name.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/tensor/slice.hpp"

namespace bunchtrain {

/// Tensors and scalars that together restore an object. Numbers are stored as text that reads back to the
/// same bits. Not thread-safe while written.
class StateDict {
 public:
  NamedTensors tensors;
  std::map<std::string, std::string, std::less<>> values;
  /// Of which whole a tensor is a part, for tensors that are spread over ranks; those not named here are whole.
  std::map<std::string, tensor::Slice, std::less<>> slices;

  void set(std::string name, std::int64_t value);
  void set(std::string name, int value) { set(std::move(name), std::int64_t{value}); }
  void set(std::string name, double value);
  void set(std::string name, std::string value);
  /// This rank's part of a tensor. @throws ConfigError if `part` has not the sizes that the slice says.
  void set_slice(std::string name, at::Tensor part, tensor::Slice slice);
  /// Of a tensor that is here.
  tensor::Slice slice_of(std::string_view name) const;
  /// @throws CheckpointError naming the key if it is absent or does not read as the type.
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;

  /// Adds all entries of `other` under "prefix.".
  void merge(std::string_view prefix, const StateDict& other);
  /// The entries under "prefix.", the prefix stripped.
  StateDict child(std::string_view prefix) const;
};

}  // namespace bunchtrain
