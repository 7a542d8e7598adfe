// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The options that every training program has: names, texts, defaults.

#include <vector>

#include "bunchtrain/config/options.hpp"

namespace bunchtrain::app {

/// data, valid, card, particles, batch, epochs, learning-rate, ..., run, resume, device,
/// precision, threads, seed. `session_options` reads those of a session, tasks those of their data.
std::vector<config::OptionSpec> standard_options();

}  // namespace bunchtrain::app
