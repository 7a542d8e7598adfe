// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Ragged jets with everything that `RawJets` refers to: for measurements and checks.

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/infer/raw_jets.hpp"

namespace bunchtrain::infer::detail {

/// Not copied: it refers to itself.
class RaggedJets {
 public:
  explicit RaggedJets(std::vector<std::int64_t> particles);
  RaggedJets(const RaggedJets&) = delete;
  RaggedJets& operator=(const RaggedJets&) = delete;

  /// A column of that name, whose text must outlive this: a value per particle, or per jet.
  void add(const std::string& name, std::vector<float> values);
  void add(const std::string& name, std::vector<double> values);

  RawJets jets() const noexcept;
  /// Of each jet.
  const std::vector<std::int64_t>& particles() const noexcept { return particles_; }

 private:
  std::vector<std::int64_t> particles_, row_splits_ = {0};
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<double>> doubles_;
  std::vector<RawColumn> columns_;
};

/// Jets as a file holds them, without what the card takes for padding: what a host gives.
/// @param inputs of the network that they are for; outlive the result
/// @throws ConfigError for a column that `raw` lacks.
std::unique_ptr<const RaggedJets> real_jets(const features::Card& card,
                                            const std::vector<InputColumn>& inputs,
                                            const features::RawColumns& raw,
                                            std::span<const std::int64_t> rows);

}  // namespace bunchtrain::infer::detail
