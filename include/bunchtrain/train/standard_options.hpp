// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The options that every training program has.

#include <vector>

#include "bunchtrain/config/options.hpp"

namespace bunchtrain::train {

/// data, valid, card, particles, batch, epochs, learning-rate, ..., run, resume, device, precision, threads,
/// seed.
std::vector<config::OptionSpec> standard_options();

}  // namespace bunchtrain::train
