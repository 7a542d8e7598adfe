// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files on servers of XRootD among the words of data: root://HOST//PATH.

#include <filesystem>

#include "bunchtrain/core/logger.hpp"

namespace bunchtrain::data {

/// From now on datasets of this process copy such files to `folder`/bunchtrain-remote by xrdcp before they open them,
/// once per node, and read the copies; an empty folder (the default): they are refused. A session does this for the folder of
/// `--stage`. Copies stay for the next job, which takes those whose size and checksum are as recorded. Thread-safe.
void keep_remote_files_in(std::filesystem::path folder, Logger logger);

}  // namespace bunchtrain::data
