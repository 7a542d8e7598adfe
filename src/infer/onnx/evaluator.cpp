// SPDX-License-Identifier: Apache-2.0
#include "evaluator.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "call.hpp"

namespace bunchtrain::infer::onnx {
namespace {

Shape broadcast(const Call& call) {
  Shape shape;
  for (const Array* input : call.inputs) {
    const Shape& other = input->shape;
    if (other.size() > shape.size()) shape.insert(shape.begin(), other.size() - shape.size(), 1);
    for (std::size_t i = 0; i < other.size(); ++i) {
      std::int64_t& size = shape[shape.size() - other.size() + i];
      call.expect(size == other[i] || size == 1 || other[i] == 1);
      size = size == 1 ? other[i] : size;
    }
  }
  return shape;
}

/// Where the value that belongs to `index` in `shape` is in an array that is broadcast to it.
std::int64_t place_in(const Array& array, const Shape& shape, std::int64_t index) {
  std::int64_t found = 0, stride = 1;
  for (std::size_t i = shape.size(), skipped = i - array.shape.size(); i-- > skipped;) {
    const std::int64_t size = array.shape[i - skipped];
    if (size != 1) found += index % shape[i] * stride;
    index /= shape[i];
    stride *= size;
  }
  return found;
}

/// Element by element, N inputs broadcast to one shape.
template <std::size_t N, auto apply>
Array each(const Call& call) {
  Array out{.shape = broadcast(call), .values = {}};
  const std::int64_t count = call.count(out.shape), row = out.shape.empty() ? 1 : out.shape.back();
  out.values.reserve(place(count));
  std::array<const double*, N> from;
  std::array<double, N> values;
  std::array<std::int64_t, N> step;
  for (std::size_t i = 0; i < N; ++i) step[i] = call[i].shape.empty() || call[i].shape.back() == 1 ? 0 : 1;
  for (std::int64_t begin = 0; begin < count; begin += row) {
    for (std::size_t i = 0; i < N; ++i) from[i] = call[i].values.data() + place_in(call[i], out.shape, begin);
    for (std::int64_t column = 0; column < row; ++column) {
      for (std::size_t i = 0; i < N; ++i) values[i] = from[i][column * step[i]];
      out.values.push_back(apply(values));
    }
  }
  return out;
}

/// [..., k] x [k, n].
Array multiply(const Call& call) {
  const Array &a = call[0], &b = call[1];
  call.expect(!a.shape.empty() && b.shape.size() == 2 && a.shape.back() == b.shape[0]);
  const std::int64_t inner = b.shape[0], columns = b.shape[1];
  Array out{.shape = a.shape, .values = {}};
  out.shape.back() = columns;
  out.values.resize(place(call.count(out.shape)));
  const std::int64_t rows = columns == 0 ? 0 : std::ssize(out.values) / columns;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t k = 0; k < inner; ++k) {
      const double factor = a.values[place(r * inner + k)];
      const double* from = b.values.data() + k * columns;
      double* to = out.values.data() + r * columns;
      for (std::int64_t c = 0; c < columns; ++c) to[c] += factor * from[c];
    }
  return out;
}

/// Sums along an axis, times `scale` of the number of terms.
Array sum_along(const Call& call, std::int64_t axis, bool mean) {
  const Array& array = call[0];
  axis = call.axis(axis, array.shape.size());
  const std::int64_t size = array.shape[place(axis)];
  const std::int64_t inner = call.count(Shape(array.shape.begin() + axis + 1, array.shape.end())),
                     outer = call.count(Shape(array.shape.begin(), array.shape.begin() + axis));
  Array out{.shape = array.shape, .values = {}};
  if (call.attribute("keepdims", 1) != 0)
    out.shape[place(axis)] = 1;
  else
    out.shape.erase(out.shape.begin() + axis);
  out.values.resize(place(call.count(out.shape)));
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t s = 0; s < size; ++s)
      for (std::int64_t i = 0; i < inner; ++i)
        out.values[place(o * inner + i)] += array.values[place((o * size + s) * inner + i)];
  if (mean)
    for (double& value : out.values) value /= static_cast<double>(size);
  return out;
}

