// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets for measurements, without a file: raw columns filled by what their names say.

#include <cstdint>
#include <memory>
#include <vector>

#include "ragged_jets.hpp"

namespace bunchtrain::infer::detail {

/// @param inputs outlive the result @param particles of each jet
std::unique_ptr<const RaggedJets> make_up_jets(const std::vector<InputColumn>& inputs,
                                               std::vector<std::int64_t> particles, std::uint64_t seed);

/// How many particles jets have: evenly from half of `mean` to one and a half, from 1 to `most`.
std::vector<std::int64_t> make_up_particles(std::int64_t jets, std::int64_t mean, std::int64_t most,
                                            std::uint64_t seed);

}  // namespace bunchtrain::infer::detail
