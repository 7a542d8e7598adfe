// SPDX-License-Identifier: Apache-2.0
#include "ragged_jets.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "../raw_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "jets/compiled_card.hpp"

namespace bunchtrain::infer::detail {
namespace {

/// The column of that name without "jet." or "part.".
template <class Columns>
const auto& find(const Columns& columns, const InputColumn& input, const features::RawColumns& raw) {
  const std::string_view name = input.name;
  const auto found = columns.find(name.substr(name.find('.') + 1));
  if (found == columns.end())
    throw ConfigError(
        fmt::format("the network needs the column '{}', which the jets of {} do not have", name, raw.file));
  return found->second;
}

template <class Values>
Values pick(const Values& values, std::span<const std::int64_t> rows) {
  Values picked;
  for (const std::int64_t row : rows) picked.push_back(values[static_cast<std::size_t>(row)]);
  return picked;
}

}  // namespace

RaggedJets::RaggedJets(std::vector<std::int64_t> particles) : particles_(std::move(particles)) {
  for (const std::int64_t count : particles_) row_splits_.push_back(row_splits_.back() + count);
}

void RaggedJets::add(const std::string& name, std::vector<float> values) {
  columns_.push_back({.name = name, .values = floats_.emplace_back(std::move(values))});
}
void RaggedJets::add(const std::string& name, std::vector<double> values) {
  columns_.push_back({.name = name, .doubles = doubles_.emplace_back(std::move(values))});
}

RawJets RaggedJets::jets() const noexcept {
  return {.count = std::ssize(particles_), .row_splits = row_splits_, .columns = columns_};
}

std::unique_ptr<const RaggedJets> real_jets(const features::Card& card,
                                            const std::vector<InputColumn>& inputs,
                                            const features::RawColumns& raw,
                                            std::span<const std::int64_t> rows) {
  const features::detail::CompiledCard compiled(inputs_only(card));
  features::detail::ParticlePacker packer(compiled, raw);
  features::detail::Workspace workspace;
  features::detail::PackedRows real;
  packer.bind();
  packer.pack(rows, workspace, real);
  std::vector<std::int64_t> particles;
  for (std::size_t row = 0; row < rows.size(); ++row) particles.push_back(std::ssize(real.slots_of(row)));
  auto jets = std::make_unique<RaggedJets>(std::move(particles));
  for (const InputColumn& input : inputs) {
    if (!input.of_particles) {
      jets->add(input.name, pick(find(raw.jet, input, raw), rows));
      continue;
    }
    const std::vector<float>& values = find(raw.particle, input, raw);
    std::vector<float> kept;
    for (std::size_t row = 0; row < rows.size(); ++row)
      for (const std::int32_t slot : real.slots_of(row))
        kept.push_back(values[static_cast<std::size_t>(raw.begin_of(rows[row]) + slot)]);
    jets->add(input.name, std::move(kept));
  }
  return jets;
}

}  // namespace bunchtrain::infer::detail
