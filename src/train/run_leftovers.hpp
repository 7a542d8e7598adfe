// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What killed runs leave in a run folder.

#include "bunchtrain/train/run_folder.hpp"

namespace bunchtrain::train {

/// Removes temporaries of files that only the folder's owner writes, and of report.html if no process
/// of this machine is writing it or it is an hour old: `bunchtrain report` may be at work. Only for
/// the owner of the folder.
void remove_leftovers(const RunFolder& folder);

}  // namespace bunchtrain::train
