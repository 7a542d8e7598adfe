// SPDX-License-Identifier: Apache-2.0
#include "step_ledger.hpp"

#include <ATen/ops/empty_like.h>
#include <fmt/format.h>

#include <cmath>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::parallel {

namespace {

constexpr int kDigitBits = 4;

std::uint64_t fingerprint(const tensor::ParameterArenas& arenas, std::int64_t global_samples) {
  std::uint64_t result = mix64(0, static_cast<std::uint64_t>(global_samples));
  for (const auto& arena : arenas) {
    for (const auto& segment : arena.segments()) result = mix64(result, segment.requires_grad ? 1 : 0);
  }
  return result;
}

double digit(std::uint64_t word, std::size_t index) {
  return static_cast<double>((word >> (index * kDigitBits)) & ((1U << kDigitBits) - 1));
}

}  // namespace

StepLedger::StepLedger(int world, c10::Device device, int sharers)
    : world_(world),
      sharers_(sharers),
      scalars_(device),
      root_in_memory_(scalars_.add<double>()),
      footer_in_memory_(scalars_.add<Footer>()) {
  static_assert(static_cast<std::int64_t>(kUsed) <= tensor::ParameterArena::kFooterElements);
}

StepLedger::Footer StepLedger::footer_of(const tensor::ParameterArenas& arenas) const {
  const std::uint64_t word = fingerprint(arenas, global_samples_);
  Footer values{};
  values[0] = static_cast<double>(samples_);
  for (std::size_t i = 0; i < kDigits; ++i) {
    values[kSums + i] = digit(word, i);
    values[kSquares + i] = digit(word, i) * digit(word, i);
  }
  return values;
}

at::Tensor StepLedger::root_gradient_like(const at::Tensor& loss) const {
  return at::empty_like(loss).copy_(scalars_.view(root_in_memory_, at::kDouble).squeeze(0).expand_as(loss));
}

void StepLedger::write_footer(const at::Tensor& footer) const {
  footer.narrow(0, 0, static_cast<std::int64_t>(kUsed)).copy_(scalars_.view(footer_in_memory_, at::kDouble));
}

void StepLedger::add(const PassOptions& options) {
  expects(options.samples >= 0,
          fmt::format("samples = {} of a pass; a count is not negative", options.samples));
  expects(options.global_samples >= 0,
          fmt::format("global_samples = {}; a count is not negative", options.global_samples));
  const bool one_pass = options.zero_first && options.last;
  expects(one_pass || options.global_samples > 0,
          "a step of several passes needs global_samples: the samples of all its passes on all ranks");
  expects(options.global_samples > 0 || options.samples > 0, "a pass without samples needs global_samples");
  const std::int64_t global =
      options.global_samples > 0 ? options.global_samples : options.samples * world_ / sharers_;
  if (options.zero_first) {
    samples_ = 0;
    global_samples_ = global;
  }
  expects(
      global == global_samples_,
      fmt::format("global_samples = {} in this pass, {} in the first of the step", global, global_samples_));
  samples_ += options.samples;
  root_gradient_ = static_cast<double>(options.samples) / (static_cast<double>(global) * sharers_);
}

void StepLedger::upload(const tensor::ParameterArenas& arenas) {
  scalars_.set(root_in_memory_, root_gradient_);
  if (world_ > 1) scalars_.set(footer_in_memory_, footer_of(arenas));
  scalars_.upload();
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
  const double global = static_cast<double>(taken.global_samples), counted = sums[0] / sharers_;
  expects(std::abs(counted - global) <= 1e-6 * global,
          fmt::format("the samples of all ranks and passes add up to {:.0f}, global_samples says {}", counted,
                      taken.global_samples));
}

}  // namespace bunchtrain::parallel
