// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Four-momenta of toy jets, GeV, and the decays that make their prongs.

#include <array>
#include <span>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::simulate {

/// Energy and momentum, GeV.
struct Momentum {
  double e = 0, px = 0, py = 0, pz = 0;

  Momentum& operator+=(const Momentum& other) noexcept;
  double pt() const noexcept;
  double eta() const noexcept;
  double phi() const noexcept;
  double mass() const noexcept;
};

/// A massless particle, or a parton: transverse momentum (GeV) and direction.
struct Particle {
  double pt = 0, eta = 0, phi = 0;
};

Momentum from_pt_eta_phi_mass(double pt, double eta, double phi, double mass) noexcept;
Momentum momentum_of(const Particle& particle) noexcept;
Particle massless(const Momentum& momentum) noexcept;
double wrap_angle(double angle) noexcept;
double delta_r(const Particle& a, const Particle& b) noexcept;

/// Isotropic decay of `parent` into two bodies of masses `mass_a` and `mass_b`, boosted
/// to the frame of `parent`.
std::array<Momentum, 2> decay(const Momentum& parent, double mass_a, double mass_b,
                              RandomSequence& random) noexcept;

}  // namespace bunchtrain::simulate
