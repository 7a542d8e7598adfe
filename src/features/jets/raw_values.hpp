// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The raw values that the inputs of a card are computed from. No LibTorch.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/features/raw_ranges.hpp"
#include "compiled_card.hpp"

namespace bunchtrain::features::detail {

/// Names with prefix of the columns that inputs, their order and the mask need, sorted.
std::vector<std::string> input_columns(const CompiledCard& compiled);

/// Goes through the values of columns: of jets, and of real particles. Keeps references, and its buffers from block to
/// block; one thread at a time.
class RawValues {
 public:
  /// @param raw whose columns may change from `visit` to `visit`.
  /// @param columns with prefix; those that `raw` lacks are left out.
  RawValues(const CompiledCard& compiled, const RawColumns& raw, const std::vector<std::string>& columns)
      : raw_(raw), packer_(compiled, raw) {
    constexpr std::string_view kParticle = "part.", kJet = "jet.";
    for (const std::string& column : columns) {
      const bool of_particles = column.starts_with(kParticle);
      columns_.push_back({column.substr((of_particles ? kParticle : kJet).size()), of_particles});
    }
  }

  /// Calls `see(column, value)` for each value of the rows `rows`.
  template <class See>
  void visit(std::span<const std::int64_t> rows, Workspace& workspace, const See& see) {
    packer_.bind();
    const std::size_t step = rows_per_group(raw_);
    for (std::size_t begin = 0; begin < rows.size(); begin += step) {
      const auto group = rows.subspan(begin, std::min(step, rows.size() - begin));
      packer_.pack(group, workspace, real_);
      for (std::size_t column = 0; column < columns_.size(); ++column)
        columns_[column].of_particles ? visit_particles(column, group, see) : visit_jets(column, group, see);
    }
  }

 private:
  struct Column {
    std::string name;  ///< without prefix
    bool of_particles = false;
  };

  template <class See>
  void visit_jets(std::size_t column, std::span<const std::int64_t> group, const See& see) const {
    const auto found = raw_.jet.find(columns_[column].name);
    if (found == raw_.jet.end()) return;
    for (const std::int64_t row : group) see(column, found->second[static_cast<std::size_t>(row)]);
  }
  template <class See>
  void visit_particles(std::size_t column, std::span<const std::int64_t> group, const See& see) const {
    const auto found = raw_.particle.find(columns_[column].name);
    if (found == raw_.particle.end()) return;
    for (std::size_t row = 0; row < group.size(); ++row) {
      const float* values = found->second.data() + raw_.begin_of(group[row]);
      for (const std::int32_t slot : real_.slots_of(row)) see(column, static_cast<double>(values[slot]));
    }
  }

  const RawColumns& raw_;
  ParticlePacker packer_;
  PackedRows real_;
  std::vector<Column> columns_;
};

/// Widens `ranges` by the values of rows. NaN and infinity are in no range.
void add_to_ranges(const CompiledCard& compiled, const RawColumns& raw, std::span<const std::int64_t> rows,
                   Workspace& workspace, RawRanges& ranges);

}  // namespace bunchtrain::features::detail
