// SPDX-License-Identifier: Apache-2.0
#include "input_counter.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "jets/raw_values.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer::detail {
namespace {

std::vector<std::string> names_of(const std::vector<InputColumn>& inputs) {
  std::vector<std::string> names;
  for (const InputColumn& input : inputs) names.push_back(input.name);
  return names;
}

std::vector<features::ValueRange> ranges_of(const std::vector<InputColumn>& inputs,
                                            const std::string& origin) {
  std::vector<features::ValueRange> ranges;
  for (const InputColumn& input : inputs) {
    if (!input.range)
      throw ConfigError(fmt::format(
          "{} does not say which values of '{}' its training saw, so that those outside cannot be counted: bundles of "
          "trainings on files say it, those of bunchtrain 0.1 do not; take another one, or a scratch that does not count",
          origin, input.name));
    ranges.push_back(*input.range);
  }
  return ranges;
}

}  // namespace

struct InputCounter::Impl {
  Impl(const features::Card& card, const std::vector<InputColumn>& inputs, const features::RawColumns& raw,
       const std::string& origin)
      : ranges(ranges_of(inputs, origin)),
        compiled(inputs_only(card)),
        values(compiled, raw, names_of(inputs)),
        counts(inputs.size()) {}

  std::vector<features::ValueRange> ranges;
  features::detail::CompiledCard compiled;
  features::detail::RawValues values;
  features::detail::Workspace workspace;
  std::vector<InputCounts> counts;
};

InputCounter::InputCounter(const features::Card& card, const std::vector<InputColumn>& inputs,
                           const features::RawColumns& raw, const std::string& origin)
    : impl_(std::make_unique<Impl>(card, inputs, raw, origin)) {}
InputCounter::~InputCounter() = default;

void InputCounter::count(std::span<const std::int64_t> rows) {
  Impl& own = *impl_;
  own.values.visit(rows, own.workspace, [&own](std::size_t input, double value) {
    InputCounts& counts = own.counts[input];
    ++counts.values;
    counts.below += value < own.ranges[input].minimum;
    counts.above += value > own.ranges[input].maximum;
  });
}

std::span<const InputCounts> InputCounter::counts() const noexcept { return impl_->counts; }
void InputCounter::reset() noexcept { std::ranges::fill(impl_->counts, InputCounts{}); }

}  // namespace bunchtrain::infer::detail
