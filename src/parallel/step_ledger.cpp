// SPDX-License-Identifier: Apache-2.0
#include "step_ledger.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::parallel {

namespace {

// Footer: [0] samples, then digits of a fingerprint and their squares. If the digits agree on all ranks, the
// variance of each is zero: a criterion that every rank computes from the same sums. Digits of 4 bits keep
// the sums exact in float32.
constexpr int kDigits = 4;
constexpr int kDigitBits = 4;
constexpr int kSums = 1;
constexpr int kSquares = kSums + kDigits;
constexpr int kUsed = kSquares + kDigits;
static_assert(kUsed <= device::ParameterArena::kFooterElements);

std::uint64_t fingerprint(const device::ParameterArenas& arenas, std::int64_t global_samples) {
  std::uint64_t result = mix64(0, static_cast<std::uint64_t>(global_samples));
  for (const auto& arena : arenas) {
    for (const auto& segment : arena.segments()) result = mix64(result, segment.requires_grad ? 1 : 0);
  }
  return result;
}

double digit(std::uint64_t word, int index) {
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

void StepLedger::write_footer(const device::ParameterArenas& arenas, const at::Tensor& footer) const {
  const std::uint64_t word = fingerprint(arenas, global_samples_);
  const at::Tensor host = at::empty({kUsed}, at::kDouble);
  double* const values = host.mutable_data_ptr<double>();
  values[0] = static_cast<double>(samples_);
  for (int i = 0; i < kDigits; ++i) {
    values[kSums + i] = digit(word, i);
    values[kSquares + i] = digit(word, i) * digit(word, i);
  }
  footer.narrow(0, 0, kUsed).copy_(host);
}

void StepLedger::check_footer(const at::Tensor& footer) const {
  const at::Tensor host = footer.narrow(0, 0, kUsed).to(at::kCPU, at::kDouble);
  const double* const sums = host.const_data_ptr<double>();
  for (int i = 0; i < kDigits; ++i) {
    const double variance = world_ * sums[kSquares + i] - sums[kSums + i] * sums[kSums + i];
    expects(variance == 0,
            "the ranks disagree about this step: global_samples and the set of frozen parameters must be the "
            "same on all "
            "(without global_samples, also samples)");
  }
  // float32 counts exactly up to 2^24 samples per step
  const double tolerance = 1e-6 * static_cast<double>(global_samples_);
  expects(std::abs(sums[0] - static_cast<double>(global_samples_)) <= tolerance,
          fmt::format("the samples of all ranks and passes add up to {:.0f}, global_samples says {}", sums[0],
                      global_samples_));
}

}  // namespace bunchtrain::parallel
