// SPDX-License-Identifier: Apache-2.0
#include "measured_jets.hpp"

#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "../lite/made_up_jets.hpp"
#include "../raw_rows.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "contenders.hpp"

namespace bunchtrain::infer::detail {
namespace {

std::vector<std::int64_t> rows_of(RawJets::Range range) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(range.number));
  std::iota(rows.begin(), rows.end(), range.first);
  return rows;
}

std::vector<std::int64_t> particles_of(const InferenceBenchmarkOptions& options, std::int64_t most) {
  if (options.alike) return std::vector<std::int64_t>(kMostJets, std::min(options.particles, most));
  return make_up_particles(kMostJets, options.particles, most, 1);
}

}  // namespace

MeasuredJets::MeasuredJets(const InferenceBenchmarkOptions& options, const features::Card& card,
                           std::vector<InputColumn> inputs)
    : real_(options.jets), card_(card), inputs_(std::move(inputs)) {
  if (!real_) {
    particles_ = particles_of(options, card.length);
    return;
  }
  const auto all = real_jets(card_, inputs_, *real_, rows_of({0, std::min(kMostJets, real_->rows)}));
  for (const std::int64_t count : all->particles()) particles_.push_back(std::min(count, card.length));
}

InferenceJets MeasuredJets::summary() const {
  const auto [fewest, most] = std::ranges::minmax(particles_);
  const auto sum = std::reduce(particles_.begin(), particles_.end());
  return {.file = real_ ? real_->file : "",
          .count = count(),
          .fewest = fewest,
          .most = most,
          .mean = static_cast<double>(sum) / static_cast<double>(count())};
}

std::shared_ptr<const JetBatches> MeasuredJets::batches(std::int64_t size) const {
  auto batches = std::make_shared<JetBatches>();
  for (std::int64_t first = 0; first + size <= count(); first += size) {
    const auto begin = particles_.begin() + first;
    batches->push_back(real_
                           ? real_jets(card_, inputs_, *real_, rows_of({first, size}))
                           : make_up_jets(inputs_, {begin, begin + size}, static_cast<std::uint64_t>(first)));
  }
  return batches;
}

NamedTensors MeasuredJets::tensors(RawJets::Range range, std::optional<std::int64_t> least) const {
  const auto begin = particles_.begin() + range.first;
  const std::int64_t longest = *std::max_element(begin, begin + range.number);
  const std::int64_t slots = least ? std::min(std::max(longest, *least), card_.length) : card_.length;
  NamedTensors tensors;
  if (real_) {
    const auto all = features::FeaturePipeline(inputs_only(card_)).evaluate(*real_, rows_of(range)).tensors;
    for (const char* name : {"points", "features", "mask"})
      tensors.set(name, all[name].narrow(1, 0, slots).contiguous());
    return tensors;
  }
  const at::Tensor mask = at::zeros({range.number, slots}, at::kBool);
  for (std::int64_t jet = 0; jet < range.number; ++jet) mask[jet].narrow(0, 0, begin[jet]).fill_(true);
  for (const char* name : {"points", "features"}) {
    const auto columns = static_cast<std::int64_t>(card_.num_inputs(name));
    tensors.set(name, at::randn({range.number, slots, columns}).mul_(mask.unsqueeze(2)));
  }
  tensors.set("mask", mask);
  return tensors;
}

}  // namespace bunchtrain::infer::detail
