// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The standard options about data.

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/tasks/training_files.hpp"

namespace bunchtrain::app {

tasks::TrainingFiles training_files(const config::Options& options);

}  // namespace bunchtrain::app
