// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the options of a command line to a session.

#include <chrono>
#include <string_view>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/session_options.hpp"

namespace bunchtrain::app {

/// What parsed options ask for; they are its record. They must hold the standard options (`standard_options()`).
/// Marks none as used. @throws ConfigError naming the option.
train::SessionOptions session_options(const config::Options& options);

/// Collective. The session that parsed options ask for; warns of their notices. The ranks compare options before
/// they are read: what one rank was given otherwise is an error on all.
/// @param axes along which the program can train
/// @throws ConfigError, and as the session's constructor does
train::Session open_session(const config::Options& options, const mpi::Comm& control, const Logger& logger,
                            std::vector<comm::Axis> axes = {comm::Axis::data});

/// `--timeout`. @throws ConfigError unless it is positive.
std::chrono::milliseconds timeout_of(const config::Options& options);

/// "debug", "info", "warning" or "error". @throws ConfigError with the names allowed.
LogLevel parse_log_level(std::string_view text);

}  // namespace bunchtrain::app
