// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "bunchtrain/core/error.hpp"
#include "call.hpp"

namespace bunchtrain::infer::onnx {
namespace {

using Extent = std::array<std::int64_t, 3>;

Extent last_three(const Shape& shape) {
  return {shape[shape.size() - 3], shape[shape.size() - 2], shape[shape.size() - 1]};
}

/// Strides of dense arrays.
Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

/// Adds a tap of the kernel to an image: what it meets outside of the input is zero.
void add_tap(const double* from, const Extent& cells, const Extent& offset, double weight, double* to,
             const Extent& made) {
  std::array<std::int64_t, 3> begin, end;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    begin[axis] = std::max<std::int64_t>(0, -offset[axis]);
    end[axis] = std::min(made[axis], cells[axis] - offset[axis]);
  }
  for (std::int64_t x = begin[0]; x < end[0]; ++x)
    for (std::int64_t y = begin[1]; y < end[1]; ++y) {
      const double* row = from + ((x + offset[0]) * cells[1] + y + offset[1]) * cells[2] + offset[2];
      double* target = to + (x * made[1] + y) * made[2];
      for (std::int64_t z = begin[2]; z < end[2]; ++z) target[z] += weight * row[z];
    }
}

}  // namespace

void Call::refuse() const {
  std::string shapes;
  for (const Array* input : inputs) shapes += fmt::format(" [{}]", fmt::join(input->shape, ", "));
  throw DataError(fmt::format("{} does not take{}", node.type, shapes));
}

Array convolve(const Call& call) {
  const Array &x = call[0], &weight = call[1];
  call.expect(x.shape.size() == 5 && weight.shape.size() == 5 && x.shape[1] == weight.shape[1] &&
              call.attribute("group", 1) == 1);
  const Shape& pads = call.attributes("pads", 6);
  const Extent cells = last_three(x.shape), kernel = last_three(weight.shape);
  const std::int64_t batch = x.shape[0], in = x.shape[1], out = weight.shape[0];
  Array image{.shape = {batch, out}, .values = {}};
  Extent made;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    call.expect(pads[axis] >= 0 && pads[axis] <= kMostValues && pads[axis + 3] >= 0 &&
                pads[axis + 3] <= kMostValues);
    made[axis] = cells[axis] + pads[axis] + pads[axis + 3] - kernel[axis] + 1;
    call.expect(made[axis] >= 0 && kernel[axis] > 0);
    image.shape.push_back(made[axis]);
  }
  image.values.resize(place(call.count(image.shape)));
  const std::int64_t size = made[0] * made[1] * made[2], cell_count = cells[0] * cells[1] * cells[2],
                     taps = kernel[0] * kernel[1] * kernel[2];
  if (x.values.empty()) return image;
  if (call.inputs.size() > 2) {
    call.expect(call[2].shape == Shape{out});
    for (std::int64_t i = 0; i < batch * out; ++i)
      std::fill_n(image.values.begin() + i * size, size, call[2].values[place(i % out)]);
  }
  for (std::int64_t i = 0; i < batch * out * in * taps; ++i) {
    const std::int64_t tap = i % taps, from = i / taps % in, to = i / taps / in % out,
                       b = i / taps / in / out;
    const Extent offset = {tap / kernel[2] / kernel[1] - pads[0], tap / kernel[2] % kernel[1] - pads[1],
                           tap % kernel[2] - pads[2]};
    const double factor = weight.values[place((to * in + from) * taps + tap)];
    if (factor != 0)
      add_tap(x.values.data() + (b * in + from) * cell_count, cells, offset, factor,
              image.values.data() + (b * out + to) * size, made);
  }
  return image;
}

Array leaky_relu(const Call& call) {
  const auto found = call.node.attributes.find("alpha");
  call.expect(found != call.node.attributes.end());
  const auto* slope = std::get_if<float>(&found->second);
  call.expect(slope != nullptr);
  Array out = call[0];
  for (double& value : out.values)
    if (value < 0) value *= *slope;
  return out;
}

/// 0 keeps an extent, -1 is what is left.
Array reshape(const Call& call) {
  Array out{.shape = call.integers(1), .values = call[0].values};
  std::int64_t* rest = nullptr;
  for (std::size_t i = 0; i < out.shape.size(); ++i) {
    if (out.shape[i] == 0) {
      call.expect(i < call[0].shape.size());
      out.shape[i] = call[0].shape[i];
    } else if (out.shape[i] == -1) {
      call.expect(!rest);
      rest = &out.shape[i];
      *rest = 1;
    }
  }
  if (const std::int64_t known = call.count(out.shape); rest && known > 0)
    *rest = std::ssize(out.values) / known;
  call.expect(call.count(out.shape) == std::ssize(out.values));
  return out;
}

Array slice(const Call& call) {
  const Shape starts = call.integers(1), ends = call.integers(2), axes = call.integers(3);
  call.expect(starts.size() == ends.size() && starts.size() == axes.size());
  Array out = call[0];
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::int64_t axis = call.axis(axes[i], out.shape.size()), size = out.shape[place(axis)];
    call.expect(starts[i] >= 0 && starts[i] <= ends[i] && ends[i] <= size);
    const std::int64_t inner = call.count(Shape(out.shape.begin() + axis + 1, out.shape.end())),
                       outer = call.count(Shape(out.shape.begin(), out.shape.begin() + axis));
    std::vector<double> kept;
    for (std::int64_t o = 0; o < outer; ++o) {
      const auto begin = out.values.begin() + (o * size + starts[i]) * inner;
      kept.insert(kept.end(), begin, begin + (ends[i] - starts[i]) * inner);
    }
    out.values = std::move(kept);
    out.shape[place(axis)] = ends[i] - starts[i];
  }
  return out;
}

Array transpose(const Call& call) {
  const Array& x = call[0];
  const Shape& order = call.attributes("perm", x.shape.size());
  const Shape strides = strides_of(x.shape);
  Array out;
  Shape steps;
  std::vector<bool> taken(order.size(), false);
  for (const std::int64_t axis : order) {
    const auto from = place(call.axis(axis, order.size()));
    call.expect(!taken[from]);
    taken[from] = true;
    out.shape.push_back(x.shape[from]);
    steps.push_back(strides[from]);
  }
  out.values.reserve(x.values.size());
  for (std::int64_t i = 0; i < std::ssize(x.values); ++i) {
    std::int64_t rest = i, from = 0;
    for (std::size_t axis = order.size(); axis-- > 0; rest /= out.shape[axis])
      from += rest % out.shape[axis] * steps[axis];
    out.values.push_back(x.values[place(from)]);
  }
  return out;
}

}  // namespace bunchtrain::infer::onnx
