// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/dropout.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "dropout/cpu/dropout_kernel.hpp"
#include "dropout_cuda.hpp"
#include "held_state.hpp"
#include "random/stream_of.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Keeps dropout's numbers apart from those of other uses of the same seed.
constexpr std::uint64_t kDropoutStream = 0x64726f706f7574;  // "dropout"
constexpr std::int64_t kChunk = 128 * detail::kDropoutBlock;

/// What one call drops: a key for each row, and the probability in steps. Drawn again by the backward pass
/// instead of kept.
struct Choice {
  at::Tensor keys;           ///< [B] int64 on the device of the elements
  std::int64_t first_block;  ///< of a row
  std::uint32_t threshold;

  double scale() const { return detail::kDropoutSteps / double(detail::kDropoutSteps - threshold); }
};

template <class S>
void drop_rows(const at::Tensor& x, const at::Tensor& y, const Choice& choice) {
  const std::int64_t rows = choice.keys.numel(), elements = x.numel() / rows;
  const std::int64_t chunks = (elements + kChunk - 1) / kChunk;
  const auto* from = static_cast<const S*>(x.const_data_ptr());
  auto* to = static_cast<S*>(y.mutable_data_ptr());
  const auto* keys = choice.keys.const_data_ptr<std::int64_t>();
  const auto scale = static_cast<detail::Real<S>>(choice.scale());
  at::parallel_for(0, rows * chunks, 1 + kChunk / (1 + elements), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i / chunks, first = i % chunks * kChunk, place = row * elements + first;
      detail::drop(from + place, to + place, choice.first_block * detail::kDropoutBlock + first,
                   std::min(kChunk, elements - first), static_cast<std::uint64_t>(keys[row]),
                   choice.threshold, scale);
    }
  });
}

bool has_kernel(c10::DeviceType device, at::ScalarType type) {
  const bool everywhere = type == at::kFloat || type == at::kDouble || type == at::kBFloat16;
  return everywhere || (device == at::kCUDA && type == at::kHalf);
}

/// Elements kept and scaled, or zero. Types without a kernel multiply by factors drawn in float32.
at::Tensor drop(const at::Tensor& input, const Choice& choice) {
  const at::ScalarType type = input.scalar_type();
  if (!has_kernel(input.device().type(), type)) {
    const at::Tensor ones = at::ones(input.sizes(), input.options().dtype(at::kFloat));
    return input.mul(drop(ones, choice).to(type));
  }
  const at::Tensor x = input.contiguous();
  if (x.is_cuda())
    return detail::drop_rows_cuda(x, choice.keys, choice.first_block, choice.threshold, choice.scale());
  const at::Tensor y = at::empty_like(x);
  if (type == at::kFloat) drop_rows<float>(x, y, choice);
  if (type == at::kDouble) drop_rows<double>(x, y, choice);
  if (type == at::kBFloat16) drop_rows<Bf16>(x, y, choice);
  return y;
}

/// Linear: the gradient is dropped as the input was, to any order.
class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const Choice& choice) {
    detail::hold_state(context, std::make_shared<Choice>(choice));
    return drop(input, choice);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {apply(gradients[0], detail::held_state<Choice>(context)), {}};
  }
};

void check_arguments(const at::Tensor& x, const at::Tensor& row_keys, double probability) {
  if (!(probability >= 0 && probability < 1))
    throw ConfigError("probability of dropout", fmt::to_string(probability), "at least 0 and below 1");
  if (!x.defined() || x.dim() == 0 || !x.is_floating_point())
    throw ConfigError("x of dropout", detail::tensor_text(x), "floating-point [B, ...]");
  const bool fits = row_keys.defined() && row_keys.numel() == x.size(0) &&
                    row_keys.scalar_type() == at::kLong && row_keys.device() == x.device();
  if (!fits)
    throw ConfigError(
        "row keys of dropout", detail::tensor_text(row_keys),
        fmt::format("[{}] int64 on {}, as dropout_keys gives them", x.size(0), x.device().str()));
}

}  // namespace

at::Tensor dropout_keys(const RandomKey& key, const at::Tensor& sample_ids, c10::Device device) {
  const at::Tensor ids = sample_ids.to(device, at::kLong, /*non_blocking=*/device.is_cuda()).contiguous();
  const detail::KeyedStream stream = detail::stream_of(kDropoutStream, key, device);
  if (device.is_cuda()) return detail::row_keys_cuda(ids, stream);
  const CounterRandom random = detail::random_of(stream);
  at::Tensor keys = at::empty_like(ids);
  auto* row_key = keys.mutable_data_ptr<std::int64_t>();
  const auto* id = ids.const_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < ids.numel(); ++row)
    row_key[row] = static_cast<std::int64_t>(random.bits(static_cast<std::uint64_t>(id[row])));
  return keys;
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& row_keys, double probability,
                   std::int64_t first_element) {
  check_arguments(x, row_keys, probability);
  expects(first_element >= 0, "dropout: an element's number is not negative");
  if (x.numel() == 0) return x;
  // One element in 65536 must stay for the others to be scaled by.
  const auto threshold = static_cast<std::uint32_t>(
      std::min(std::round(probability * detail::kDropoutSteps), detail::kDropoutSteps - 1.0));
  const Choice choice{row_keys.contiguous(), first_element / detail::kDropoutBlock, threshold};
  const std::int64_t within = first_element % detail::kDropoutBlock;
  if (within == 0) return DropoutFunction::apply(x, choice);
  // Rows begin in the middle of a block: what comes before them there is put in front.
  const at::Tensor rows = x.reshape({x.size(0), -1});
  return DropoutFunction::apply(at::constant_pad_nd(rows, {within, 0}), choice)
      .narrow(1, within, rows.size(1))
      .reshape(x.sizes());
}

}  // namespace bunchtrain::ops
