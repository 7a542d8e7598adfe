// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A run on the terminal.

#include <memory>

#include "bunchtrain/train/observer.hpp"

namespace bunchtrain::app {

/// Progress while a run goes on, its results and where they are at the end, on standard output. `bt::run` gives
/// one to its session; a host application that wants it adds it to its own (`Session::add_observer`).
std::shared_ptr<train::Observer> make_console();

}  // namespace bunchtrain::app