Array reduce_sum(const Call& call) { return sum_along(call, call.integer(1), false); }

Array reduce_mean(const Call& call) {
  const auto found = call.node.attributes.find("axes");
  call.expect(found != call.node.attributes.end());
  const auto* axes = std::get_if<std::vector<std::int64_t>>(&found->second);
  call.expect(axes && axes->size() == 1);
  return sum_along(call, axes->front(), true);
}

/// Places of the k smallest along the last axis, ascending; of equal ones the first.
Array top_k(const Call& call) {
  const Array& keys = call[0];
  const std::int64_t k = call.integer(1), size = keys.shape.empty() ? 0 : keys.shape.back();
  call.expect(k >= 0 && k <= size && call.attribute("largest", 1) == 0 && call.attribute("axis", -1) == -1);
  Array out{.shape = keys.shape, .values = {}};
  out.shape.back() = k;
  std::vector<std::int64_t> order(place(size));
  for (std::int64_t row = 0; row < std::ssize(keys.values); row += size) {
    const double* key = keys.values.data() + row;
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [key](std::int64_t a, std::int64_t b) {
      return std::isnan(key[b]) ? !std::isnan(key[a]) : key[a] < key[b];
    });
    out.values.insert(out.values.end(), order.begin(), order.begin() + k);
  }
  return out;
}

/// data [B, P, C], indices [B, ..., 1] with batch_dims = 1: [B, ..., C].
Array gather_rows(const Call& call) {
  const Array &data = call[0], &indices = call[1];
  call.expect(call.attribute("batch_dims", 0) == 1 && data.shape.size() == 3 && indices.shape.size() >= 2 &&
              indices.shape.back() == 1 && indices.shape[0] == data.shape[0]);
  const std::int64_t points = data.shape[1], channels = data.shape[2];
  Array out{.shape = indices.shape, .values = {}};
  out.shape.back() = channels;
  out.values.reserve(place(call.count(out.shape)));
  const std::int64_t per_batch = std::ssize(indices.values) / std::max<std::int64_t>(data.shape[0], 1);
  for (std::int64_t i = 0; i < std::ssize(indices.values); ++i) {
    const double point = indices.values[place(i)];
    call.expect(point >= 0 && point < static_cast<double>(points));
    const auto from =
        data.values.begin() + (i / per_batch * points + static_cast<std::int64_t>(point)) * channels;
    out.values.insert(out.values.end(), from, from + channels);
  }
  return out;
}

/// data [N, ...], indices of any shape: [indices, ...].
Array gather(const Call& call) {
  const Array &data = call[0], &indices = call[1];
  call.expect(!data.shape.empty() && call.attribute("axis", 0) == 0);
  Array out{.shape = indices.shape, .values = {}};
  out.shape.insert(out.shape.end(), data.shape.begin() + 1, data.shape.end());
  out.values.reserve(place(call.count(out.shape)));
  const std::int64_t size = call.count(Shape(data.shape.begin() + 1, data.shape.end()));
  for (const double index : indices.values) {
    call.expect(index >= 0 && index < static_cast<double>(data.shape[0]));
    const auto from = data.values.begin() + static_cast<std::int64_t>(index) * size;
    out.values.insert(out.values.end(), from, from + size);
  }
  return out;
}

/// Along the last axis.
Array concatenate(const Call& call) {
  const Shape& first = call[0].shape;
  call.expect(!first.empty() && call.axis(call.attribute("axis", 0), first.size()) + 1 == std::ssize(first));
  Array out{.shape = first, .values = {}};
  out.shape.back() = 0;
  for (const Array* input : call.inputs) {
    call.expect(input->shape.size() == first.size() &&
                std::equal(first.begin(), first.end() - 1, input->shape.begin()));
    out.shape.back() += input->shape.back();
  }
  out.values.reserve(place(call.count(out.shape)));
  const std::int64_t rows = call.count(Shape(first.begin(), first.end() - 1));
  for (std::int64_t row = 0; row < rows; ++row)
    for (const Array* input : call.inputs) {
      const auto from = input->values.begin() + row * input->shape.back();
      out.values.insert(out.values.end(), from, from + input->shape.back());
    }
  return out;
}

