// SPDX-License-Identifier: Apache-2.0
#include "units.hpp"

#include <array>
#include <numbers>

namespace bunchtrain::features::detail {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};
constexpr std::array kUnits = {
    Unit{"eV", 1e-9}, Unit{"keV", 1e-6}, Unit{"MeV", 1e-3},  Unit{"GeV", 1},
    Unit{"TeV", 1e3}, Unit{"um", 1e-3},  Unit{"mm", 1},      Unit{"cm", 10},
    Unit{"m", 1e3},   Unit{"rad", 1},    Unit{"mrad", 1e-3}, Unit{"deg", std::numbers::pi / 180},
    Unit{"1", 1},
};

}  // namespace

std::optional<double> unit_factor(std::string_view unit) noexcept {
  for (const Unit& known : kUnits) {
    if (known.name == unit) return known.factor;
  }
  return std::nullopt;
}

std::vector<std::string> known_units() {
  std::vector<std::string> names;
  for (const Unit& unit : kUnits) names.emplace_back(unit.name);
  return names;
}

}  // namespace bunchtrain::features::detail
