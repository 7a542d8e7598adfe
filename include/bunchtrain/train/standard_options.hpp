// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The options that every training program has.

#include <chrono>
#include <string_view>
#include <vector>

#include "bunchtrain/config/options.hpp"

namespace bunchtrain::train {

/// data, valid, card, particles, batch, epochs, learning-rate, ..., run, resume, device,
/// precision, threads, seed.
std::vector<config::OptionSpec> standard_options();
/// Whether it is one of them, not one that the program declares itself.
bool is_standard_option(std::string_view name);

/// `--timeout`. @throws ConfigError unless it is positive.
std::chrono::milliseconds timeout_of(const config::Options& options);

}  // namespace bunchtrain::train