/// Axes in ascending order.
Array unsqueeze(const Call& call) {
  Array out = call[0];
  for (const std::int64_t axis : call.integers(1))
    out.shape.insert(out.shape.begin() + call.axis(axis, out.shape.size() + 1), 1);
  return out;
}

/// Whole numbers from one to below another.
Array range(const Call& call) {
  const std::int64_t begin = call.integer(0), end = call.integer(1);
  call.expect(call.integer(2) == 1);
  Array out;
  for (std::int64_t value = begin; value < end; ++value) out.values.push_back(static_cast<double>(value));
  out.shape = {std::ssize(out.values)};
  return out;
}

Array shape_of(const Call& call) {
  return {.shape = {std::ssize(call[0].shape)}, .values = {call[0].shape.begin(), call[0].shape.end()}};
}

/// Along the last axis.
Array softmax(const Call& call) {
  Array out = call[0];
  call.expect(!out.shape.empty() && call.attribute("axis", -1) == -1);
  const std::int64_t size = out.shape.back();
  for (std::int64_t begin = 0; begin < std::ssize(out.values); begin += size) {
    const auto row = out.values.begin() + begin;
    const double highest = *std::max_element(row, row + size);
    double sum = 0;
    for (auto value = row; value != row + size; ++value) sum += * value = std::exp(*value - highest);
    for (auto value = row; value != row + size; ++value) *value /= sum;
  }
  return out;
}

struct Operator {
  std::size_t inputs;  ///< at least
  Array (*run)(const Call&);
};

