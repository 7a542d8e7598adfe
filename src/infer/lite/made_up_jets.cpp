// SPDX-License-Identifier: Apache-2.0
#include "made_up_jets.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string_view>
#include <utility>

namespace bunchtrain::infer::detail {
namespace {

/// A massless particle, or the axis of a jet.
struct Momentum {
  double pt = 0, eta = 0, phi = 0, pt_share = 0;
};

using Quantity = double (*)(const Momentum&);

// What columns are called: the longest ending that fits decides.
constexpr std::array<std::pair<std::string_view, Quantity>, 12> kQuantities = {{
    {"px", [](const Momentum& p) { return p.pt * std::cos(p.phi); }},
    {"py", [](const Momentum& p) { return p.pt * std::sin(p.phi); }},
    {"pz", [](const Momentum& p) { return p.pt * std::sinh(p.eta); }},
    {"energy", [](const Momentum& p) { return p.pt * std::cosh(p.eta); }},
    {"e", [](const Momentum& p) { return p.pt * std::cosh(p.eta); }},
    {"ptrel", [](const Momentum& p) { return p.pt_share; }},
    {"pt", [](const Momentum& p) { return p.pt; }},
    {"eta", [](const Momentum& p) { return p.eta; }},
    {"etarel", [](const Momentum& p) { return p.eta; }},
    {"phi", [](const Momentum& p) { return p.phi; }},
    {"phirel", [](const Momentum& p) { return p.phi; }},
    {"mass", [](const Momentum& p) { return 0.1 * p.pt; }},
}};

/// Of names that say nothing: 1, which a mask takes for a real particle.
double quantity(std::string_view column, const Momentum& momentum) {
  std::string_view found;
  Quantity value = [](const Momentum&) { return 1.0; };
  for (const auto& [name, of] : kQuantities)
    if (column.ends_with(name) && name.size() > found.size() &&
        (name.size() > 1 || column.size() == 1 || column[column.size() - 2] == '.' ||
         column[column.size() - 2] == '_')) {
      found = name;
      value = of;
    }
  return value(momentum);
}

}  // namespace

std::unique_ptr<const RaggedJets> make_up_jets(const std::vector<InputColumn>& inputs,
                                               std::vector<std::int64_t> particles, std::uint64_t seed) {
  auto jets = std::make_unique<RaggedJets>(std::move(particles));
  for (const InputColumn& input : inputs) {
    std::mt19937_64 random(seed);  // the same for each column: they belong to one jet
    std::uniform_real_distribution<double> unit(-1, 1);
    std::vector<float> values;
    for (const std::int64_t count : jets->particles()) {
      const Momentum axis{.pt = 500 + 50 * unit(random), .eta = unit(random), .phi = 3 * unit(random)};
      for (std::int64_t i = 0; i < count; ++i) {
        const double share = 0.1 * std::pow(0.95, static_cast<double>(i));
        const Momentum particle{.pt = share * axis.pt,
                                .eta = axis.eta + 0.3 * unit(random),
                                .phi = axis.phi + 0.3 * unit(random),
                                .pt_share = share};
        if (input.of_particles) values.push_back(static_cast<float>(quantity(input.name, particle)));
      }
      if (!input.of_particles) values.push_back(static_cast<float>(quantity(input.name, axis)));
    }
    jets->add(input.name, std::move(values));
  }
  return jets;
}

std::vector<std::int64_t> make_up_particles(std::int64_t jets, std::int64_t mean, std::int64_t most,
                                            std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::int64_t> spread(mean / 2, mean + mean / 2);
  std::vector<std::int64_t> particles;
  for (std::int64_t jet = 0; jet < jets; ++jet)
    particles.push_back(std::clamp<std::int64_t>(spread(random), 1, most));
  return particles;
}

}  // namespace bunchtrain::infer::detail
