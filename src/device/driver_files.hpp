// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How a build without CUDA sees that the machine has a GPU.

namespace bunchtrain::device {

bool nvidia_driver_files_exist();

}  // namespace bunchtrain::device
