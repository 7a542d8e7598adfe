// SPDX-License-Identifier: Apache-2.0
#include "step_ledger.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::parallel {

namespace {

// Footer: [0] samples, then digits of a fingerprint and their squares. If the digits agree on all ranks, the
// variance of each is zero: a criterion that every rank computes from the same sums. Digits of 4 bits keep
// the sums exact in float32.
constexpr std::size_t kDigits = 4;
constexpr int kDigitBits = 4;
constexpr std::size_t kSums = 1;
constexpr std::size_t kSquares = kSums + kDigits;
constexpr std::size_t kUsed = kSquares + kDigits;
static_assert(static_cast<std::int64_t>(kUsed) <= tensor::ParameterArena::kFooterElements);

std::uint64_t fingerprint(const tensor::ParameterArenas& arenas, std::int64_t global_samples) {
  std::uint64_t result = mix64(0, static_cast<std::uint64_t>(global_samples));
  for (const auto& arena : arenas) {
    for (const auto& segment : arena.segments()) result = mix64(result, segment.requires_grad ? 1 : 0);
  }
  return result;
}

/// Page-locked for a GPU, and of the footer's type, so that the copy needs nothing but itself.
template <class T>
at::Tensor host_like(const at::Tensor& footer, const std::array<double, kUsed>& values) {
  at::Tensor host = at::empty({static_cast<std::int64_t>(kUsed)},
                              at::TensorOptions().dtype(footer.dtype()).pinned_memory(footer.is_cuda()));
  for (std::size_t i = 0; i < values.size(); ++i) host.mutable_data_ptr<T>()[i] = static_cast<T>(values[i]);
  return host;
}

double digit(std::uint64_t word, std::size_t index) {
  return static_cast<double>((word >> (index * kDigitBits)) & ((1U << kDigitBits) - 1));
}

}  // namespace

void StepLedger::add(const PassOptions& options) {
  expects(options.samples >= 0,
          fmt::format("samples = {} of a pass; a count is not negative", options.samples));
  expects(options.global_samples >= 0,
          fmt::format("global_samples = {}; a count is not negative", options.global_samples));
  const bool one_pass = options.zero_first && options.last;
  expects(one_pass || options.global_samples > 0,
          "a step of several passes needs global_samples: the samples of all its passes on all ranks");
  expects(options.global_samples > 0 || options.samples > 0, "a pass without samples needs global_samples");
  const std::int64_t global = options.global_samples > 0 ? options.global_samples : options.samples * world_;
  if (options.zero_first) {
    samples_ = 0;
    global_samples_ = global;
  }
  expects(
      global == global_samples_,
      fmt::format("global_samples = {} in this pass, {} in the first of the step", global, global_samples_));
  samples_ += options.samples;
  root_gradient_ = static_cast<double>(options.samples) / static_cast<double>(global);
}

void StepLedger::write_footer(const tensor::ParameterArenas& arenas, const at::Tensor& footer) const {
  const std::uint64_t word = fingerprint(arenas, global_samples_);
  std::array<double, kUsed> values{};
  values[0] = static_cast<double>(samples_);
  for (std::size_t i = 0; i < kDigits; ++i) {
    values[kSums + i] = digit(word, i);
    values[kSquares + i] = digit(word, i) * digit(word, i);
  }
  const at::Tensor host = footer.scalar_type() == at::kDouble ? host_like<double>(footer, values)
                                                              : host_like<float>(footer, values);
  footer.narrow(0, 0, static_cast<std::int64_t>(kUsed)).copy_(host, /*non_blocking=*/true);
}

void StepLedger::take_footer(const at::Tensor& footer) {
  taken_ = Taken{device::LateCopy(footer.narrow(0, 0, static_cast<std::int64_t>(kUsed))), global_samples_};
}

void StepLedger::check_footer() {
  if (!taken_) return;
  const Taken taken = *std::exchange(taken_, std::nullopt);
  const std::span<const double> sums = taken.sums.values();
  for (std::size_t i = 0; i < kDigits; ++i) {
    const double variance = world_ * sums[kSquares + i] - sums[kSums + i] * sums[kSums + i];
    expects(variance == 0,
            "the ranks disagree about this step: global_samples and the set of frozen parameters must be the "
            "same on all (without global_samples, also samples)");
  }
  // float32 counts exactly up to 2^24 samples per step
  const double global = static_cast<double>(taken.global_samples);
  expects(std::abs(sums[0] - global) <= 1e-6 * global,
          fmt::format("the samples of all ranks and passes add up to {:.0f}, global_samples says {}", sums[0],
                      taken.global_samples));
}

}  // namespace bunchtrain::parallel
