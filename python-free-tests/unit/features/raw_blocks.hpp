// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Synthetic raw blocks for the tests of features.

#include <cmath>
#include <cstdint>
#include <random>

#include "bunchtrain/features/raw_columns.hpp"

namespace bunchtrain::features::test {

/// Jets as a top-tagging file holds them: `slots` constituents e, px, py, pz with falling pT, zero padded;
/// row r has r % 61 of them.
inline RawColumns make_top_tagging_block(std::int64_t rows, std::int64_t slots, std::uint64_t seed = 1) {
  RawColumns raw;
  raw.rows = rows;
  raw.slots = slots;
  raw.file = "synthetic.h5";
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto size = static_cast<std::size_t>(rows * slots);
  for (const char* name : {"e", "px", "py", "pz"}) raw.particle[name].assign(size, 0.0f);
  for (const char* name : {"ttv", "is_top"}) raw.jet[name].assign(static_cast<std::size_t>(rows), 0.0);
  for (std::int64_t row = 0; row < rows; ++row) {
    raw.jet["is_top"][static_cast<std::size_t>(row)] = static_cast<double>(row % 2);
    const double jet_eta = normal(random), jet_phi = 3 * normal(random);
    double pt = 120;
    for (std::int64_t slot = 0; slot < std::min(row % 61, slots); ++slot, pt *= 0.9) {
      const auto i = static_cast<std::size_t>(row * slots + slot);
      const double eta = jet_eta + 0.3 * normal(random), phi = jet_phi + 0.3 * normal(random);
      raw.particle["px"][i] = static_cast<float>(pt * std::cos(phi));
      raw.particle["py"][i] = static_cast<float>(pt * std::sin(phi));
      raw.particle["pz"][i] = static_cast<float>(pt * std::sinh(eta));
      raw.particle["e"][i] = static_cast<float>(pt * std::cosh(eta));
    }
  }
  return raw;
}

}  // namespace bunchtrain::features::test
