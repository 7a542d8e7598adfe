// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an operator of the evaluator is given, and those of images.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluator.hpp"

namespace bunchtrain::infer::onnx {

using Shape = std::vector<std::int64_t>;
using Inputs = std::vector<const Array*>;

inline constexpr std::int64_t kMostValues = std::int64_t{1} << 28;

/// What an operator is given.
struct Call {
  const Node& node;
  const Inputs& inputs;

  /// @throws DataError naming the operator and the shapes.
  [[noreturn]] void refuse() const;
  void expect(bool fits) const {
    if (!fits) refuse();
  }
  const Array& operator[](std::size_t i) const { return *inputs[i]; }

  /// Values of an array of this shape.
  std::int64_t count(const Shape& shape) const {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) {
      expect(size >= 0 && (size == 0 || count <= kMostValues / size));
      count *= size;
    }
    return count;
  }
  std::int64_t axis(std::int64_t axis, std::size_t rank) const {
    if (axis < 0) axis += static_cast<std::int64_t>(rank);
    expect(axis >= 0 && axis < static_cast<std::int64_t>(rank));
    return axis;
  }
  /// The one whole number that an input holds.
  std::int64_t integer(std::size_t input) const {
    expect(inputs[input]->values.size() == 1 && std::abs(inputs[input]->values[0]) <= kMostValues);
    return static_cast<std::int64_t>(inputs[input]->values[0]);
  }
  /// The whole numbers that an input holds.
  std::vector<std::int64_t> integers(std::size_t input) const {
    expect(inputs[input]->shape.size() == 1);
    std::vector<std::int64_t> found;
    for (const double value : inputs[input]->values) {
      expect(std::abs(value) <= kMostValues);
      found.push_back(static_cast<std::int64_t>(value));
    }
    return found;
  }
  /// @throws DataError unless there are `count` of them.
  const std::vector<std::int64_t>& attributes(const std::string& name, std::size_t count) const {
    const auto found = node.attributes.find(name);
    expect(found != node.attributes.end());
    const auto* values = std::get_if<std::vector<std::int64_t>>(&found->second);
    expect(values && values->size() == count);
    return *values;
  }
  std::int64_t attribute(const std::string& name, std::int64_t otherwise) const {
    const auto found = node.attributes.find(name);
    if (found == node.attributes.end()) return otherwise;
    const auto* value = std::get_if<std::int64_t>(&found->second);
    expect(value != nullptr);
    return *value;
  }
};

inline std::size_t place(std::int64_t index) { return static_cast<std::size_t>(index); }

/// [B, in, X, Y, Z] and [out, in, kernel]: stride 1, any zeros around.
Array convolve(const Call& call);
Array leaky_relu(const Call& call);
Array reshape(const Call& call);
/// From starts to ends of some axes.
Array slice(const Call& call);
Array transpose(const Call& call);

}  // namespace bunchtrain::infer::onnx
