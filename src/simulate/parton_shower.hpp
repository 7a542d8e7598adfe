// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A parton's radiation and its break-up into hadrons.

#include <vector>

#include "bunchtrain/core/random.hpp"
#include "momentum.hpp"

namespace bunchtrain::simulate {

enum class Flavour { quark, gluon };

/// Appends the hadrons of `parton` to `hadrons`: an angular-ordered shower from `largest_angle` down to a
/// transverse momentum of 0.6 GeV (rate C_R alpha_s / pi, one-loop running), then every parton shares its
/// momentum among a few hadrons. The transverse momentum of the parton is conserved as a scalar sum, its
/// direction as the pT-weighted mean.
void shower_parton(const Particle& parton, Flavour flavour, double largest_angle, RandomSequence& random,
                   std::vector<Particle>& hadrons);

}  // namespace bunchtrain::simulate
