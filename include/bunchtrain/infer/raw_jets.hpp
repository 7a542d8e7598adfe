// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets as a host application holds them: raw columns where they lie, with strides. Knows no LibTorch.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/raw_ranges.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {

/// A raw column that a network needs, as its data card calls it.
struct InputColumn {
  std::string name;           ///< "jet.pt", "part.e"
  std::string unit = {};      ///< of the values: "MeV"; empty: the card says none
  bool of_particles = false;  ///< a value per particle, else one per jet
  /// Of its values in the training, in that unit: over the jets that were looked at when their files were opened, some
  /// thousand spread over all. Nothing where the bundle does not say.
  std::optional<features::ValueRange> range = std::nullopt;

  bool operator==(const InputColumn&) const = default;
};

/// A raw column where the host has it: the value of particle p of jet j is `values[j * jet_stride + p *
/// particle_stride]`, of ragged jets `values[(row_splits[j] + p) * particle_stride]`. Not owned.
struct RawColumn {
  std::string_view name;                 ///< that of an `InputColumn`
  std::span<const float> values = {};    ///< these, or
  std::span<const double> doubles = {};  ///< these
  std::int64_t jet_stride = 0;           ///< in values; 0: dense, [jets] or [jets, slots]
  std::int64_t particle_stride = 1;      ///< in values
  std::string_view unit = {};            ///< if it is said, it must be that of the `InputColumn`
};

/// Some jets. All members are views: the caller keeps what is behind them until a call returns.
struct RawJets {
  std::int64_t count = 0;
  std::int64_t slots = 0;  ///< particle slots of each jet, unless there are row splits
  /// Of ragged jets [count + 1], ascending from 0: jet j has the particles row_splits[j] to row_splits[j + 1] - 1.
  std::span<const std::int64_t> row_splits = {};
  /// [count]: how many of a jet's slots are taken; empty: the card's mask alone decides.
  std::span<const std::int64_t> counts = {};
  std::span<const RawColumn> columns = {};  ///< more than are needed may be there

  /// The jets `first` to `first + number - 1`.
  struct Range {
    std::int64_t first = 0, number = 0;
  };
};

}  // namespace v0_1
}  // namespace bunchtrain::infer
