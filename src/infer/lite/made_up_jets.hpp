// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets for measurements, without a file: raw columns filled by what their names say.

#include <deque>
#include <vector>

#include "bunchtrain/infer/raw_jets.hpp"

namespace bunchtrain::infer::detail {

/// Ragged jets with everything that `RawJets` refers to. Not copied: it refers to itself.
class MadeUpJets {
 public:
  /// @param particles of each jet
  MadeUpJets(const std::vector<InputColumn>& inputs, std::vector<std::int64_t> particles, std::uint64_t seed);
  MadeUpJets(const MadeUpJets&) = delete;
  MadeUpJets& operator=(const MadeUpJets&) = delete;

  RawJets jets() const noexcept;
  const std::vector<std::int64_t>& particles() const noexcept { return particles_; }

 private:
  std::vector<std::int64_t> particles_, row_splits_ = {0};
  std::deque<std::vector<float>> values_;
  std::vector<RawColumn> columns_;
};

/// How many particles jets have: evenly from half of `mean` to one and a half, from 1 to `most`.
std::vector<std::int64_t> make_up_particles(std::int64_t jets, std::int64_t mean, std::int64_t most,
                                            std::uint64_t seed);

}  // namespace bunchtrain::infer::detail