const std::map<std::string_view, Operator>& operators() {
  static const std::map<std::string_view, Operator> all = {
      {"Abs", {1, each<1, [](const auto& a) { return std::abs(a[0]); }>}},
      {"Add", {2, each<2, [](const auto& a) { return a[0] + a[1]; }>}},
      {"And", {2, each<2, [](const auto& a) { return a[0] != 0 && a[1] != 0 ? 1.0 : 0.0; }>}},
      {"Asinh", {1, each<1, [](const auto& a) { return std::asinh(a[0]); }>}},
      {"Atan", {1, each<1, [](const auto& a) { return std::atan(a[0]); }>}},
      {"Cast", {1, each<1, [](const auto& a) { return a[0]; }>}},
      {"Concat", {1, concatenate}},
      {"Conv", {2, convolve}},
      {"Cos", {1, each<1, [](const auto& a) { return std::cos(a[0]); }>}},
      {"Cosh", {1, each<1, [](const auto& a) { return std::cosh(a[0]); }>}},
      {"Div", {2, each<2, [](const auto& a) { return a[0] / a[1]; }>}},
      {"Equal", {2, each<2, [](const auto& a) { return a[0] == a[1] ? 1.0 : 0.0; }>}},
      {"Exp", {1, each<1, [](const auto& a) { return std::exp(a[0]); }>}},
      {"Gather", {2, gather}},
      {"GatherND", {2, gather_rows}},
      {"Greater", {2, each<2, [](const auto& a) { return a[1] < a[0] ? 1.0 : 0.0; }>}},
      {"GreaterOrEqual", {2, each<2, [](const auto& a) { return a[1] <= a[0] ? 1.0 : 0.0; }>}},
      {"IsInf", {1, each<1, [](const auto& a) { return std::isinf(a[0]) ? 1.0 : 0.0; }>}},
      {"IsNaN", {1, each<1, [](const auto& a) { return std::isnan(a[0]) ? 1.0 : 0.0; }>}},
      {"LeakyRelu", {1, leaky_relu}},
      {"Less", {2, each<2, [](const auto& a) { return a[0] < a[1] ? 1.0 : 0.0; }>}},
      {"LessOrEqual", {2, each<2, [](const auto& a) { return a[0] <= a[1] ? 1.0 : 0.0; }>}},
      {"Log", {1, each<1, [](const auto& a) { return std::log(a[0]); }>}},
      {"MatMul", {2, multiply}},
      {"Max", {2, each<2, [](const auto& a) { return std::max(a[0], a[1]); }>}},
      {"Min", {2, each<2, [](const auto& a) { return std::min(a[0], a[1]); }>}},
      {"Mul", {2, each<2, [](const auto& a) { return a[0] * a[1]; }>}},
      {"Neg", {1, each<1, [](const auto& a) { return -a[0]; }>}},
      {"Not", {1, each<1, [](const auto& a) { return a[0] == 0 ? 1.0 : 0.0; }>}},
      {"Or", {2, each<2, [](const auto& a) { return a[0] != 0 || a[1] != 0 ? 1.0 : 0.0; }>}},
      {"Range", {3, range}},
      {"ReduceMean", {1, reduce_mean}},
      {"ReduceSum", {2, reduce_sum}},
      {"Relu", {1, each<1, [](const auto& a) { return std::max(a[0], 0.0); }>}},
      {"Reshape", {2, reshape}},
      {"Round", {1, each<1, [](const auto& a) { return std::nearbyint(a[0]); }>}},
      {"Shape", {1, shape_of}},
      {"Sin", {1, each<1, [](const auto& a) { return std::sin(a[0]); }>}},
      {"Sinh", {1, each<1, [](const auto& a) { return std::sinh(a[0]); }>}},
      {"Slice", {4, slice}},
      {"Softmax", {1, softmax}},
      {"Sqrt", {1, each<1, [](const auto& a) { return std::sqrt(a[0]); }>}},
      {"Sub", {2, each<2, [](const auto& a) { return a[0] - a[1]; }>}},
      {"Tanh", {1, each<1, [](const auto& a) { return std::tanh(a[0]); }>}},
      {"TopK", {2, top_k}},
      {"Transpose", {1, transpose}},
      {"Unsqueeze", {2, unsqueeze}},
      {"Where", {3, each<3, [](const auto& a) { return a[0] != 0 ? a[1] : a[2]; }>}},
  };
  return all;
}

Array run_node(const Node& node, const Inputs& inputs) {
  const auto found = operators().find(node.type);
  if (found == operators().end())
    throw DataError(fmt::format("{} is an operator that we do not know", node.type));
  const Call call{node, inputs};
  call.expect(inputs.size() >= found->second.inputs && !node.outputs.empty());
  Array result = found->second.run(call);
  for (double& value : result.values) value = static_cast<double>(static_cast<float>(value));
  return result;
}

Array array_of(const Constant& constant) {
  Array array{.shape = constant.shape, .values = {}};
  std::visit([&](const auto& values) { array.values.assign(values.begin(), values.end()); }, constant.values);
  return array;
}

}  // namespace

std::map<std::string, Array> evaluate(const Graph& graph, std::map<std::string, Array> inputs) {
  std::map<std::string, Array> known = std::move(inputs);
  for (const Constant& constant : graph.constants) known[constant.name] = array_of(constant);
  for (const Node& node : graph.nodes) {
    Inputs arguments;
    for (const std::string& name : node.inputs) {
      const auto found = known.find(name);
      if (found == known.end())
        throw DataError(fmt::format("{} reads '{}', which nothing gives", node.type, name));
      arguments.push_back(&found->second);
    }
    known[node.outputs.empty() ? "" : node.outputs.back()] = run_node(node, arguments);
  }
  std::map<std::string, Array> outputs;
  for (const Value& output : graph.outputs) {
    const auto found = known.find(output.name);
    if (found == known.end()) throw DataError(fmt::format("nothing gives the output '{}'", output.name));
    outputs[output.name] = found->second;
  }
  return outputs;
}

}  // namespace bunchtrain::infer::onnx
