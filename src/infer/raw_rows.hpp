// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the columns of a host to those that cards are evaluated on.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/features/raw_ranges.hpp"
#include "bunchtrain/infer/raw_jets.hpp"

namespace bunchtrain::infer::detail {

/// The card of a bundle. @throws CheckpointError unless it is one of jets in padded batches.
features::Card read_jet_card(const std::string& text, const std::string& origin);

[[noreturn]] void refuse_scratch();
/// @throws ConfigError unless there is a number per jet and output.
void require_size(std::span<const double> scores, std::int64_t jets, const std::vector<std::string>& outputs);

/// The card as far as inputs go: scoring selects no jets, weighs none and writes no observers.
features::Card inputs_only(features::Card card);

/// Whether its files say of each jet how many particles it has.
bool counts_particles(const features::Card& card);

/// What a bundle says of the ranges of its inputs; none if it does not.
/// @throws CheckpointError for a text that cannot be read.
features::RawRanges read_ranges(const std::map<std::string, std::string>& metadata,
                                const std::string& origin);

/// Columns named "jet.pt", "part.e" with the units that the card gives them and the ranges of the training.
/// @param names with prefix
std::vector<InputColumn> describe_columns(const features::Card& card, const std::vector<std::string>& names,
                                          const features::RawRanges& ranges);

/// The columns needed, found among those of a host and proved to be as long as strides and jets say.
/// @throws ConfigError naming a column that is missing, too short or of another unit, row splits and counts that
/// are none.
class RawRows {
 public:
  /// @param counted particles lie in no fixed slots: row splits or counts must say how many a jet has
  RawRows(const std::vector<InputColumn>& needed, const RawJets& jets, bool counted);
  /// What `copy` takes for a jet, in bytes.
  std::size_t bytes_of(std::int64_t jet) const noexcept;
  /// Copies jets into `raw`, whose memory is used again and does not become more than they take.
  void copy(RawJets::Range range, features::RawColumns& raw) const;

 private:
  const RawColumn& find(const InputColumn& column) const;
  void require_layout(bool counted) const;
  void require_length(const RawColumn& column, bool of_particles) const;
  void copy_jets(const RawColumn& column, RawJets::Range range, std::vector<double>& values) const;
  void copy_particles(const RawColumn& column, RawJets::Range range, std::vector<float>& values) const;

  const std::vector<InputColumn>& needed_;
  const RawJets& jets_;
};

}  // namespace bunchtrain::infer::detail
