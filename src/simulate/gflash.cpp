// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/gflash.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "shower_batch.hpp"
#include "shower_generator.hpp"

namespace bunchtrain::simulate {
namespace {

void require_range(std::string_view name, double low, double high, double least, double most,
                   std::string_view allowed) {
  const std::string lowest = fmt::format("lowest_{}", name), highest = fmt::format("highest_{}", name);
  if (!(low > least && low < most)) throw ConfigError(lowest, fmt::format("{}", low), allowed);
  if (!(high > least && high < most)) throw ConfigError(highest, fmt::format("{}", high), allowed);
  if (low > high)
    throw ConfigError(lowest, fmt::format("{}", low), fmt::format("not above {} = {}", highest, high));
}

void validate_cells(const std::array<std::int64_t, 3>& cells) {
  constexpr std::int64_t kMostAlongAnAxis = 4096, kMost = std::int64_t{1} << 24;
  for (const std::int64_t along : cells) {
    if (along < 1 || along > kMostAlongAnAxis)
      throw ConfigError("cells", fmt::format("{}x{}x{}", cells[0], cells[1], cells[2]),
                        fmt::format("1 to {} cells along each axis", kMostAlongAnAxis));
  }
  if (cells[0] * cells[1] * cells[2] > kMost)
    throw ConfigError("cells", fmt::format("{}x{}x{}", cells[0], cells[1], cells[2]),
                      fmt::format("at most {} cells in all", kMost));
}

}  // namespace

void GflashOptions::validate() const {
  constexpr double kHighestEnergy = 1e6;  // GeV
  require_range("energy", lowest_energy, highest_energy, 0, kHighestEnergy, "above 0 and below 1e6 GeV");
  validate_cells(cells);
  if (inclined)
    require_range("theta", lowest_theta, highest_theta, 0, std::numbers::pi,
                  "above 0 and below 180 degrees (pi rad)");
  if (count < 1) throw ConfigError("count", fmt::format("{}", count), "at least 1 shower");
  calorimeter.validate();
}

NamedTensors make_gflash_showers(const GflashOptions& options, std::int64_t first, std::int64_t count) {
  if (first < 0 || count < 0)
    throw ConfigError("count", fmt::format("{}", std::min(first, count)), "not negative");
  return make_shower_batch(ShowerGenerator(options), first, count, Threads::all);
}

}  // namespace bunchtrain::simulate
