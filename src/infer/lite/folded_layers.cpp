// SPDX-License-Identifier: Apache-2.0
#include "folded_layers.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::infer::detail {

WeightReader::WeightReader(const std::filesystem::path& path) : path_(path.string()), file_(path) {}

std::vector<float> WeightReader::take(const std::string& name, std::vector<std::int64_t> shape) {
  const weights::TensorEntry* entry = file_.find(name);
  if (!entry) refuse(fmt::format("it holds no {}", name));
  std::vector<std::int64_t> found = entry->shape;
  while (found.size() > shape.size() && found.back() == 1) found.pop_back();
  if (found != shape)
    refuse(fmt::format("{} is [{}] there, [{}] here", name, fmt::join(entry->shape, ", "),
                       fmt::join(shape, ", ")));
  if (entry->dtype != weights::Dtype::f32)
    throw CheckpointError(fmt::format("{}: {} is {}, the fast engine computes with F32: take the plain one",
                                      path_, name, weights::to_string(entry->dtype)));
  std::vector<float> values(entry->size() / sizeof(float));
  file_.read(*entry, std::as_writable_bytes(std::span(values)));
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
    throw CheckpointError(fmt::format("{}: {} holds NaN or infinity", path_, name));
  taken_.insert(name);
  return values;
}

void WeightReader::require_all_taken() const {
  for (const weights::TensorEntry& entry : file_.entries())
    if (!taken_.contains(entry.name) && !entry.name.ends_with("num_batches_tracked"))
      refuse(fmt::format("it holds {}, which this network does not have", entry.name));
}

void WeightReader::refuse(const std::string& what) const {
  throw CheckpointError(fmt::format("{} belongs to another model: {}", path_, what));
}

FoldedNorm read_norm(WeightReader& reader, const std::string& name, std::int64_t channels, double epsilon) {
  const auto weight = reader.take(name + ".weight", {channels}),
             bias = reader.take(name + ".bias", {channels});
  const auto mean = reader.take(name + ".running_mean", {channels}),
             variance = reader.take(name + ".running_var", {channels});
  FoldedNorm norm;
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double scale = weight[c] / std::sqrt(static_cast<double>(variance[c]) + epsilon);
    norm.scale.push_back(static_cast<float>(scale));
    norm.shift.push_back(static_cast<float>(bias[c] - scale * mean[c]));
  }
  return norm;
}

FoldedLinear transposed(const std::vector<float>& weight, std::int64_t in, std::int64_t out) {
  FoldedLinear linear{.weight = std::vector<float>(weight.size()), .bias = {}, .in = in, .out = out};
  linear.bias.assign(static_cast<std::size_t>(out), 0.0F);
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i)
      linear.weight[static_cast<std::size_t>(i * out + o)] = weight[static_cast<std::size_t>(o * in + i)];
  return linear;
}

FoldedLinear read_linear(WeightReader& reader, const std::string& name, std::int64_t in, std::int64_t out) {
  FoldedLinear linear = transposed(reader.take(name + ".weight", {out, in}), in, out);
  linear.bias = reader.take(name + ".bias", {out});
  return linear;
}

}  // namespace bunchtrain::infer::detail
