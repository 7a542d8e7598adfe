// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The jets of a measurement: those of a file, or made-up ones.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "../lite/ragged_jets.hpp"
#include "bunchtrain/infer/inference_benchmark.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::infer::detail {

using JetBatches = std::vector<std::unique_ptr<const RaggedJets>>;

class MeasuredJets {
 public:
  /// @param inputs of the network that they are for
  /// @throws ConfigError for a column that the jets of a file lack.
  MeasuredJets(const InferenceBenchmarkOptions& options, const features::Card& card,
               std::vector<InputColumn> inputs);

  const features::Card& card() const noexcept { return card_; }
  std::int64_t count() const noexcept { return std::ssize(particles_); }
  InferenceJets summary() const;
  /// All jets, `size` at a time, as hosts give them; refer to this.
  std::shared_ptr<const JetBatches> batches(std::int64_t size) const;
  /// What the network is given of some of them: "points", "features", "mask", as long as the card says, or as their
  /// longest and at least that many. Made-up jets have random numbers.
  NamedTensors tensors(RawJets::Range range, std::optional<std::int64_t> least) const;

 private:
  const features::RawColumns* real_;
  features::Card card_;
  std::vector<InputColumn> inputs_;
  std::vector<std::int64_t> particles_;  ///< that the network sees of each
};

}  // namespace bunchtrain::infer::detail
