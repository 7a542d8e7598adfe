// SPDX-License-Identifier: Apache-2.0
#include "momentum.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bunchtrain::simulate {
namespace {

/// Takes `momentum` from the rest frame of `frame` to the frame in which `frame` is given.
Momentum boosted(const Momentum& momentum, const Momentum& frame) noexcept {
  const double mass = frame.mass();
  const double along = momentum.px * frame.px + momentum.py * frame.py + momentum.pz * frame.pz;
  const double energy = (momentum.e * frame.e + along) / mass;
  const double shift = (energy + momentum.e) / (frame.e + mass);
  return {energy, momentum.px + shift * frame.px, momentum.py + shift * frame.py,
          momentum.pz + shift * frame.pz};
}

}  // namespace

Momentum& Momentum::operator+=(const Momentum& other) noexcept {
  e += other.e;
  px += other.px;
  py += other.py;
  pz += other.pz;
  return *this;
}

double Momentum::pt() const noexcept { return std::hypot(px, py); }
double Momentum::eta() const noexcept { return std::asinh(pz / pt()); }
double Momentum::phi() const noexcept { return std::atan2(py, px); }
double Momentum::mass() const noexcept {
  return std::sqrt(std::max(0.0, e * e - px * px - py * py - pz * pz));
}

Momentum from_pt_eta_phi_mass(double pt, double eta, double phi, double mass) noexcept {
  const double momentum = pt * std::cosh(eta);
  return {std::hypot(momentum, mass), pt * std::cos(phi), pt * std::sin(phi), pt * std::sinh(eta)};
}

Momentum momentum_of(const Particle& particle) noexcept {
  return from_pt_eta_phi_mass(particle.pt, particle.eta, particle.phi, 0);
}

Particle massless(const Momentum& momentum) noexcept {
  return {momentum.pt(), momentum.eta(), momentum.phi()};
}

double wrap_angle(double angle) noexcept {
  constexpr double kTurn = 2 * std::numbers::pi;
  return angle - kTurn * std::nearbyint(angle / kTurn);
}

double delta_r(const Particle& a, const Particle& b) noexcept {
  return std::hypot(a.eta - b.eta, wrap_angle(a.phi - b.phi));
}

std::array<Momentum, 2> decay(const Momentum& parent, double mass_a, double mass_b,
                              RandomSequence& random) noexcept {
  const double mass = parent.mass();
  const double sum = mass_a + mass_b, difference = mass_a - mass_b;
  const double momentum =
      std::sqrt(std::max(0.0, (mass * mass - sum * sum) * (mass * mass - difference * difference))) /
      (2 * mass);
  const double cosine = 2 * random.uniform() - 1, azimuth = 2 * std::numbers::pi * random.uniform();
  const double sine = std::sqrt(1 - cosine * cosine);
  const double x = momentum * sine * std::cos(azimuth), y = momentum * sine * std::sin(azimuth),
               z = momentum * cosine;
  return {boosted({std::hypot(momentum, mass_a), x, y, z}, parent),
          boosted({std::hypot(momentum, mass_b), -x, -y, -z}, parent)};
}

}  // namespace bunchtrain::simulate
