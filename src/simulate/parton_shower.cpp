// SPDX-License-Identifier: Apache-2.0
#include "parton_shower.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bunchtrain::simulate {
namespace {

constexpr double kSmallestKt = 0.6;  // GeV, where the shower ends
constexpr double kLambda = 0.2;      // GeV, of the running coupling
constexpr double kLargestCoupling = 0.5;

double colour_factor(Flavour flavour) noexcept { return flavour == Flavour::gluon ? 3.0 : 4.0 / 3.0; }

/// One loop, five flavours, capped.
double coupling(double kt) noexcept {
  constexpr double kBeta = 23.0 / (12 * std::numbers::pi);
  return std::min(kLargestCoupling, 1 / (2 * kBeta * std::log(std::max(kt, 1.05 * kLambda) / kLambda)));
}

struct Parton {
  Particle momentum;
  Flavour flavour;
  double largest_angle;
};

struct Emission {
  double fraction;  ///< of the momentum that the soft daughter takes
  double angle;     ///< between the daughters
};

/// The next emission below `parton.largest_angle` by the veto algorithm; false when the shower
/// has ended for this parton.
bool next_emission(const Parton& parton, RandomSequence& random, Emission& emission) noexcept {
  const double pt = parton.momentum.pt;
  double angle = parton.largest_angle;
  while (true) {
    const double smallest_fraction = kSmallestKt / (pt * angle);
    if (smallest_fraction >= 0.5) return false;
    const double width = std::log(0.5 / smallest_fraction);
    const double rate = 2 * kLargestCoupling * colour_factor(parton.flavour) / std::numbers::pi * width;
    angle *= std::pow(std::max(random.uniform(), 1e-12), 1 / rate);
    const double fraction = 0.5 * std::exp(-width * random.uniform());
    const double kt = fraction * angle * pt;
    const double accepted = coupling(kt) / kLargestCoupling * (1 - fraction + 0.5 * fraction * fraction);
    if (kt > kSmallestKt && random.uniform() < accepted) {
      emission = {fraction, angle};
      return true;
    }
    if (angle * pt * 0.5 < kSmallestKt) return false;
  }
}

/// Shares a parton's momentum among hadrons that scatter around it with 0.25 GeV of transverse momentum.
void fragment(const Particle& parton, RandomSequence& random, std::vector<Particle>& hadrons) {
  constexpr double kTransverse = 0.25, kSoftest = 0.5, kWidest = 0.12;
  constexpr int kMost = 5;
  double left = parton.pt;
  for (int made = 1; left > 0; ++made) {
    const double share = made == kMost || left < 2 * kSoftest ? 1 : 1 - std::sqrt(random.uniform());
    const double pt = std::min(left, std::max(kSoftest, share * left));
    const double spread = std::min(kWidest, kTransverse / pt);
    hadrons.push_back({pt, parton.eta + spread * random.normal(), parton.phi + spread * random.normal()});
    left -= pt;
  }
}

}  // namespace

void shower_parton(const Particle& parton, Flavour flavour, double largest_angle, RandomSequence& random,
                   std::vector<Particle>& hadrons) {
  std::vector<Parton> open{{parton, flavour, largest_angle}};
  while (!open.empty()) {
    const Parton mother = open.back();
    open.pop_back();
    Emission emission{};
    if (!next_emission(mother, random, emission)) {
      fragment(mother.momentum, random, hadrons);
      continue;
    }
    const double azimuth = 2 * std::numbers::pi * random.uniform();
    const double deta = emission.angle * std::cos(azimuth), dphi = emission.angle * std::sin(azimuth);
    const auto daughter = [&](double fraction, double shift, Flavour kind) {
      const Particle& from = mother.momentum;
      open.push_back(
          {{fraction * from.pt, from.eta + shift * deta, from.phi + shift * dphi}, kind, emission.angle});
    };
    const double soft = emission.fraction;
    daughter(1 - soft, soft, mother.flavour);
    daughter(soft, soft - 1, Flavour::gluon);
  }
}

}  // namespace bunchtrain::simulate
