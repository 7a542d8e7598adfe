// SPDX-License-Identifier: Apache-2.0
#pragma once
/// "kinematics7": the seven particle features of ParticleNet and the quantities that they are made of.

#include <span>
#include <vector>

#include "bunchtrain/features/card.hpp"

namespace bunchtrain::features::detail {

/// ln pT, ln E, ln pT/pT_jet, ln E/E_jet, deltaR (standardised as in the published cards), deta, dphi.
std::span<const InputSpec> kinematics7();

/// Adds to `card.define` what kinematics7 uses and the card does not say, derived from what it does: momenta
/// (px, py, pz, e), (pt, eta, phi) or JetNet's relative ones. @throws ConfigError naming a quantity that
/// cannot be derived.
void define_kinematics(Card& card);

}  // namespace bunchtrain::features::detail
