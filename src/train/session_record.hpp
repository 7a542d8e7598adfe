// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The record of a session that no command line asked for.

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/train/session_options.hpp"

namespace bunchtrain::train {

/// Every field of `asked` under the name that it has in messages and in run.json, as the text that
/// `app::session_options` reads. What differs from the default was set by the program.
config::Options make_record(const SessionOptions& asked);

}  // namespace bunchtrain::train
